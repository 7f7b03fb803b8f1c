"""docs/settings.md, from the table: `python -m seederfarm.settings.document > docs/settings.md`."""

from __future__ import annotations

import sys

from .table import CONFIG_FILE, TABLE, toml_name

HEAD = f"""\
# Settings

<!-- Made by `python -m seederfarm.settings.document` from seederfarm/settings/table.py: change it there. -->

A setting is read from the environment, else from `{CONFIG_FILE}` in `SEEDERFARM_HOME`, where its
name is in small letters and without `SEEDERFARM_` (`SEEDERFARM_WEB_PORT=9000` is `web_port =
9000`); lists may be lists there. Those marked **secret** may also be kept in a file that
`NAME_FILE` names (`DATABASE_URL_FILE=/run/secrets/database`).

Durations are written `90s`, `15m`, `24h`, `30d`, lists with commas, switches `true` or `false`.
What is wrong is said by `python manage.py check`, all at once, and nothing starts until it is
right.

| setting | in `{CONFIG_FILE}` | default | what it does |
|---|---|---|---|
"""


def markdown() -> str:
    rows = []
    for row in TABLE:
        toml = "" if row.name == "SEEDERFARM_HOME" else f"`{toml_name(row)}`"
        secret = " **secret**" if row.secret else ""
        rows.append(f"| `{row.name}`{secret} | {toml} | `{row.shown}` | {row.help} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(markdown())
