"""Limit of open files, and the store's share of it."""

from __future__ import annotations

import logging
import resource

WANTED = 16_384
"""Open files requested from the system."""

RESERVED = 128
"""Of them reserved for sockets, the database, standard streams and libraries."""

MAX_BLOCK_FILES = 1_024
"""Block files that the store keeps open for reading. More would hardly be read again."""

MIN_BLOCK_FILES = 8

log = logging.getLogger(__name__)


def allow_open_files() -> int:
    """Raise the soft limit of this process as far as useful. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as error:
            log.info("%d files may be open; %d are not granted: %s", soft, wanted, error)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def block_files(allowed: int) -> int:
    """Block files that the store may keep open, if the process may open `allowed` files."""
    return max(MIN_BLOCK_FILES, min(MAX_BLOCK_FILES, (allowed - RESERVED) // 2))
