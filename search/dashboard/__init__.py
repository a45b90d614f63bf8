"""Show studies in optuna-dashboard, with notes, figures and files."""
