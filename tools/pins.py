"""Write the hashes of all files of the pinned releases into `requirements/*.txt`.

Run `python tools/pins.py` after changing a version there by hand; `--check` exits with 1 if something would
change. The hashes come from the package index through `uv` (`pip install uv`), for every platform, x86-64 and
aarch64 among them. The files name neither the index nor any other host.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "requirements"
PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[\w.]+)(?P<marker> ;[^\\]*[^\\\s])?")
OLDEST_PYTHON = "3.11"


def pins_of(text: str) -> list[str]:
    """The lines of a file without hashes: pins and comments."""
    lines = [line.removesuffix("\\").rstrip() for line in text.splitlines()]
    return [line for line in lines if not line.startswith("    --hash=")]


def hashes_of(pins: list[str], uv: str) -> dict[str, list[str]]:
    """`sha256:…` of every file, by `name==version` in lower case."""
    command = [uv, "pip", "compile", "--no-deps", "--generate-hashes", "--universal", "--no-config"]
    command += ["--no-header", "--no-annotate", "--python-version", OLDEST_PYTHON, "--quiet", "-"]
    done = subprocess.run(command, input="\n".join(pins), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in done.stdout.splitlines():
        if (match := PIN.match(line)) is not None:
            current = found.setdefault(known_as(match), [])
        elif (text := line.strip().removesuffix("\\").strip()).startswith("--hash="):
            current.append(text.removeprefix("--hash="))
    return found


def known_as(match: re.Match[str]) -> str:
    return f"{re.sub(r'[-_.]+', '-', match['name']).lower()}=={match['version']}"


def with_hashes(pins: list[str], hashes: dict[str, list[str]]) -> str:
    lines: list[str] = []
    for line in pins:
        match = PIN.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        lines += [" \\\n    --hash=".join((line, *sorted(hashes[known_as(match)])))]
    return "\n".join(lines) + "\n"


def main() -> None:
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("uv is not in PATH: pip install uv")
    changed = []
    for path in sorted(FOLDER.glob("*.txt")):
        before = path.read_text()
        pins = pins_of(before)
        after = with_hashes(pins, hashes_of([pin for pin in pins if PIN.fullmatch(pin)], uv))
        if after != before:
            changed.append(path.name)
            if "--check" not in sys.argv[1:]:
                path.write_text(after)
    sys.stdout.write(f"changed: {', '.join(changed) or 'nothing'}\n")
    sys.exit(bool(changed) and "--check" in sys.argv[1:])


if __name__ == "__main__":
    main()
