"""Quantise a network to 8-bit integers, run it in numpy as the reference, and write it as C source."""
