"""Files beside the generated C: a self-test, a conversion of pictures, and projects that build."""
