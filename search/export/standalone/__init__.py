"""Write model.py: the source of a network with what it takes to load it and to classify pictures."""
