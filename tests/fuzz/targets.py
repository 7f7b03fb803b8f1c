"""All targets."""

from __future__ import annotations

from .cli import cli
from .engine import engine
from .farm import farm
from .machines import machines
from .parsers import parsers
from .proofs import proofs
from .target import Target


def targets() -> list[Target]:
    return [*parsers(), *proofs(), *machines(), *farm(), *engine(), *cli()]
