"""A network in 8-bit integers: quantisation, the reference in numpy, the C source."""
