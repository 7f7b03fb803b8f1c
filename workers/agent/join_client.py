"""Joins a farm with a token: repeats the request until it is admitted, with a login that allows no more."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.connection import Connection
from kombu.entity import Queue
from redis import Redis

from farmwire.envelope import open_envelope, seal
from farmwire.join import Join, Welcome, queue_id, seal_secret, secret_digest, with_login
from farmwire.message import decode, storable
from farmwire.rejection import MessageRejected, RejectReason
from farmwire.tasks import JOIN, KEY_PREFIX, WELCOME, join_queue_of, reply_key

from ..state import JoinedFarm
from .agent import Agent
from .broker import transport_options, trusting_url
from .refused_logins import refused

POLL_EVERY = 0.5
"""Seconds between polls for an answer."""

ASK_EVERY = 30.0
"""Seconds between requests. A request may be lost, or precede an operator's approval."""

SILENT_ABOVE = 20
"""Requests that wait above which none is sent: control is away."""

GOOD_FOR = 600.0
"""Seconds until a request expires."""

PASSWORD_BYTES = 32

REFUSED_AFTER = 10.0
"""Seconds of refused logins after which an attempt with a deadline ends. Control makes an account again that
a restarted Redis lost, within two heartbeats."""

CLOCK_HINT = "; is the clock of this machine right?"

log = logging.getLogger(__name__)


