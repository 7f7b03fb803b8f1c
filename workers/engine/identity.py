"""Who the engine is to its peers: an ed25519 key pair, made once and kept in the data directory."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypercore.crypto import KeyPair
from hypercore.errors import StoreUnreadable

IDENTITY_FILE = "identity"
"""Name of the file with the secret seed (64 hex digits), readable by its owner alone."""

_SEED = re.compile(r"[0-9a-f]{64}\s*")


def load_identity(data: Path) -> KeyPair:
    """The key pair of this data directory; made and on disk when this returns, if there was none.

    Call it while the directory is locked. Raises StoreUnreadable for a file that holds something else: an
    identity that peers and a farm may know is never replaced in silence.
    """
    path = data / IDENTITY_FILE
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return _create(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StoreUnreadable(f"cannot read the engine's identity in {path}: {reason}") from error
    if not _SEED.fullmatch(text):
        raise StoreUnreadable(
            f"{path} does not hold the engine's identity (64 hex digits); "
            "restore it, or move it away to start with a new one"
        )
    return KeyPair.from_seed(bytes.fromhex(text.strip()))


def _create(path: Path) -> KeyPair:
    pair = KeyPair.from_seed(os.urandom(32))
    # Written aside and renamed: a crash leaves either no identity or a whole one.
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(pair.seed.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return pair
