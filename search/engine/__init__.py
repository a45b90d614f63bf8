"""Train one network and score it: data in memory, augmentation, optimizers, kernels.

The package is independent of Optuna.
"""
