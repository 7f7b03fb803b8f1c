"""Links that show a file or folder to every client that has them, until they expire.

Signed with SEEDERFARM_SECRET_KEY and stored nowhere: another secret ends all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.core import signing
from django.core.exceptions import ValidationError

from ..models import Drive
from .log import Actor, record_audit

SALT: Final = "seederfarm.file-link"
MAX_LASTS: Final = timedelta(days=90)
"""Longest life of a link: it cannot be revoked alone. Ours."""
MAX_PATH: Final = 1000
"""Characters of its path: browsers and proxies take addresses of some thousand. Ours."""
MAX_TOKEN: Final = 8000
"""Characters of a link that are looked at."""


@dataclass(frozen=True, slots=True)
class FileLink:
    """The path that a link opens."""

    key: str
    path: str
    """Absolute; with a slash at the end everything below."""
    version: int | None
    """None: the newest."""
    expires: int
    """Unix time."""

    def covers(self, key: str, path: str, version: int | None) -> bool:
        """Whether it opens this path of this drive."""
        inside = path.startswith(self.path) if self.path.endswith("/") else path == self.path
        return key == self.key and inside and (self.version is None or self.version == version)

    @property
    def token(self) -> str:
        """The value of the parameter `link`."""
        return signing.dumps([self.key, self.path, self.version, self.expires], salt=SALT)

    @property
    def expires_at(self) -> datetime:
        """Time at which it expires, in UTC."""
        return datetime.fromtimestamp(self.expires, UTC)


def make_link(
    drive: Drive, path: str, lasts: timedelta, actor: Actor, *, version: int | None = None
) -> FileLink:
    """A link for a person to give away. In the audit log. Raises ValidationError."""
    if (
        not path.startswith("/")
        or len(path) > MAX_PATH
        or any(n in ("", ".", "..") for n in path.split("/")[1:-1])
    ):
        raise ValidationError({"path": f"expected an absolute path of at most {MAX_PATH} characters"})
    if not timedelta(0) < lasts <= MAX_LASTS:
        raise ValidationError({"lasts": f"expected at most {MAX_LASTS.days} days"})
    link = short_link(drive.key, path, lasts, version=version)
    text = f"Made a link to {path[:200]}, until {link.expires_at:%Y-%m-%d %H:%M} UTC"
    record_audit(actor, "drive.link", text, target=drive.key, data={"path": path, "expires": link.expires})
    return link


def short_link(key: str, path: str, lasts: timedelta, *, version: int | None = None) -> FileLink:
    """A link that the farm uses itself."""
    return FileLink(key, path, version, int(time.time() + lasts.total_seconds()))


def read_link(token: str) -> FileLink | None:
    """Return what a link opens; None if it is forged or has expired."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        fields: Any = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        return None
    link = FileLink(*fields)
    return link if link.expires > time.time() else None
