"""The searched dimensions, how a point of them becomes a network and a recipe, and files that change them."""
