"""Constrained architecture search for small convolutional networks: python search.py --help."""

import sys

from search.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
