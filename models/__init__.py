"""Describe networks as frozen data: blocks and heads, their cost, the modules they build, recipes and baselines."""
