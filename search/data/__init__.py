"""Data sets in memory: find or download them, verify them, split them. Knows nothing of networks or studies."""
