"""`seederfarm keygen`: an ed25519 key pair, as used by swarm identities and single-writer cores."""

from __future__ import annotations

import os
from pathlib import Path

import click

from hypercore.crypto import KeyPair
from hypercore.keys import encode_key
from hypercore.printable import json_text, quoted

from ..common.failures import BadInput


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the secret seed to FILE (readable by you alone) instead of printing it; never overwrites.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def keygen(output: Path | None, as_json: bool) -> None:
    """Make a key pair and print it.

    The seed (32 bytes) is the secret: its holder can sign as the public key.
    """
    pair = KeyPair.from_seed(os.urandom(32))
    if output is not None:
        write_secret(output, pair.seed.hex() + "\n")
    shown = {"public_key": pair.public_key.hex(), "id": encode_key(pair.public_key)}
    if output is None:
        shown["seed"] = pair.seed.hex()
    else:
        shown["seed_file"] = str(output)
    if as_json:
        click.echo(json_text(shown))
        return
    for name, value in shown.items():
        click.echo(f"{name.replace('_', ' '):<11} {quoted(value)}")


def write_secret(path: Path, text: str) -> None:
    """Create `path` with mode 0600 and `text` in it, on disk when this returns. Never overwrites."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadInput(
            f"{quoted(str(path))} exists already and is kept as it is: name another file"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
