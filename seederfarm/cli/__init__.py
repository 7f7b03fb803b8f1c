"""The `seederfarm` command line.

A table names the commands; the module of a command is imported when that command runs, so that seeding a key
loads neither the farm's database nor its broker. Exit status: 0 done, 1 failed, 2 usage.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, cast

import click

from .common import streams
from .common.extras import FARM, WORKER, missing_packages
from .common.failures import interrupts, one_line_failures

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "seed": ("seederfarm.cli.peer.seed:seed", "Keep cores, bees and drives available, without a farm."),
    "publish": ("seederfarm.cli.peer.publish:publish", "Share a folder as a drive and follow its changes."),
    "ls": ("seederfarm.cli.peer.ls:ls", "List the files of a drive or the keys of a bee."),
    "cat": ("seederfarm.cli.peer.cat:cat", "Write one file to stdout."),
    "get": ("seederfarm.cli.peer.get:get", "Download files of a drive into a folder."),
    "verify": ("seederfarm.cli.peer.verify:verify", "Check stored content against its signatures."),
    "keygen": ("seederfarm.cli.peer.keygen:keygen", "Make a key pair."),
}
"""Commands that need no farm. Name → (module:attribute, one line of help)."""

FARM_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("seederfarm.cli.farm.up:up", "Run the farm on this machine."),
    "down": ("seederfarm.cli.farm.up:down", "Stop the farm on this machine."),
    "status": ("seederfarm.cli.farm.status:status", "Show the farm's processes and numbers."),
    "logs": ("seederfarm.cli.farm.logs:logs", "Show the logs of the farm's processes."),
    "init": ("seederfarm.cli.farm.admin:init", "Make the farm's database without starting it."),
    "add": ("seederfarm.cli.farm.add:add", "Register drives: workers keep copies of them."),
    "remove": ("seederfarm.cli.farm.remove:remove", "Remove drives and their copies."),
    "public": ("seederfarm.cli.farm.public:public", "Let anyone see the pages of drives."),
    "list": ("seederfarm.cli.farm.list_drives:list_drives", "List the drives."),
    "show": ("seederfarm.cli.farm.show:show", "Show one drive and its copies."),
    "pause": ("seederfarm.cli.farm.drive_acts:pause", "Leave the copies of drives where they are."),
    "resume": ("seederfarm.cli.farm.drive_acts:resume", "End a pause, or take back a removal."),
    "prove": ("seederfarm.cli.farm.drive_acts:prove", "Have copies prove themselves now."),
    "pin": ("seederfarm.cli.farm.drive_acts:pin", "Always keep a copy of a drive on some workers."),
    "expire": ("seederfarm.cli.farm.drive_acts:expire", "Set when drives are removed by themselves."),
    "priority": ("seederfarm.cli.farm.drive_acts:priority", "Set which drives go first."),
    "plan": ("seederfarm.cli.farm.plan:plan", "Show what the next plan of copies would do."),
    "alerts": ("seederfarm.cli.farm.alerts:alerts", "List, acknowledge and silence alerts; rules, channels."),
    "events": ("seederfarm.cli.farm.events:events", "List what happened."),
    "workers": ("seederfarm.cli.farm.workers:workers", "List the workers."),
    "worker": ("seederfarm.cli.farm.workers:worker_group", "Run, enroll, drain or retire a worker."),
    "mirrors": ("seederfarm.cli.farm.mirrors:mirrors", "List the blind peers whose keys apps may name."),
    "sources": (
        "seederfarm.cli.farm.sources:sources",
        "List the sources of keys, follow them, accept removals.",
    ),
    "fetch": ("seederfarm.cli.farm.sources:fetch", "Read sources of keys now."),
    "tokens": ("seederfarm.cli.farm.tokens:tokens", "List, make and revoke tokens of the API."),
    "export": ("seederfarm.cli.farm.transfer:export", "Write all drives and sources to a file."),
    "import": (
        "seederfarm.cli.farm.imports:import_group",
        "Register what is in such a file, or take over a blind peer.",
    ),
    "backup": ("seederfarm.cli.farm.backup:backup", "Back the farm up; it may run meanwhile."),
    "restore": ("seederfarm.cli.farm.backup:restore", "Restore a farm from a backup."),
    "doctor": ("seederfarm.cli.farm.doctor:doctor", "Check the farm: what is wrong, and what to do."),
    "config": ("seederfarm.cli.farm.admin:config", "Show the farm's settings."),
    "dashboard": ("seederfarm.cli.farm.admin:dashboard", "Print the address of the farm's pages."),
    "shell": ("seederfarm.cli.farm.admin:shell", "Open a Python prompt with the farm's models."),
}
"""Commands of a farm: they need its database, and import it when they run."""


class LazyGroup(click.Group):
    """A group that imports the module of a command when that command runs."""

    sections: Mapping[str, Mapping[str, tuple[str, str]]] = {"Commands": COMMANDS, "Farm": FARM_COMMANDS}
    """Heading → commands below it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in self.sections.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for commands in self.sections.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                with missing_packages(extra_of(module)):
                    return cast(click.Command, getattr(importlib.import_module(module), attribute))
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name, help_line) for name, (_, help_line) in commands.items()])

    def main(self, *args: Any, **options: Any) -> Any:
        """Run a command line. Exit status 1 in place of 0 if the output could not be written."""
        # As `settings.env.COMMAND`, which takes time to load
        if command := os.environ.get("FARM_COMMAND", "")[:40]:
            options["prog_name"] = command
        if not options.get("standalone_mode", True) or not streams.prepare():
            return super().main(*args, **options)
        status = 1
        try:
            super().main(*args, **options)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            ended_with = streams.finish(status)
        sys.exit(ended_with)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        with one_line_failures(), interrupts():  # `--help` prints, and that may fail
            return super().make_context(*args, **options)

    def invoke(self, ctx: click.Context) -> object:
        with one_line_failures(), interrupts():
            return super().invoke(ctx)


def extra_of(module: str) -> str:
    """The extra of the distribution that brings what a command's module needs."""
    return WORKER if module.startswith("seederfarm.cli.worker.") else FARM


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="seederfarm", prog_name="seederfarm")
def main() -> None:
    """Always-on peers that keep Hypercore content available day and night.

    KEY is 64 hex digits, 52 z-base-32 characters, or a hyper://, pear:// or dat:// link. The content of a key
    shows whether it is a core, a bee or a drive; lists of a farm call all of them drives.
    """
