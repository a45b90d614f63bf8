"""Read images that people have: folders of pictures and NumPy archives."""
