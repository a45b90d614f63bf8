"""Write model.py: the source code of a network, with functions that load it and classify pictures."""
