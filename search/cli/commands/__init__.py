"""One module for each command: its options, and what it calls. Heavy imports wait until the command runs."""
