#!/usr/bin/env python3
"""Puts the scripts of hypercore-py/examples into its README, each below the comment that names it.

python tools/readme.py           write them
python tools/readme.py --check   exit with 1 if they are not current
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "hypercore-py"
PAGE = LIBRARY / "README.md"
EXAMPLE = re.compile(r"(<!-- (?P<path>examples/[\w.]+) -->\n```\w+\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)


def current(text: str) -> str:
    """The page with every example as its script is now."""
    return EXAMPLE.sub(lambda found: found[1] + (LIBRARY / found["path"]).read_text(), text)


def main(arguments: Sequence[str]) -> None:
    text = PAGE.read_text()
    if list(arguments) == ["--check"]:
        if text != current(text):
            sys.exit(
                "the examples in hypercore-py/README.md are not the scripts: run `python tools/readme.py`"
            )
    elif not arguments:
        PAGE.write_text(current(text))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