def make_password() -> str:
    """A random password for a broker account."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def problem_of(error: Exception, broker: str) -> tuple[str, bool]:
    """Why the broker cannot be used, in words, and whether it refused the login. `broker`: its URL."""
    parts, text = urlsplit(broker), str(error)
    where = f"{parts.hostname or parts.path}{f':{parts.port}' if parts.port else ''}"
    if refused(text):
        return (
            f"the broker at {where} does not accept this token: it was used, was revoked, has expired, or is "
            "of another farm. `seederfarm worker enroll` on the farm prints a new one",
            True,
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or text
        hint = CLOCK_HINT if "valid" in reason or "expired" in reason else ""
        return f"the certificate of the broker at {where} is not the farm's: {reason}{hint}", False
    first = text.splitlines()[0] if text else type(error).__name__
    return f"the broker at {where} cannot be reached: {first}", False


class JoinClient:
    """Joins a farm. `run` in the main thread, `stop` from a signal handler."""

    def __init__(self, agent: Agent, farm: JoinedFarm) -> None:
        self._agent = agent
        self._farm = farm
        self._stop = threading.Event()
        self._place = queue_id(secret_digest(farm.secret))
        self._logged: set[str] = set()
        self.problem = ""
        """Why the last attempt failed; empty: the request was sent, and not answered yet."""
        self.waiting = False
        """Whether the farm knows this worker, and an operator has to approve it."""
        # Apart from the app that the worker runs: another login, and no task is ever taken.
        options = transport_options(agent.id) | {"max_retries": 1, "retry_on_timeout": False}
        broker = trusting_url(farm.broker, agent.settings.data)
        self._app = Celery("joining", broker=broker, fixups=[], set_as_current=False)
        self._app.conf.update(broker_transport_options=options, result_backend=None, task_protocol=2)

    def stop(self) -> None:
        """End `run` in another thread soon."""
        self._stop.set()

    def run(self, timeout: float | None = None) -> bool:
        """Returns whether the worker belongs to the farm; False: stopped before. With a `timeout` in seconds
        it also ends then, when the farm lets it wait for approval, and when its login is refused."""
        ask_every, asked = min(self._agent.settings.heartbeat, ASK_EVERY), float("-inf")
        start, failed = time.monotonic(), False
        refused_since: float | None = None
        with self._app.connection_for_read() as connection:
            while not self._stop.wait(POLL_EVERY if self._logged else 0.1):
                if timeout is not None and (self.waiting or time.monotonic() - start >= timeout):
                    return False
                try:
                    if time.monotonic() - asked >= ask_every:
                        if self._waiting(connection) < SILENT_ABOVE:
                            self._send_request()
                        asked = time.monotonic()
                    if self._poll_reply(connection):
                        name = self._agent.state.name
                        log.info(
                            "%s has let this worker in%s", self._farm.farm, f" as {name}" if name else ""
                        )
                        return True
                    if failed:  # what an answer was rejected for stays
                        self.problem, failed, refused_since = "", False, None
                except MessageRejected as rejection:
                    self.problem = f"the farm's answer is refused: {rejection}{CLOCK_HINT}"
                    self._agent.refuse(WELCOME, rejection)
                except Exception as error:  # whatever kombu and redis raise
                    failed = True
                    self.problem, locked_out = problem_of(error, self._farm.broker)
                    refused_since = (refused_since or time.monotonic()) if locked_out else None
                    since = time.monotonic() if refused_since is None else refused_since
                    if timeout is not None and time.monotonic() - since >= REFUSED_AFTER:
                        return False
                    self._log_once(logging.WARNING, f"{self.problem}; trying on")
                    connection.collect()  # the next attempt connects anew
                    self._stop.wait(POLL_EVERY)
        return False

    def _send_request(self) -> None:
        agent, settings = self._agent, self._agent.settings
        now = time.time()
        password = secret_digest(agent.state.broker_password(make_password))
        request = Join(
            name=settings.name,
            secret=seal_secret(
                self._farm.secret, sender=agent.id, password=password, reader=self._farm.control
            ),
            password=password,
            zone=settings.zone,
            tags=list(settings.tags),
            software=settings.software,
        )
        sealed = seal(
            request,
            name=JOIN,
            to=self._farm.control,
            seq=agent.state.next_seq(now),
            expires=now + GOOD_FOR,
            key_pair=agent.identity,
        )
        queue = Queue(join_queue_of(self._place))  # type: ignore[no-untyped-call]
        self._app.send_task(
            JOIN, args=[sealed], argsrepr="", queue=queue, declare=[], retry=False, ignore_result=True
        )
        self._log_once(logging.INFO, f"asked to join {self._farm.farm}")

    def _waiting(self, connection: Connection) -> int:
        """Requests of ours that control has not taken yet."""
        channel: Any = connection.default_channel
        waiting: Any = Redis(connection_pool=channel.pool).llen(KEY_PREFIX + join_queue_of(self._place))
        return int(waiting)

    def _poll_reply(self, connection: Connection) -> bool:
        channel: Any = connection.default_channel
        # Not a queue: an account that may pop from one could pop from all before Redis 7.
        answer = Redis(connection_pool=channel.pool).getdel(KEY_PREFIX + reply_key(self._place))
        if not isinstance(answer, bytes):
            return False
        agent = self._agent
        try:
            sealed = json.loads(answer)
        except (ValueError, RecursionError):
            raise MessageRejected(RejectReason.MALFORMED, "an answer that is no JSON") from None
        envelope = agent.state.opened(
            self._farm.control,
            lambda window: open_envelope(
                sealed, sender=self._farm.control, me=agent.id, name=WELCOME, now=time.time(), window=window
            ),
        )
        welcome = decode(envelope.body, Welcome)
        self.waiting = welcome.waiting
        if welcome.waiting:
            self._log_once(logging.INFO, f"{self._farm.farm} knows this worker, and waits for an operator")
            return False
        login = _login(self._farm.broker, welcome, agent.state.broker_password(make_password))
        agent.state.welcomed(login, storable(welcome.name))
        return True

    def _log_once(self, level: int, text: str) -> None:
        """Log a text once, however often it recurs."""
        if text not in self._logged:
            self._logged.add(text)
            log.log(level, "%s", text)


def _login(broker: str, welcome: Welcome, password: str) -> tuple[str, bool]:
    url = with_login(broker, welcome.user, password) if welcome.user else broker
    return url, welcome.events
