"""Identity of the control plane: an Ed25519 key pair below SEEDERFARM_HOME. Workers accept only messages
signed with it."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from django.conf import settings

from farmwire.envelope import node_id
from hypercore.crypto import KeyPair
from seederfarm.settings.secrets import secret_file

KEY_FILE: Final = "control_key"
SEED_BYTES: Final = 32


class IdentityUnreadable(RuntimeError):
    """The key file exists and is invalid. It is never replaced: workers would reject our messages."""


class Identity(NamedTuple):
    """The control plane as workers know it."""

    key_pair: KeyPair
    node_id: str
    """Id of the control plane in messages."""


def identity() -> Identity:
    """The identity of this farm, made on first use. Raises IdentityUnreadable, OSError."""
    return load(settings.FARM.home)


@lru_cache(maxsize=8)
def load(home: Path) -> Identity:
    """The identity in the farm's home, made on first use. Raises IdentityUnreadable and OSError."""
    path = home / KEY_FILE
    seed = secret_file(path, lambda: os.urandom(SEED_BYTES))
    if len(seed) != SEED_BYTES:
        raise IdentityUnreadable(
            f"{path} has {len(seed)} bytes, a key has {SEED_BYTES}. Put the right file back from a backup; "
            "with a new key every worker has to join again."
        )
    pair = KeyPair.from_seed(seed)
    return Identity(pair, node_id(pair.public_key))
