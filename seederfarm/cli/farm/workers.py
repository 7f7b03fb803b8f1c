"""`seederfarm workers` and `worker enroll|drain|retire`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from hypercore.printable import visible
from workers import units

from ...settings.env import COMMAND
from .. import LazyGroup
from ..common.failures import BadInput, Failure
from .django_setup import ACTOR, database_failures, open_farm
from .output import ago, json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from ...registry.models import Worker
    from ...registry.services.drains import DrainProgress

LOADS: Final = ("load", "load_5", "load_15")

WORKER_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("seederfarm.cli.worker.run:run", "Run a worker on this machine."),
    "join": ("seederfarm.cli.worker.join:join", "Join a farm, and exit: `run` then needs no token."),
    "doctor": ("seederfarm.cli.worker.doctor:doctor", "Check this machine as a worker needs it."),
    "enroll": ("seederfarm.cli.farm.workers:enroll", "Print a command with which one worker joins."),
    "approve": ("seederfarm.cli.farm.worker_acts:approve", "Let a worker in that waits."),
    "apps": ("seederfarm.cli.farm.worker_acts:apps", "Show or set what apps may at a blind peer."),
    "drain": ("seederfarm.cli.farm.workers:drain", "Move the copies of a worker elsewhere."),
    "retire": ("seederfarm.cli.farm.workers:retire", "End the membership of a worker."),
}


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List the workers and their copies."""
    open_farm()
    from ...registry.models import Worker
    from ...registry.queries import with_load
    from ...registry.reach import engines_of, ways_of
    from ...registry.services.drains import drain_progress

    now = datetime.now(UTC)
    with database_failures():
        found: list[Any] = list(with_load(Worker.objects.order_by("name")))
        drains: dict[int, DrainProgress] = {
            worker.pk: drain_progress(worker.pk) for worker in found if worker.state == Worker.State.DRAINING
        }
    if as_json:
        json_lines(
            {
                "name": worker.name,
                "id": worker.node_id,
                "state": worker.state,
                "online": worker.is_online(now),
                "zone": worker.zone,
                "tags": worker.tags,
                "copies": worker.copies,
                "complete": worker.complete,
                "used_bytes": worker.used_bytes,
                "free_bytes": worker.free_bytes,
                "software": worker.software,
                "engine": _engine(worker.engine),
                "network": _network(worker, now),
                "peers": ways_of(engines_of(worker.engine)),
                "engines": worker.engine.get("engines", []),
                "load": [worker.host[name] for name in LOADS if worker.host.get(name) is not None],
                "cores": worker.host.get("cores"),
                "last_seen_at": worker.last_seen_at,
                "drain": _drain(drains.get(worker.pk)),
            }
            for worker in found
        )
        return
    grid = table_of(
        "name", "state", "seen", "zone", "network", "#peers", "#load", "#copies", "#complete", "#used",
        "#free", "software",
        spare=("software", "load", "peers", "zone", "used", "complete"),
    )  # fmt: skip
    for worker in found:
        grid.add_row(
            plain(worker.name),
            worker.get_state_display()
            + (", paused" if worker.paused else "")
            + (", ENGINE HUNG" if _engine(worker.engine) == "hung" else "")
            + (", ENGINE DOWN" if _engine(worker.engine) == "down" else ""),
            ago(worker.last_seen_at, now),
            plain(worker.zone),
            _network(worker, now) or "–",
            f"{worker.engine.get('connections', 0):,}" if worker.is_online(now) else "–",
            _load(worker.host) if worker.is_online(now) else "–",
            f"{worker.copies:,}",
            f"{worker.complete:,}",
            "–" if worker.used_bytes is None else units.format_size(worker.used_bytes),
            "–" if worker.free_bytes is None else units.format_size(worker.free_bytes),
            plain(worker.software),
        )
    if grid.row_count:
        rows(grid)
    else:
        click.echo(f"No workers yet: `{COMMAND} worker enroll` makes a token for one.")
    for worker in found:
        if worker.pk in drains:
            click.echo(f"{plain(worker.name)} is draining: {drains[worker.pk]}")


def _drain(progress: DrainProgress | None) -> dict[str, object] | None:
    if progress is None:
        return None
    return {**progress._asdict(), "eta_seconds": progress.eta_seconds}


def _network(worker: Worker, now: datetime) -> str:
    """How peers reach it; empty for one that is not heard."""
    from ...registry.reach import Reachability, reachability_of

    found = reachability_of(worker.engine) if worker.is_online(now) else Reachability.NOT_HEARD
    return "" if found is Reachability.NOT_HEARD else found.lower()


def _load(host: dict[str, Any]) -> str:
    """Of the last minute, and the cores that share it."""
    return f"{host['load']:.2f}/{host['cores']}" if "load" in host and "cores" in host else "–"


def _engine(engine: dict[str, Any]) -> str:
    """A worker's last report of its engines: `up`, `down`, `hung`, or nothing."""
    if not engine:
        return ""
    return "hung" if engine.get("hung") else "up" if engine.get("running") else "down"


