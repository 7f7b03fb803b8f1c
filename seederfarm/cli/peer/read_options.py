"""The options that `ls`, `cat` and `get` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from hypercore.dht.address import BootstrapNode
from workers.settings.table import ENCRYPTION_KEY

from ..common.options import (
    DurationType,
    data_option,
    network_options,
    resolve_bootstrap,
    resolve_data,
    secret,
    verbosity_options,
)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Values of the options of the reading commands."""

    data: Path
    bootstrap: tuple[BootstrapNode, ...]
    port: int
    encryption_key: bytes | None
    version: int | None
    timeout: float | None
    log_level: int


def read_options(function: F) -> F:
    """The options of `ls`, `cat` and `get`. Passes `options` to the command."""

    @wraps(function)
    def command(
        *args: Any,
        data: Path | None,
        bootstrap: tuple[str, ...],
        port: int,
        encryption_key: str | None,
        version: int | None,
        timeout: float | None,
        log_level: int,
        **kwargs: Any,
    ) -> Any:
        options = ReadOptions(
            data=resolve_data(data),
            bootstrap=resolve_bootstrap(bootstrap),
            port=port,
            encryption_key=None if encryption_key is None else secret(encryption_key),
            version=version,
            timeout=timeout,
            log_level=log_level,
        )
        return function(*args, options=options, **kwargs)

    for option in (
        verbosity_options,
        click.option(
            "--timeout", type=DurationType(), metavar="TIME", help="Give up after this time: 90s, 5m."
        ),
        click.option(
            "--checkout", "version", type=click.IntRange(1), metavar="VERSION", help="Read an older version."
        ),
        click.option(
            "--encryption-key",
            envvar=ENCRYPTION_KEY.name,
            metavar="KEY",
            help="Key of an encrypted drive; $SEEDERFARM_ENCRYPTION_KEY hides it from other users.",
        ),
        network_options,
        data_option,
    ):
        command = option(command)
    return command  # type: ignore[return-value]
