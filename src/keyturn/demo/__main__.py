"""`python -m keyturn.demo`."""

import sys

from keyturn.demo.main import main

if __name__ == "__main__":
    sys.exit(main())
