#!/usr/bin/env python3
"""Build the platform's images where no container registry is reachable. See images/README.md."""

import sys

from builder.cli import main

if __name__ == "__main__":
    sys.exit(main())
