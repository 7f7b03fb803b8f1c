"""Reads the settings of the control plane from the environment and `seederfarm.toml`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from workers.settings import readers
from workers.settings.table import PEER_TABLE, Setting, describe

from . import env
from .table import ATTRIBUTES, CONFIG_FILE, TABLE, FarmSettings


class Loaded(NamedTuple):
    """Settings and the problems found; a wrong setting has its default."""

    settings: FarmSettings
    problems: tuple[env.Problem, ...]

    def checked(self) -> FarmSettings:
        """The settings. Raises SettingsWrong if there are problems."""
        if self.problems:
            raise env.SettingsWrong(self.problems)
        return self.settings


def load(environ: Mapping[str, str] | None = None) -> Loaded:
    """Read every setting. Wrong values become problems; nothing is raised or written."""
    environ = os.environ if environ is None else environ
    problems: list[env.Problem] = []
    home_row, *rows = TABLE
    values: dict[str, Any] = {}
    _read(home_row, environ, {}, values, problems)
    if "home" not in values:
        try:
            values["home"] = readers.directory(str(home_row.default))
        except ValueError as error:
            problems.append(
                env.Problem(home_row.name, str(error), "It is the directory of everything the farm stores")
            )
            values["home"] = Path(os.devnull)  # `checked()` refuses settings with problems
    toml = {} if problems else _toml(values["home"] / CONFIG_FILE, problems)
    for row in rows:
        _read(row, environ, toml, values, problems)
    return Loaded(FarmSettings(**values), tuple(problems))


def _read(
    row: Setting[Any],
    environ: Mapping[str, str],
    toml: Mapping[str, str],
    values: dict[str, Any],
    problems: list[env.Problem],
) -> None:
    hint = f"It is for: {row.help} Default: {row.shown}."
    try:
        found = env.look_up(row.name, environ, toml, file=row.secret)
    except ValueError as error:
        problems.append(env.Problem(row.name, str(error), hint))
        return
    if found is None or not (found.text.strip() or row.blank):
        return
    try:
        values[ATTRIBUTES[row.name]] = row.read(found.text)
    except ValueError as error:
        reason = describe(found.text, error, secret=row.secret, where=found.where)
        problems.append(env.Problem(row.name, reason, hint))


def _toml(path: Path, problems: list[env.Problem]) -> dict[str, str]:
    known = {env.toml_key(row.name) for row in TABLE[1:]}
    only_environment = {env.toml_key(row.name): row.name for row in PEER_TABLE if row not in TABLE[1:]}
    try:
        values = env.read_toml(path)
    except ValueError as error:
        problems.append(env.Problem(str(path), str(error), "Correct the file, or move it away."))
        return {}
    for name in sorted(values.keys() - known):
        if name in only_environment:
            reason = f"{name!r} is read from the environment alone, as {only_environment[name]}"
            problems.append(env.Problem(str(path), reason, "It is for peers and workers."))
            continue
        close = _closest(name, known)
        hint = f"Did you mean {close}?" if close else "docs/settings.md lists all settings."
        problems.append(env.Problem(str(path), f"{name!r} is no setting", hint))
    return values


def _closest(name: str, known: set[str]) -> str | None:
    return next(iter(get_close_matches(name, sorted(known), 1)), None)
