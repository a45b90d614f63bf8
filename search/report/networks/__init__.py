"""Describe the networks of a study: their origins, their layers, and the results of those that it did not search."""
