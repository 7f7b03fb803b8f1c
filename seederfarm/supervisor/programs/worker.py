"""`python -m seederfarm.supervisor.programs.worker`: the seeding worker of the farm's own machine.

The same as `seederfarm worker run`, with its token from a file: on a command line everybody could read it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TOKEN_FILE: Final = "join_token"


def token_file(home: Path) -> Path:
    """In the worker's own directory: who deletes that begins with a new worker and a new token."""
    return home / "worker" / TOKEN_FILE


def main() -> None:
    from seederfarm.cli.worker.run import run

    home = Path(os.environ["SEEDERFARM_HOME"])
    token = token_file(home).read_text().strip()
    run.main(args=["--data", str(home / "worker"), "--join", token], prog_name="seederfarm worker run")


if __name__ == "__main__":
    main()
