"""Programs that measure how data sets are read."""
