"""Create, resume and run an Optuna study, and read the records of its trials."""
