"""Packages that only some commands need, and a one-line error when they are not installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .failures import Failure

WORKER: Final = "worker"
FARM: Final = "farm"

PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    WORKER: ("alembic", "celery", "kombu", "prometheus_client", "psutil", "redis", "sqlalchemy"),
    FARM: (
        *("alembic", "celery", "certifi", "django", "flower", "httpcore", "jmespath", "kombu", "ninja"),
        *(
            "prometheus_client",
            "psutil",
            "psycopg",
            "redis",
            "servestatic",
            "sqlalchemy",
            "unfold",
            "uvicorn",
        ),
    ),
}
"""Extra of the distribution → the modules that it brings and its commands import."""

_OURS: Final = ("farmwire", "hypercore", "seederfarm", "workers")


def require(extra: str) -> None:
    """Check that the packages of an extra are installed. Raises Failure when a package of that extra is not
    installed. Imports none of them."""
    for module in PACKAGES[extra]:
        # kombu puts an object of its own in the place of its module, and that has no spec
        if module not in sys.modules and importlib.util.find_spec(module) is None:
            raise _missing(module, extra)


@contextmanager
def missing_packages(extra: str) -> Iterator[None]:
    """Turn the import of a package that is not installed into a Failure; one of ours is a bug."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if not module or module in _OURS:
            raise
        raise _missing(module, extra) from None


def _missing(module: str, extra: str) -> Failure:
    what = "a worker" if extra == WORKER else "a farm"
    return Failure(
        f"this command needs the package {module!r}, which is not installed: "
        f"pip install 'seederfarm[{extra}]' installs all that {what} needs, and `./farm` does so by itself"
    )
