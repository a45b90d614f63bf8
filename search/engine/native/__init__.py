"""The C++ kernels of the engine: how they are compiled, called and put together to a network."""
