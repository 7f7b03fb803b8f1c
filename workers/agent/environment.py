"""The environment of engines: they parse bytes from peers, so they get only what they need."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..settings.table import SettingError

PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "VIRTUAL_ENV"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT"),
    }
)
"""Variables of our environment that an engine is given. None holds a password. Its settings are arguments."""
PASSED_PREFIXES = ("LC_", "PYTHON", "MALLOC_", "UV_")


def engine_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Our environment without DATABASE_URL, REDIS_URL, SEEDERFARM_SECRET_KEY and everything else not in
    PASSED."""
    return {
        name: value for name, value in environ.items() if name in PASSED or name.startswith(PASSED_PREFIXES)
    }


class EngineUser(NamedTuple):
    """The user that engines run as; the default is ours."""

    name: str = ""
    uid: int = -1
    gid: int = -1

    @classmethod
    def named(cls, name: str) -> EngineUser:
        """A user by name or number. Raises SettingError for an unknown one, or one we may not become."""
        if not name:
            return cls()
        try:
            found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except KeyError:
            raise SettingError(f"--engine-user: this machine has no user {name!r}") from None
        if os.geteuid() not in (0, found.pw_uid):
            raise SettingError(f"--engine-user: only root can start engines as {found.pw_name}")
        return cls(found.pw_name, found.pw_uid, found.pw_gid)

    def options(self) -> dict[str, Any]:
        """Keyword arguments for subprocess.Popen."""
        if not self.name or os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "umask": 0o077}

    def own(self, directory: Path) -> None:
        """Create an engine's directory for its user only, and change the owner of its content. Parent
        directories become passable, not listable. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.name or os.geteuid() != 0:
            return
        directory.parent.chmod(directory.parent.stat().st_mode | 0o011)
        for path in (directory, *directory.rglob("*")):
            if path.lstat().st_uid != self.uid:
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
