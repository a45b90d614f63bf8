"""Networks as frozen descriptions: blocks and heads with their cost, the modules they build, recipes and baselines."""
