"""Packages for virtual environments that a test makes, without a package index."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import distribution
from pathlib import Path

from seederfarm.installer.bundle import PIN_FILES
from tools.pins import PIN

from .paths import ROOT


def python_with_packages(place: Path) -> Path:
    """A Python whose virtual environments have what `requirements.txt` pins, and pip: no test fetches
    packages."""
    links = place / "packages"
    links.mkdir()
    pins = "".join((ROOT / "requirements" / name).read_text() for name in PIN_FILES)
    for name in ("pip", *(found["name"] for found in map(PIN.match, pins.splitlines()) if found)):
        try:
            files = distribution(name).files or ()
        except ModuleNotFoundError:  # for another version of Python
            continue
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            link = links / top
            if not link.is_symlink():
                link.symlink_to(distribution(name).locate_file(top))
    program = place / "python3"
    program.write_text(
        f"""#!/bin/sh
case "$1 ${{2-}} ${{3-}}" in
"-I -m venv")
    {shlex.quote(sys.executable)} -I -m venv --without-pip "$4"
    for site in "$4"/lib/python*/site-packages; do echo {shlex.quote(str(links))} >"$site/packages.pth"; done
    ;;
*) exec {shlex.quote(sys.executable)} "$@" ;;
esac
"""
    )
    program.chmod(0o755)
    return program