@click.command()
@click.option("--name", default="", help="Name of the worker in the farm (default: its host name).")
@click.option("--zone", default="", help="Where it is: copies of a drive go to different zones.")
@click.option(
    "--tag", "tags", multiple=True, help="A word that drives may require of their workers; may be repeated."
)
@click.option("--approve", is_flag=True, help="The worker waits for approval on the pages after it joins.")
@click.option(
    "--broker",
    default="",
    metavar="URL",
    help="Address at which the worker reaches Redis, if not REDIS_URL; a login in it is used as it is.",
)
@json_option
def enroll(name: str, zone: str, tags: tuple[str, ...], approve: bool, broker: str, as_json: bool) -> None:
    """Print a command that installs a worker on another machine, with a token that works once, within a day.

    Where the pages are not reached by others (SEEDERFARM_PUBLIC_URL), print the command of a machine that
    has the program already.
    """
    farm = open_farm()
    from django.core.exceptions import ValidationError

    from ...control.accounts.accounts import NoAccounts
    from ...control.accounts.authority import AuthorityUnreadable
    from ...control.accounts.enrolment import enrol
    from ...control.messaging.broker import BrokerDown
    from ...installer.bundle import NoPins
    from ...installer.command import CertificateUnreadable, join_command
    from ...settings import env

    try:
        env.redis(broker)
    except ValueError as error:
        raise BadInput(f"--broker {error}") from None
    with database_failures():
        try:
            made = enrol(name=name, zone=zone, tags=tags, approved=not approve, broker=broker, actor=ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
        except AuthorityUnreadable as error:
            raise Failure(str(error)) from None
        except NoAccounts as error:
            raise Failure(f"the broker lets us make no account for a worker: {error}") from None
        except BrokerDown as error:
            raise Failure(f"the broker cannot be reached, so no account can be made there: {error}") from None
    here = farm.bundled_redis and not (broker or farm.workers_redis_url)
    try:
        command = None if here else join_command(farm, made.text)
    except (CertificateUnreadable, NoPins) as error:
        raise Failure(str(error)) from None
    if as_json:
        shown = None if command is None else command.text
        json_lines([{"token": made.text, "expires_at": made.token.expires_at, "command": shown}])
        return
    where = "this machine: none other reaches the bundled Redis" if here else "the machine that is to seed"
    click.echo(f"On {where} (the token works once, and for a day):\n", err=True)
    if command is not None:
        click.echo(f"  {command.text}")
        if command.warning:
            click.echo(f"\n{command.warning}", err=True)
    else:
        # The farm's own worker has the default place already.
        click.echo(f"  echo {made.text} | {COMMAND} worker run {'--data worker-2 ' if here else ''}--join -")
        if not here:
            click.echo(
                "\nWith SEEDERFARM_PUBLIC_URL, the address at which others reach the pages, this is a "
                "command that also installs the program.",
                err=True,
            )
    if made.broker_down:
        click.echo(
            f"\nThe broker does not answer now: the worker can join when the farm runs (`{COMMAND} up`).",
            err=True,
        )
    if made.shared_login:
        click.echo(
            "\nThe token carries the farm's own login of the broker: anyone who has it can read and write "
            "everything there (docs/security.md).",
            err=True,
        )
    if here:
        click.echo(
            "\n--data is where it keeps what it seeds. For workers on other machines, run the farm with a "
            "REDIS_URL.",
            err=True,
        )


@click.command()
@click.argument("name", metavar="WORKER")
@json_option
def drain(name: str, as_json: bool) -> None:
    """Move the copies of a worker elsewhere. It serves them until then; `workers` shows how far that is."""
    open_farm()
    from ...registry.services.workers import drain as drain_workers
    from .lookup import worker

    with database_failures():
        found = worker(name)
        changed = drain_workers([found], ACTOR)
        found.refresh_from_db()
    if as_json:
        json_lines([{"worker": found.name, "state": found.state, "changed": bool(changed)}])
    else:
        nothing = "" if changed else ", so nothing changed"
        click.echo(f"{plain(found.name)} is {found.get_state_display()}{nothing}.")


@click.command()
@click.argument("name", metavar="WORKER")
@click.option("--yes", is_flag=True, help="Also when drives then have fewer copies than their minimum.")
@click.option("--force", is_flag=True, help="Also when it has blocks that no other copy has proven.")
@json_option
def retire(name: str, yes: bool, force: bool, as_json: bool) -> None:
    """End the membership of a worker: its messages are refused, and its copies no longer count.

    `worker drain` first moves its copies elsewhere. In a terminal it asks where --yes is needed.
    """
    open_farm()
    from ...registry.services.workers import retire as retire_workers
    from .lookup import worker

    with database_failures():
        found = worker(name)
        result = retire_workers([found], ACTOR, force=force, confirmed=yes)
    for item in result.guarded:
        name = visible(item.worker.name)
        if item.drives:
            raise Failure(
                f"{name} was kept: {item.why} (`{COMMAND} worker drain {name}`). The last copies: "
                f"{item.named}. --force retires it all the same."
            )
        if as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Failure(
                f"{name} was kept: {item.why} (`{COMMAND} worker drain {name}`). --yes retires it all the "
                "same."
            )
        if not click.confirm(f"{name}: {item.why}. Retire it all the same?", err=True):
            raise Failure(f"{name} was kept. `{COMMAND} worker drain {name}` moves its copies elsewhere")
        with database_failures():
            result = retire_workers([found], ACTOR, confirmed=True)
    if as_json:
        json_lines([{"worker": found.name, "state": "retired", "changed": bool(result.retired)}])
    else:
        click.echo(f"{plain(found.name)} is retired.")


class WorkerGroup(LazyGroup):
    """The commands below `worker`; each is imported when it is called."""

    sections = {"Commands": WORKER_COMMANDS}  # noqa: RUF012  read only


@click.group(cls=WorkerGroup)
def worker_group() -> None:
    """Run a worker, or manage those of the farm."""
