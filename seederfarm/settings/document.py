"""Make docs/settings.md from the tables: `python -m seederfarm.settings.document > docs/settings.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from workers.settings import table as peer
from workers.settings.table import PEER_TABLE, Setting

from .table import CONFIG_FILE, TABLE, toml_name

HEAD = """\
# Settings

<!-- Made by `python -m seederfarm.settings.document` from workers/settings/table.py and
seederfarm/settings/table.py: change it there. -->

All variables that the farm, workers and peers read. A blank one counts as not set, except that a blank list
is an empty list. A wrong one stops the start with a line that says what was expected.
`python manage.py check` lists all wrong settings of the farm.

| what | is written |
|---|---|
| sizes | `1000`, `500G`, `1.5 TB`, `64MiB`: units of 1000; of 1024 only with an `i` |
| rates | a size a second, `2M` or `2M/s`; `none` for no limit |
| durations | `90`, `90s`, `15m`, `24h`, `30d`, `2w`, `500ms` |
| switches | `true` or `false` |
| lists | with commas |

"""

FARM = f"""\
## The farm

Read from the environment, else from `{CONFIG_FILE}` in `SEEDERFARM_HOME` (`SEEDERFARM_WEB_PORT=9000` is
`web_port = 9000` there; lists may be TOML lists). A **secret** one may be in a file that `NAME_FILE` names
(`DATABASE_URL_FILE=/run/secrets/database`).

| setting | in `{CONFIG_FILE}` | default | what it does |
|---|---|---|---|
"""

PEERS = """
## Peers and workers

Read from the environment by `seed`, `publish`, `ls`, `cat`, `get` and `worker run`. An option of the command
overrides its variable.

| setting | option | default | what it does |
|---|---|---|---|
"""

OPTIONS = {
    peer.BOOTSTRAP: "`--bootstrap`",
    peer.UP: "`--up`",
    peer.DOWN: "`--down`",
    peer.MAX_BYTES: "`--max-bytes`",
    peer.KEEP_FREE: "`--keep-free`",
    peer.MAX_BLOCKS_OF_KEY: "`--max-blocks`",
    peer.MAX_PEERS: "`--max-peers`",
    peer.FORKS: "`--forks`",
    peer.UDP_PORT: "`--port` of `worker run`",
    peer.ENCRYPTION_KEY: "`--encryption-key`",
}


def markdown() -> str:
    """Return the page docs/settings.md."""
    farm = (_line(row, "" if row is peer.HOME else f"`{toml_name(row)}`") for row in TABLE)
    peers = (_line(row, OPTIONS.get(row, "")) for row in PEER_TABLE)
    return HEAD + FARM + "".join(farm) + PEERS + "".join(peers)


def _line(row: Setting[Any], second: str) -> str:
    secret = " **secret**" if row.secret else ""
    return f"| `{row.name}`{secret} | {second} | `{row.shown}` | {row.help} |\n"


def names() -> Iterable[str]:
    """All variables of the page."""
    return {row.name for row in (*TABLE, *PEER_TABLE)}


if __name__ == "__main__":
    sys.stdout.write(markdown())
