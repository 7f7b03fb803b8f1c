"""`python -m seederfarm.containers ROLE`."""

from __future__ import annotations

import sys

from .roles import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
