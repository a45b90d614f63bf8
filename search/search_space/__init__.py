"""Define the searched dimensions, convert their points to networks and recipes, and read files that change them."""
