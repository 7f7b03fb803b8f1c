"""Secrets that are made once and stored in the data directory, such as the engine's identity."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypercore.crypto import KeyPair
from hypercore.errors import StoreUnreadable

IDENTITY_FILE = "identity"
"""Name of the file with the secret seed of the engine's key pair."""

_SECRET = re.compile(r"[0-9a-f]{64}\s*")


def load_identity(data: Path) -> KeyPair:
    """The engine's key pair. See `load_secret`."""
    return KeyPair.from_seed(load_secret(data / IDENTITY_FILE, "the engine's identity"))


def load_secret(path: Path, what: str) -> bytes:
    """The 32 random bytes in that file (64 hex digits, readable by its owner only); made, and on disk when
    this returns, if missing.

    Call it while the directory is locked. Raises StoreUnreadable, naming it `what`, for a file with other
    content: a known identity is never replaced silently.
    """
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return _create(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise StoreUnreadable(f"cannot read {what} in {path}: {reason}") from error
    if not _SECRET.fullmatch(text):
        raise StoreUnreadable(
            f"{path} does not hold {what} (64 hex digits); "
            "restore it, or move it away to start with a new one"
        )
    return bytes.fromhex(text.strip())


def keep_secret(path: Path, secret: bytes) -> None:
    """Make the file that `load_secret` reads, of a known secret. Raises FileExistsError for another one."""
    try:
        if path.read_text("ascii").strip() == secret.hex():
            return
    except FileNotFoundError:
        _create(path, secret)
        return
    except (OSError, UnicodeDecodeError):
        pass
    raise FileExistsError(path)


def _create(path: Path, secret: bytes | None = None) -> bytes:
    secret = secret or os.urandom(32)
    # Written aside and renamed: a crash leaves either no secret or a whole one.
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return secret
