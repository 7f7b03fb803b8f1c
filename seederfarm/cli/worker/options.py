"""Options that several commands of a worker share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from farmwire.join import MAX_TOKEN_CHARS

from ..common.failures import BadInput

DATA: Final = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where content and state are kept (default: $SEEDERFARM_HOME/worker, else ~/.seederfarm/worker).",
)
NAME: Final = click.option("--name", help="Name of this worker in the farm (default: the host name).")
ZONE: Final = click.option(
    "--zone", default="", help="Where it is (a building, a city): copies of a drive go to different zones."
)


def token_of(word: str) -> str:
    """The token that `word` stands for: `-` is the next line of standard input, where no other user of the
    machine sees it. Everything else is the token itself. Raises BadInput if that line is empty."""
    if word != "-":
        return word
    line = sys.stdin.buffer.readline(MAX_TOKEN_CHARS + 1).decode("ascii", "replace")
    if not line.strip():
        raise BadInput("there is no token on standard input")
    return line
