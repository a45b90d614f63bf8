"""Compile and call the C++ kernels of the engine, and run networks on them."""
