"""A worker's run from start to end."""

from __future__ import annotations

import faulthandler
import hashlib
import logging
import signal
import time
import warnings
from typing import TYPE_CHECKING

from celery.exceptions import SecurityWarning

from farmwire.join import JoinToken
from farmwire.tasks import node_name
from hypercore.errors import HypercoreError
from hypercore.printable import VisibleFormatter

from ..engine.settings.identity import load_identity
from ..ready import Systemd
from ..settings.table import WORKER_METRICS, SettingError
from ..state import JoinedFarm, State
from .agent import Agent
from .app import create_app
from .broker import store_authority
from .join_client import JoinClient
from .refused_logins import RefusedLogins
from .settings import WorkerSettings

if TYPE_CHECKING:
    from .metrics.server import MetricsServer

CONCURRENCY = 2
"""Threads for tasks, which are all short."""

REQUESTS_AND_CONNECTION = ("celery.worker.request", "celery.worker.consumer.consumer", "celery.worker.loops")
"""Loggers of Celery for messages and the connection to the broker."""

EXIT_RETIRED = 78
"""Exit status of a worker that was retired: starting it again changes nothing (EX_CONFIG of sysexits.h)."""

log = logging.getLogger(__name__)


class NotJoined(HypercoreError):
    """The worker belongs to no farm and was given no token."""

    code = "NOT_JOINED"


def run_process(settings: WorkerSettings, token: str | None, *, verbose: bool = False) -> int:
    """Run this process as a worker that logs to stderr, until a signal. Returns the exit status. Raises as
    `run_worker`."""
    faulthandler.enable()  # else a crash in native code leaves no word in the log
    level = logging.DEBUG if verbose else logging.INFO
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("kombu", "alembic", "amqp", "sqlalchemy"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if not verbose:  # two lines for each message, and what Celery thinks of its own connections
        for noisy in ("celery.app.trace", "celery.worker.strategy", "celery.worker.consumer.connection"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(RefusedLogins())
    status = run_worker(settings, token, log_level=level)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return status


def run_worker(settings: WorkerSettings, token: str | None, *, log_level: int = logging.INFO) -> int:
    """Run until a signal. Returns the exit status. Raises StorageError, NotJoined, MessageRejected (a bad
    token)."""
    joined = None if token is None else JoinToken.from_text(token)
    state = State(settings.data)
    try:
        if token is not None and joined is not None:
            _join(state, token, joined)
        farm = state.farm
        if farm is None:
            raise NotJoined(
                f"the worker in {settings.data} belongs to no farm yet: give it --join TOKEN "
                "(`seederfarm worker enroll` on the control plane prints one)"
            )
        agent = Agent(settings, state, load_identity(settings.data))
        if farm.secret:  # it may get another name than its own there
            log.info("worker %s joins the farm %s", agent.id, farm.farm)
        else:
            log.info("worker %s (%s) of farm %s", state.name or settings.name, agent.id, farm.farm)
        metrics = _metrics(agent)
        systemd = Systemd()
        try:
            agent.start()  # it seeds whether or not the broker can be reached
            systemd.notify("READY=1", f"STATUS=seeding for {farm.farm}")
            # It is stuck if its database, or the lock of its reports, is
            systemd.watch(lambda: bool(agent.summary()))
            if farm.secret and not _welcomed(agent, farm):
                return 0
            return _work(agent, log_level)
        finally:
            systemd.stop()
            agent.stop()
            if metrics is not None:
                metrics.stop()
    finally:
        state.close()


def join_farm(settings: WorkerSettings, token: str, *, timeout: float) -> bool:
    """Join the farm that made `token`, seeding nothing. Returns False if an operator has to approve the
    worker. Safe to repeat with the same token. Raises StorageError, NotJoined (with the reason, after
    `timeout` seconds at the latest), MessageRejected (a bad token)."""
    joined = JoinToken.from_text(token)
    state = State(settings.data)
    try:
        _join(state, token, joined)
        farm = state.farm
        assert farm is not None
        if not farm.secret:
            return True
        client = JoinClient(Agent(settings, state, load_identity(settings.data)), farm)
        if client.run(timeout) or client.waiting:
            return not client.waiting
        raise NotJoined(client.problem or f"{farm.farm} has not answered for {timeout:.0f} s: is it running?")
    finally:
        state.close()


def _metrics(agent: Agent) -> MetricsServer | None:
    """Serve metrics, if wanted. Raises SettingError where the address cannot be used."""
    wanted = agent.settings.metrics
    if wanted is None:
        return None
    from .metrics.collector import registry_of, unready  # 3 MB that few workers need
    from .metrics.server import MetricsServer

    try:
        server = MetricsServer(
            (wanted.host, wanted.port),
            registry_of(agent),
            unready=lambda: unready(agent, time.time()),
            token=wanted.token,
        )
    except OSError as error:
        raise SettingError(
            f"{WORKER_METRICS.name}: cannot listen on {wanted.host}:{wanted.port}: {error.strerror or error}"
        ) from None
    server.start()
    log.info("metrics on http://%s:%d/metrics", *server.address)
    return server


def _welcomed(agent: Agent, farm: JoinedFarm) -> bool:
    """Request to join until admitted or stopped. Returns whether it was admitted."""
    joining = JoinClient(agent, farm)
    before = {
        number: signal.signal(number, lambda *_: joining.stop()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        return joining.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(agent: Agent, log_level: int) -> int:
    """Run as a member of the farm until a signal."""
    farm = agent.state.farm
    assert farm is not None
    agent.state.set(retired="")  # a person may have taken that back
    # As root, Celery warns of pickle, which is not accepted here.
    warnings.simplefilter("ignore", SecurityWarning)
    worker = create_app(agent, farm.broker).Worker(
        hostname=node_name(agent.settings.name, agent.id),
        pool_cls="threads",
        concurrency=CONCURRENCY,
        loglevel=log_level,
        quiet=True,
        task_events=farm.events,
        without_heartbeat=not farm.events,
        without_gossip=True,
        without_mingle=True,
        heartbeat_interval=agent.settings.heartbeat,
    )
    # The login of a retired worker ends before Celery has acknowledged the message
    for noisy in REQUESTS_AND_CONNECTION:
        logging.getLogger(noisy).addFilter(lambda _: not agent.retired.is_set())
    worker.start()
    if agent.retired.is_set():
        log.warning(
            "%s has retired this worker, so it stops. What it stored is kept in %s: delete it, or join again "
            "with a new token",
            farm.farm,
            agent.settings.data,
        )
        return EXIT_RETIRED
    return int(worker.exitcode or 0)


def _join(state: State, text: str, token: JoinToken) -> None:
    """Apply a token once: a service that is restarted with the same one has joined already."""
    digest = hashlib.blake2b(text.strip().encode(), digest_size=16).hexdigest()
    if state.get("token") != digest:
        store_authority(token.authority, state.directory)
        state.join(JoinedFarm(token.farm, token.control, token.broker, token.secret))
        state.set(token=digest)
