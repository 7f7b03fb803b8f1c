"""`python -m seederfarm.supervisor.programs.worker`: the local worker.

The same as `seederfarm worker run`, with its token from a file: every user can read a command line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TOKEN_FILE: Final = "join_token"


def token_file(home: Path) -> Path:
    """In the worker's own directory: deleting that directory starts with a new worker and a new token."""
    return home / "worker" / TOKEN_FILE


def main() -> None:
    from seederfarm.cli.worker.run import run

    home = Path(os.environ["SEEDERFARM_HOME"])
    token = token_file(home).read_text().strip()
    run.main(args=["--data", str(home / "worker"), "--join", token], prog_name="seederfarm worker run")


if __name__ == "__main__":
    main()
