"""Command line: the parsers, the commands, and the code that they share."""
