"""The search, room by room: see docs/development.md for the tree and the order of the packages."""
