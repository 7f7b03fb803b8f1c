"""Settings for tests and static checks: those of `base`, in a temporary home that is deleted at exit."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "SEEDERFARM_HOME" not in os.environ:
    _home = tempfile.mkdtemp(prefix="seederfarm-scratch-")
    os.environ["SEEDERFARM_HOME"] = _home
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ.setdefault("SEEDERFARM_SECRET_KEY", "scratch-" + "0" * 40)

from .base import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""A fast hash: tests have no passwords worth protecting."""
SERVESTATIC_AUTOREFRESH = True
"""Static files are looked for when they are requested. A test client would read all their folders first."""
