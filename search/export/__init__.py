"""Hand over a trained network as files that stand alone, each opened again and scored."""
