"""Commands of the command line, each a module with its options; heavy imports happen when a command runs."""
