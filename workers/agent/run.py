"""A worker from its start to its end."""

from __future__ import annotations

import hashlib
import logging
import warnings
from importlib.metadata import PackageNotFoundError, version

from celery.exceptions import SecurityWarning

from farmwire.enrol import JoinToken
from hypercore.errors import HypercoreError

from ..engine.identity import load_identity
from ..state import JoinedFarm, State
from .agent import Agent
from .app import create_app, node_name
from .settings import WorkerSettings

CONCURRENCY = 2
"""Threads for tasks, which all are short."""

log = logging.getLogger(__name__)


class NotJoined(HypercoreError):
    """The worker belongs to no farm, and was given no token."""

    code = "NOT_JOINED"


def software_version() -> str:
    """What heartbeats say we are."""
    try:
        return f"seederfarm {version('seederfarm')}"
    except PackageNotFoundError:
        return "seederfarm"


def run_worker(settings: WorkerSettings, token: str | None, *, log_level: int = logging.INFO) -> int:
    """Until a signal. Returns the exit status. Raises StorageError, NotJoined, Refused (a bad token)."""
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
        app = create_app(agent, farm.broker)
        log.info("worker %s (%s) of farm %s", settings.name, agent.id, farm.farm)
        # As root, Celery warns of pickle, which is not accepted here.
        warnings.simplefilter("ignore", SecurityWarning)
        worker = app.Worker(
            hostname=node_name(settings.name, agent.id),
            pool_cls="threads",
            concurrency=CONCURRENCY,
            loglevel=log_level,
            quiet=True,
            task_events=True,
            without_gossip=True,
            without_mingle=True,
            heartbeat_interval=settings.heartbeat,
        )
        try:
            worker.start()
        finally:
            agent.stop()
        return int(worker.exitcode or 0)
    finally:
        state.close()


def _join(state: State, text: str, token: JoinToken) -> None:
    """A token counts once: a service that is started with it again and again has joined already."""
    digest = hashlib.blake2b(text.strip().encode(), digest_size=16).hexdigest()
    if state.get("token") != digest:
        state.join(JoinedFarm(token.farm, token.control, token.broker, token.secret))
        state.set(token=digest)
