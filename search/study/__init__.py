"""One Optuna study: its settings, seeds, loop, pruner and location, and the records of its trials."""
