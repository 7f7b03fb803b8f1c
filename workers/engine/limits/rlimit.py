"""How many files may be open: what the system allows, and what the store may keep of it."""

from __future__ import annotations

import logging
import resource

WANTED = 16_384
"""Open files that we ask the system for, where we may."""

RESERVED = 128
"""Of them are for sockets, the database, standard streams and what libraries open."""

MAX_BLOCK_FILES = 1_024
"""Files of blocks that the store keeps open for readers at most. More would hardly be asked for again."""

MIN_BLOCK_FILES = 8

log = logging.getLogger(__name__)


def allow_open_files() -> int:
    """Raise the soft limit of this process as far as that is of use. Returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        except (OSError, ValueError) as error:
            log.info("%d files may be open; %d are not granted: %s", soft, most, error)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def block_files(allowed: int) -> int:
    """Files of blocks that the store may keep open, of so many that the process may have."""
    return max(MIN_BLOCK_FILES, min(MAX_BLOCK_FILES, (allowed - RESERVED) // 2))
