"""`python -m tests.browser.invented_farm`: fill the empty farm in SEEDERFARM_HOME with invented rows.

Every state that a page can show is there at least once, and texts that publishers may give. `--empty` makes
the database and the accounts alone. No process of a farm is started, and nothing is sent anywhere.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

FILES = {
    "/index.json": json.dumps(
        {"title": "Coastal Field Recordings", "license": "CC-BY-4.0"}, indent=2
    ).encode(),
    "/README.md": b"# Coastal Field Recordings\n\nOne microphone, no filter.\n",
    "/cover.svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 6"><path d="M0 0h9v6H0z"/></svg>',
    "/2026/07/rain-on-tin-roof.flac": bytes(84_000),
    "/2026/07/harbour-bell-fog.flac": bytes(61_000),
    f"/{'a name of a hundred characters or more ' * 3}.txt": b"x",
    "/evil \u202egpj.exe <img src=x onerror=alert(1)>.html": b"<script>alert(1)</script>",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--empty", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "seederfarm.settings.scratch")
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import transaction
    from django.dispatch import Signal

    from seederfarm.registry import signals

    from .invented_rows import fill, make_accounts

    call_command("migrate", verbosity=0)
    for name in ("drives_changed", "workers_changed", "reverify_wanted"):
        setattr(signals, name, Signal())  # there is no broker
    made = {}
    with transaction.atomic():
        made["sessions"] = make_accounts()
        if not options.empty:
            made |= fill(write_files(Path(os.environ["SEEDERFARM_HOME"]) / "worker"))
    print(json.dumps(made))  # noqa: T201 - for the process that started this one


def write_files(directory: Path) -> str:
    """Store a drive as an engine does. Returns its key in hex."""
    from hypercore import KeyPair, disk_store, writable_drive

    directory.mkdir(parents=True)
    store = disk_store(directory)
    drive = writable_drive(store, KeyPair.from_seed(b"invented".ljust(32)))
    with drive.writer.batch() as batch:
        for path, content in FILES.items():
            batch.put(path, content)
    store.flush()
    store.close()
    return bytes(drive.key).hex()


if __name__ == "__main__":
    main()
