"""Run the command line of the constrained architecture search: python search.py --help."""

import sys

from search.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
