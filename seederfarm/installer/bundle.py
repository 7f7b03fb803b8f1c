"""The bundle: wheels of the running program and the pins of all other packages of a worker, in one archive.

Made of the modules that run here, in a checkout as in an image: a worker gets the version of its farm. The
same modules give the same bytes, so every process names the same hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

WHEELS: Final = {"hypercore-py": ("hypercore",), "seederfarm": ("farmwire", "seederfarm", "workers")}
"""Distribution → its packages that a worker needs."""
PIN_FILES: Final = ("base.txt", "worker.txt")
PINS: Final = "requirements.txt"
INSTALLER: Final = Path(__file__).with_name("install.sh")
SHARED: Final = "share/seederfarm/requirements"
"""Folder of the pins below `sys.prefix` where the farm is installed as a wheel."""
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_MAKING: Final = Lock()


class NoPins(Exception):
    """The files with the pins of a worker's packages are missing here."""


class Bundle(NamedTuple):
    """An archive and its SHA-256 in hex."""

    data: bytes
    sha256: str


def bundle() -> Bundle:
    """Return the archive (tar): two wheels, `requirements.txt`, and the installer. Raises NoPins."""
    with _MAKING:  # `cache` alone lets threads that ask at the same time all make it
        return _made()


@cache
def _made() -> Bundle:
    files = {PINS: _pins().encode(), INSTALLER.name: INSTALLER.read_bytes()}
    for name, packages in WHEELS.items():
        found = distribution(name)
        files[f"{name.replace('-', '_')}-{found.version}-py3-none-any.whl"] = _wheel(found, packages)
    data = _tar(files)
    return Bundle(data, hashlib.sha256(data).hexdigest())


def _pins() -> str:
    for folder in (Path(__file__).parents[2] / "requirements", Path(sys.prefix) / SHARED):
        if all((folder / name).is_file() for name in PIN_FILES):
            return "".join((folder / name).read_text() for name in PIN_FILES)
    raise NoPins(f"{', '.join(PIN_FILES)} are neither beside the sources nor in {sys.prefix}/{SHARED}")


def _wheel(found: Distribution, packages: tuple[str, ...]) -> bytes:
    """A wheel of pure Python, as PEP 427 describes it."""
    info = f"{found.metadata['Name'].replace('-', '_')}-{found.version}.dist-info"
    files = dict(sorted(entry for package in packages for entry in _modules(package)))
    files[f"{info}/METADATA"] = (found.read_text("METADATA") or "").encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: seederfarm\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    if entry_points := found.read_text("entry_points.txt"):
        files[f"{info}/entry_points.txt"] = entry_points.encode()
    lines = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return output.getvalue()


def _modules(package: str) -> Iterator[tuple[str, bytes]]:
    """Files of a package, by their names in a wheel."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0])
    for path in root.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _tar(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return output.getvalue()
