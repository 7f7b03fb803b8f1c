"""`./farm fuzz [TARGET...] [--seconds N]`: bend inputs until something breaks, or the time is over.

With atheris (`pip install atheris`) inputs are guided by coverage, one process a target; without it they
are bent at random. What breaks is written to a file: `./farm fuzz TARGET --input FILE` plays it again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from random import Random

import click

from .fuzzer import MAX_INPUT_BYTES, bent
from .target import Target
from .targets import targets


@click.command()
@click.argument("names", nargs=-1, metavar="[TARGET...]")
@click.option("--seconds", default=10.0, show_default=True, help="For each target.")
@click.option(
    "--seed", default=None, type=int, help="Where random inputs begin; the default is another one each time."
)
@click.option(
    "--input", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Play this input."
)
@click.option("--list", "listing", is_flag=True, help="Print the targets.")
@click.option(
    "--guided/--random",
    default=None,
    help="By coverage (atheris), or not. Default: guided if it is installed.",
)
def main(
    names: tuple[str, ...],
    seconds: float,
    seed: int | None,
    file: Path | None,
    listing: bool,
    guided: bool | None,
) -> None:
    """Feed what reads the bytes of peers with nonsense."""
    known = {target.name: target for target in targets()}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.UsageError(f"no target is called {unknown[0]!r}: --list prints them")
    chosen = [known[name] for name in names] or list(known.values())
    if listing:
        click.echo("\n".join(target.name for target in chosen))
        return
    if file is not None:
        for target in chosen:
            target.try_one(file.read_bytes())
        return
    has_atheris = find_spec("atheris") is not None
    if guided and not has_atheris:
        raise click.UsageError("--guided needs atheris: pip install atheris")
    run = _random
    if has_atheris if guided is None else guided:
        import atheris

        atheris.instrument_all()  # takes most of a minute; the children have it from here
        run = _guided
    failed = [target.name for target in chosen if not run(target, seconds, seed)]
    if failed:
        raise click.ClickException(f"broken: {', '.join(failed)}")


def _random(target: Target, seconds: float, seed: int | None) -> bool:
    """False if something broke."""
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    rng, seeds = Random(seed), list(target.seeds())
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        count += 1
        data = bent(rng, seeds)
        try:
            target.try_one(data)
        except Exception:
            click.echo(traceback.format_exc(), err=True)
            click.echo(f"{target.name}: broken by {_kept(target, data)} (seed {seed}, input {count})")
            return False
    click.echo(f"{target.name}: {count:,} inputs (seed {seed})")
    return True


def _kept(target: Target, data: bytes) -> Path:
    """Where an input that breaks something is found again."""
    name = target.name.replace(" ", "-").replace(",", "")
    path = Path(f"crash-{name}-{hashlib.sha256(data).hexdigest()[:10]}")
    path.write_bytes(data)
    return path


def _guided(target: Target, seconds: float, seed: int | None) -> bool:
    """In a child, since atheris ends its process."""
    child = os.fork()
    if child == 0:
        _guide(target, seconds, seed)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _guide(target: Target, seconds: float, seed: int | None) -> None:
    import atheris

    corpus = Path(f".fuzz-corpus/{target.name.replace(' ', '-').replace(',', '')}")
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [f"-max_total_time={max(1, int(seconds))}", f"-max_len={MAX_INPUT_BYTES}", "-verbosity=1"]
    if seed is not None:
        options.append(f"-seed={seed}")
    atheris.Setup([sys.argv[0], str(corpus), *options], target.try_one)
    click.echo(f"--- {target.name}")
    atheris.Fuzz()


if __name__ == "__main__":
    main(prog_name="./farm fuzz")
