"""Check that every pin has a wheel for aarch64, so that nothing is compiled on a Raspberry Pi.

Run `python tools/wheels.py [3.11 …]`; `./farm test --deploy` does. It asks the package index for the metadata
of releases, for each version of Python, and exits with 1 if a pin has no wheel. No wheel is fetched. The
files of pins have only hashes, so without an index this cannot be checked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

FOLDER: Final = Path(__file__).parents[1] / "requirements"
SETS: Final = ("base", "worker", "control")
"""What a farm installs; `dev` has tools of one machine."""
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64")
"""Systems with glibc 2.28 or newer: Debian 10, Ubuntu 20.04, Raspberry Pi OS of 2021."""


def environment(python: str) -> dict[str, str]:
    """Values of environment markers on a Pi with that Python."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.5",
        "os_name": "posix",
        "platform_machine": "aarch64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.5",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }


def pins_for(text: str, python: str) -> Iterator[str]:
    """`name==version` of each pin that applies to a Pi with that Python."""
    for line in text.splitlines():
        pin = line.removesuffix("\\").strip()
        if not pin or pin.startswith(("#", "--")):
            continue
        requirement = Requirement(pin)
        if requirement.marker is None or requirement.marker.evaluate(environment(python)):
            yield f"{requirement.name}{requirement.specifier}"


def missing(python: str) -> str:
    """What pip says of pins without a wheel; empty: all have one."""
    pins = [pin for name in SETS for pin in pins_for((FOLDER / f"{name}.txt").read_text(), python)]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "pins.txt"
        wanted.write_text("\n".join(pins) + "\n")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--quiet",
            "--no-deps",
            "--ignore-installed",
        ]
        command += ["--only-binary", ":all:", "--python-version", python, "--target", folder]
        command += [
            "--implementation",
            "cp",
            "--abi",
            f"cp{python.replace('.', '')}",
            "--abi",
            "abi3",
            "--abi",
            "none",
        ]
        command += [word for platform in PLATFORMS for word in ("--platform", platform)]
        command += ["--disable-pip-version-check", "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def main(pythons: list[str]) -> int:
    """Check these versions of Python. Returns the exit status."""
    failed = False
    for python in pythons or PYTHONS:
        problem = missing(python)
        failed |= bool(problem)
        sys.stdout.write(f"Python {python}, aarch64: {problem or 'every pin has a wheel'}\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
