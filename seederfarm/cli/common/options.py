"""Arguments and options that several commands share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from hypercore.dht.address import BootstrapNode
from hypercore.errors import KeyFormatError
from hypercore.keys import decode_key
from workers import units
from workers.engine.settings.settings import (
    LimitSettings,
    bootstrap_from,
    data_directory,
    limits_from,
    quarantine_from,
)
from workers.settings.table import ENCRYPTION_KEY, RELAY, SettingError, describe

from .failures import BadInput

F = TypeVar("F", bound=Callable[..., Any])

MAX_FORK_DIGITS = 15
"""Forks are numbers that JavaScript can represent."""

LABEL_LENGTH = 10
"""Characters of a key shown on screens."""


class GivenKey(NamedTuple):
    """A key, and its first characters in the spelling that was typed."""

    key: bytes
    label: str


class KeyType(click.ParamType[GivenKey]):
    """KEY on a command line. A malformed one ends the command with status 2 and one line."""

    name = "key"

    def convert(
        self, value: str | GivenKey, param: click.Parameter | None, ctx: click.Context | None
    ) -> GivenKey:
        if isinstance(value, GivenKey):
            return value
        return GivenKey(decode(value), label_of(value))


class ContentPath(click.ParamType[str]):
    """PATH of a file in a drive, or a key of a bee: UTF-8, whatever the locale."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        # Bytes that the locale could not decode have become surrogates
        return value if is_text(value) else os.fsencode(value).decode("utf-8", "surrogateescape")


def is_text(value: str) -> bool:
    """Whether it can be encoded as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class SizeType(click.ParamType[int]):
    """An amount of bytes: 500G, 64MiB."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return units.parse_size(value)
        except ValueError as error:
            self.fail(describe(value, error), param, ctx)


class DurationType(click.ParamType[float]):
    """Seconds: 90, 90s, 5m."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            return units.parse_duration(value)
        except ValueError as error:
            self.fail(describe(value, error), param, ctx)


class KeyForkType(click.ParamType[tuple[bytes, int]]):
    """KEY=FORK."""

    name = "key=fork"

    def convert(
        self, value: str | tuple[bytes, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[bytes, int]:
        if isinstance(value, tuple):
            return value
        key, _, fork = value.rpartition("=")
        if not key or not fork.isascii() or not fork.isdigit() or len(fork) > MAX_FORK_DIGITS:
            raise BadInput(f"--accept-fork: {value!r} is not KEY=FORK, such as {'ab' * 4}…=1")
        return decode(key), int(fork)


def decode(text: str) -> bytes:
    """The 32 bytes of a key in any of its spellings. Raises BadInput."""
    try:
        return decode_key(text)
    except KeyFormatError as error:
        raise BadInput(str(error)) from None


def secret(text: str) -> bytes:
    """An encryption key."""
    try:
        key = ENCRYPTION_KEY.parse(text, source="--encryption-key")
    except SettingError as error:
        raise BadInput(str(error)) from None
    assert key is not None
    return key


def label_of(text: str) -> str:
    """The start of a key as typed, without the scheme of a link."""
    return text.strip().rpartition("://")[2][:LABEL_LENGTH] + "…"


def key_argument(name: str, *, many: bool = False, required: bool = True) -> Callable[[F], F]:
    """The argument KEY, or KEY... with `many`; the command gets bytes."""
    return click.argument(
        name,
        type=KeyType(),
        nargs=-1 if many else 1,
        required=required,
        metavar=("KEY..." if required else "[KEY...]") if many else "KEY",
    )


def data_option(function: F) -> F:
    """`--data DIR`, as a path or None."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where content is kept (default: $SEEDERFARM_HOME/data, else ~/.seederfarm/data).",
    )(function)


def network_options(function: F) -> F:
    """`--bootstrap` and `--port`."""
    function = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        metavar="N",
        help="UDP port to bind (default: any free port).",
    )(function)
    return click.option(
        "--bootstrap",
        multiple=True,
        metavar="HOST:PORT",
        help="DHT node to start from; may be repeated (default: $SEEDERFARM_BOOTSTRAP, comma-separated, "
        "else the public nodes).",
    )(function)


def limit_options(function: F) -> F:
    """`--up`, `--down`, `--max-bytes`, `--max-blocks`, `--keep-free`, `--max-peers`, as text or None."""
    for name, metavar, text in (
        ("--max-peers", "N", "Accept at most N connections from peers (default: 512)."),
        (
            "--keep-free",
            "SIZE",
            "Keep this much of the disk free (default: 5 %, at least 256 MiB, at most 5 GiB).",
        ),
        (
            "--max-blocks",
            "N",
            "Download nothing more of a key with more than N blocks, or `none` (default: 33554432).",
        ),
        ("--max-bytes", "SIZE", "Store at most this much: 500G (powers of 1000), 64MiB (of 1024)."),
        ("--down", "RATE", "Download at most this much per second, written as for --up."),
        (
            "--up",
            "RATE",
            "Upload at most this much per second: 2M, or by time of day: '08:00-18:00=1M, *=10M'.",
        ),
    ):
        function = click.option(name, metavar=metavar, help=text)(function)
    return function


def verbosity_options(function: F) -> F:
    """`-q` and `-v`: the level of logs on stderr. Passes `log_level` to the command."""

    def level(ctx: click.Context, param: click.Parameter, value: int) -> int:
        quiet = ctx.params.pop("quiet", False)
        return logging.ERROR if quiet else {0: logging.WARNING, 1: logging.INFO}.get(value, logging.DEBUG)

    function = click.option(
        "-v",
        "--verbose",
        "log_level",
        count=True,
        callback=level,
        help="Log more to stderr; -vv logs everything.",
    )(function)
    return click.option("-q", "--quiet", is_flag=True, is_eager=True, help="Show errors only.")(function)


def resolve_data(option: Path | None) -> Path:
    """The data directory: the option, else of the environment. Raises BadInput."""
    try:
        return data_directory(option, os.environ)
    except SettingError as error:
        raise BadInput(str(error)) from None


def resolve_quarantine(option: str | None) -> bool:
    """Whether higher forks are quarantined: the option, else the environment, else False."""
    try:
        return quarantine_from(option, os.environ)
    except SettingError as error:
        raise BadInput(str(error)) from None


def resolve_limits(**options: str | None) -> LimitSettings:
    """Limits from options, each else from the environment. Raises BadInput."""
    try:
        return limits_from(os.environ, **options)
    except SettingError as error:
        raise BadInput(str(error)) from None


def resolve_bootstrap(options: tuple[str, ...]) -> tuple[BootstrapNode, ...]:
    """Nodes to start from: the options, else of the environment. Raises BadInput."""
    try:
        return bootstrap_from(options, os.environ)
    except SettingError as error:
        raise BadInput(str(error)) from None


def resolve_relay() -> bytes | None:
    """Public key of the blind relay in the environment, or None. Raises BadInput."""
    try:
        return RELAY.value(os.environ)
    except SettingError as error:
        raise BadInput(str(error)) from None
