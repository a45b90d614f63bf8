"""Search for small convolutional networks; docs/development.md lists the packages and their order."""
