"""`python -m excidiff.inverse` is the command `excidiff`."""

import sys

from excidiff.inverse.cli import main

if __name__ == "__main__":
    sys.exit(main())
