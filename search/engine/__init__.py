"""Train one network and score it: data in memory, augmentation, optimizers, kernels. Knows nothing of Optuna."""
