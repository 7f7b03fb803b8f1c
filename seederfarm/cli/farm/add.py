"""`seederfarm add`: registers drives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from workers import units

from ...settings import env
from ..common.failures import BadInput
from ..common.options import DurationType, decode
from .django_setup import ACTOR, database_failures, open_farm
from .drive_json import named
from .output import MAX_LISTED_ERRORS, json_lines, json_option

if TYPE_CHECKING:
    from ...registry.models import Drive


class WaitCommand(click.Command):
    """Accepts `--wait` and `--wait=N`, and never takes the KEY after it as its number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        args = ["--wait=0" if at < end and arg == "--wait" else arg for at, arg in enumerate(args)]
        return super().parse_args(ctx, args)


class CopiesType(click.ParamType[tuple[int, int]]):
    """MIN or MIN:MAX."""

    name = "copies"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        try:
            return env.replicas(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=WaitCommand)
@click.argument("key", nargs=-1, metavar="KEY...")
@click.option(
    "--file", "file", type=click.File(encoding="utf-8"), help="A seeds.txt with more keys; - is stdin."
)
@click.option(
    "--kind",
    type=click.Choice(["core", "bee", "drive"]),
    default=None,
    help="Kind of keys whose line names none.",
)
@click.option("--label", default="", help="Your name for it.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; may be repeated.")
@click.option(
    "--replicas",
    type=CopiesType(),
    metavar="MIN[:MAX]",
    help="Number of copies (default: SEEDERFARM_REPLICAS).",
)
@click.option(
    "--wait",
    type=click.IntRange(0),
    metavar="[=N]",
    help="Return when N copies of each are complete (without N: its minimum).",
)
@click.option(
    "--timeout", type=DurationType(), metavar="TIME", help="Give up waiting then, with status 1: 90s, 5m."
)
@json_option
def add(
    key: tuple[str, ...],
    file: TextIO | None,
    kind: str | None,
    label: str,
    tags: tuple[str, ...],
    replicas: tuple[int, int] | None,
    wait: int | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Register drives, of which workers then keep copies.

    Drives that are registered already stay as they are; --replicas changes their number of copies.
    """
    texts = [*key, *(file.read().removeprefix("\ufeff").splitlines() if file is not None else ())]
    if not texts:
        raise BadInput("give a KEY, or a list with --file" if file is None else "the list is empty")
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.drives import set_replicas
    from ...registry.services.keys import Malformed, SkippedLine, add_keys, read_lines
    from .waiting import fewer_than, wait_complete

    lines = list(read_lines(texts))
    wrong = [item for item in lines if isinstance(item, Malformed)]
    if wrong:
        raise BadInput(_malformed(wrong, len(key)))
    for item in lines:
        if isinstance(item, SkippedLine):
            click.echo(f"line {item.line - len(key)} of the list: {item.reason}", err=True)
    with database_failures():
        try:
            result = add_keys(texts, kind=kind or "", label=label, tags=tags, replicas=replicas, actor=ACTOR)
            if replicas is not None and result.existing:
                set_replicas(result.existing, *replicas, actor=ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
        if as_json:
            added = [{"event": "added", **named(drive)} for drive in result.added]
            json_lines([*added, *({"event": "known", **named(drive)} for drive in result.existing)])
        else:
            known = len(result.existing)
            more = f"; {known:,} {'was' if known == 1 else 'were'} registered already" if known else ""
            click.echo(f"Added {units.plural(len(result.added), 'key')}{more}.")
        if wait is not None:
            wanted = [drive.pk for drive in (*result.added, *result.existing)]
            _expect_no_more_than_wanted(fewer_than(wanted, wait))
            wait_complete(wanted, wait, timeout, as_json)


def _expect_no_more_than_wanted(few: Iterable[Drive]) -> None:
    """No more copies than the maximum are made, so waiting for more would never end. Raises BadInput."""
    for drive in few:
        raise BadInput(f"{drive} gets {drive.replicas_max} at most: --replicas changes that")


def _malformed(wrong: Sequence[Any], given: int) -> str:
    lines = [
        _of_argument(item) if item.line <= given else f"line {item.line - given} of the list: {item.error}"
        for item in wrong[:MAX_LISTED_ERRORS]
    ]
    if len(wrong) > MAX_LISTED_ERRORS:
        lines.append(f"… and {len(wrong) - MAX_LISTED_ERRORS:,} more")
    return "\n".join((*lines, "Nothing was added.")) if len(wrong) > 1 else lines[0]


def _of_argument(item: Any) -> str:
    """What is wrong with a KEY, as other commands say it."""
    try:
        decode(item.text)
    except BadInput as error:
        return error.message
    return f"{item.text!r}: {item.error}"
