"""The formats that a network can be exported in: a module writes each, opens it again and says how to use it."""
