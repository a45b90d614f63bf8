"""Formats that a network can be exported in, with functions that write and open them and their usage texts."""
