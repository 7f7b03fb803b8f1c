"""The `seederfarm` command line.

A table names the commands; the module of a command is imported when that command runs, so that seeding a key
loads neither the farm's database nor its broker. Exit status: 0 done, 1 failed, 2 usage.
"""

from __future__ import annotations

import importlib
from typing import Final, cast

import click

from .failures import one_line_failures

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "seed": ("seederfarm.cli.seed:seed", "Keep cores, bees and drives available."),
    "ls": ("seederfarm.cli.ls:ls", "List the files of a drive, the keys of a bee."),
    "cat": ("seederfarm.cli.cat:cat", "Write one file to stdout."),
    "get": ("seederfarm.cli.get:get", "Write files of a drive into a folder."),
    "verify": ("seederfarm.cli.verify:verify", "Check what is stored against what its writers signed."),
    "keygen": ("seederfarm.cli.keygen:keygen", "Make a key pair."),
}
"""Name → (module:attribute, one line of help)."""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(module), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        with one_line_failures():
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="seederfarm", prog_name="seederfarm")
def main() -> None:
    """Always-on peers that keep Hypercore content available day and night.

    KEY is 64 hex digits, 52 z-base-32 characters, or a hyper://, pear:// or dat:// link. Whether it names a
    core, a bee or a drive is seen from its content.
    """
