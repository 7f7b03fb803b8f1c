"""`python -m seederfarm.supervisor.programs.worker`: the local worker.

The same as `seederfarm worker run`, with its token from a file: every user can read a command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from farmwire.rejection import MessageRejected
from hypercore.printable import visible
from workers.settings.table import SettingError

TOKEN_FILE: Final = "join_token"


def token_file(home: Path) -> Path:
    """Return the token's file, in the worker's own directory: without it a new worker and token are made."""
    return home / "worker" / TOKEN_FILE


def main() -> None:
    """Run the farm's own worker with the token that the supervisor made. Exits with an error in one line."""
    from workers.agent.run import run_process
    from workers.agent.settings import settings_from

    home = Path(os.environ["SEEDERFARM_HOME"])
    try:
        token = token_file(home).read_text().strip()
        sys.exit(run_process(settings_from(os.environ, data=home / "worker"), token))
    except (SettingError, MessageRejected) as error:
        sys.exit(f"seederfarm worker run: {visible(str(error))}")


if __name__ == "__main__":
    main()
