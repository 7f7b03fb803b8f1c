"""Readers of settings: each takes text, and returns a value or raises ValueError with what it expected.

Amounts are read by `workers.units`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypercore.dht.address import AddressFormatError, BootstrapNode, parse_bootstrap
from hypercore.errors import KeyFormatError
from hypercore.keys import decode_key

from .. import units

T = TypeVar("T")
Reader = Callable[[str], T]

MIN_TOKEN = 16
"""Characters of a token for metrics. Ours."""
MAX_TOKEN = 1024
"""Characters of a token for metrics. Ours."""

NO_HOME = (
    f"no home directory is known (HOME is not set, and user {os.getuid()} has no account): "
    "set SEEDERFARM_HOME to a directory"
)
"""The text where there is no home directory."""


def text(value: str) -> str:
    """Return the value without space around it."""
    return value.strip()


def whole(*, min_value: int = 0, max_value: int = units.MAX_COUNT) -> Reader[int]:
    """Return a reader of whole numbers within these bounds."""

    def read(value: str) -> int:
        return units.parse_count(value, min_value=min_value, max_value=max_value)

    return read


def count_or_none(*, min_value: int, max_value: int, noun: str) -> Reader[int | None]:
    """A number, or `none` for any."""

    def read(value: str) -> int | None:
        if value.strip().lower() in units.NO_LIMIT:
            return None
        try:
            return units.parse_count(value, min_value=min_value, max_value=max_value)
        except ValueError:
            raise ValueError(f"expected a number of {noun} ({min_value} or more), or `none`") from None

    return read


def interval(value: str) -> float:
    """A duration that is not zero."""
    seconds = units.parse_duration(value)
    if seconds <= 0:
        raise ValueError("expected a duration above zero")
    return seconds


def words(value: str) -> tuple[str, ...]:
    """Return the comma-separated words, without empty ones."""
    return tuple(part for part in (part.strip() for part in value.split(",")) if part)


def directory(value: str) -> Path:
    """Return an absolute path; `~` is the home directory. Raises ValueError if empty, or without a home."""
    if not value.strip():
        raise ValueError("expected a directory")
    try:
        return Path(value.strip()).expanduser().absolute()
    except RuntimeError:
        raise ValueError(NO_HOME) from None


def one_of(*choices: str) -> Reader[str]:
    """Return a reader of one of these words, in small letters or capitals."""

    def read(value: str) -> str:
        lowered = value.strip().lower()
        if lowered not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return lowered

    return read


def node_address(value: str) -> BootstrapNode:
    """HOST:PORT, or ADDRESS@HOST:PORT with an IPv4 address that is tried before the name is looked up."""
    try:
        return parse_bootstrap(value)
    except AddressFormatError as error:
        raise ValueError(str(error)) from None


def node_addresses(value: str) -> tuple[BootstrapNode, ...]:
    """HOST:PORT, comma-separated."""
    listed = words(value)
    if not listed:
        raise ValueError("expected at least one HOST:PORT, with commas between several")
    return tuple(map(node_address, listed))


def long_token(value: str) -> str:
    """MIN_TOKEN to MAX_TOKEN printable ASCII characters; space around them is removed."""
    token = value.strip()
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN or not token.isascii() or not token.isprintable():
        raise ValueError(f"expected {MIN_TOKEN} to {MAX_TOKEN} printable ASCII characters")
    return token


def listen_address(value: str) -> tuple[str, int]:
    """HOST:PORT to listen on; an IPv6 address in brackets."""
    host, _, port = value.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9464")
    return host, int(port)


def public_key(value: str) -> bytes:
    """Return the 32 bytes of a key in any spelling. Raises ValueError for anything else."""
    try:
        return decode_key(value)
    except KeyFormatError as error:
        raise ValueError(str(error)) from None


def public_keys(value: str) -> tuple[bytes, ...]:
    """Comma-separated."""
    return tuple(map(public_key, words(value)))


def clients(value: str) -> frozenset[bytes] | None:
    """`anyone` (None), `none`, or public keys with commas between them."""
    match value.strip().lower():
        case "anyone":
            return None
        case "none":
            return frozenset()
    return frozenset(public_keys(value))


def secret_key(value: str) -> bytes:
    """The text of an error has nothing of the key."""
    try:
        return decode_key(value)
    except KeyFormatError:
        raise ValueError("expected 64 hex digits or 52 z-base-32 characters") from None
