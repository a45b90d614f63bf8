"""Load data sets into memory: find or download them, verify them and split them.

The package is independent of networks and studies.
"""
