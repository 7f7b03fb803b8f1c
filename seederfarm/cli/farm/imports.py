"""`seederfarm import FILE` and `seederfarm import blind-peer DIR`."""

from __future__ import annotations

from typing import Final

import click

from .. import LazyGroup

IMPORTS: Final = {
    "file": (
        "seederfarm.cli.farm.transfer:import_file",
        "Register what is in a file that `export` wrote; `import FILE` is the same.",
    ),
    "blind-peer": (
        "seederfarm.cli.peer.import_blind_peer:import_blind_peer",
        "Take over the key and the cores of an official blind peer.",
    ),
}
"""Commands below `import`."""


class ImportGroup(LazyGroup):
    """What is no command is the name of a file."""

    sections = {"Commands": IMPORTS}  # noqa: RUF012  read only

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*IMPORTS, *ctx.help_option_names):
            args = ["file", *args]
        return super().parse_args(ctx, args)


@click.group(name="import", cls=ImportGroup)
def import_group() -> None:
    """Register what is in a file that `export` wrote (FILE; - is stdin), or take over a blind peer."""
