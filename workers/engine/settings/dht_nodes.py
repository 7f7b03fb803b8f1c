"""DHT nodes that answered recently, stored for the next start, which is faster and needs no bootstrap node.

A file of `HOST:PORT` lines in the data directory, below one that names the bootstrap nodes of their network.
Without it, or if it is damaged, the bootstrap nodes are asked, as at the first start.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hypercore.dht.address import Address, AddressFormatError, BootstrapNode, parse_bootstrap
from hypercore.dht.constants import BOOTSTRAP_NODES

NODES_FILE = "dht-nodes"

MAX_BYTES = 16_384
"""A file beyond this is not ours."""

SAVE_SECONDS = 600.0
"""Seconds between two saves, beside one at the end."""

log = logging.getLogger(__name__)


def network_name(bootstrap: Sequence[BootstrapNode]) -> str:
    """The first line of the file."""
    return "public" if tuple(bootstrap) == BOOTSTRAP_NODES else " ".join(map(str, bootstrap))


def load_nodes(path: Path, network: str) -> list[Address]:
    """The nodes stored for `network`; none if the file is unreadable, or of another network."""
    try:
        with path.open("rb") as file:
            first, *lines = file.read(MAX_BYTES).decode("ascii").splitlines()
    except (OSError, ValueError):
        return []
    if first != network:
        return []
    found = []
    for line in lines:
        with suppress(AddressFormatError):
            node = parse_bootstrap(line)
            if node.address is not None:
                found.append(Address(node.address, node.port))
    return found


def save_nodes(path: Path, network: str, nodes: Iterable[Address]) -> None:
    """Write to a temporary file and rename it. A failing disk is ignored."""
    text = "".join(f"{line}\n" for line in (network, *(f"{node.host}:{node.port}" for node in nodes)))
    aside = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
        aside.rename(path)
    except OSError as error:
        log.info("cannot write %s: %s", path, error)


async def keep_saving(path: Path, network: str, known: Callable[[], list[Address]]) -> None:
    """Save the nodes every SAVE_SECONDS, once there are any."""
    while True:
        await asyncio.sleep(SAVE_SECONDS)
        if nodes := known():
            save_nodes(path, network, nodes)
