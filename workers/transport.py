"""kombu's Redis transport, hardened: no Lua scripts, and only the arguments of a message are used.

A client that may write into a queue of Redis chooses every byte of a message: its task, its headers, what
Celery calls after it (`chain`, `callbacks`, `errbacks`, `chord`), the queue to which it is restored, and
whether it is JSON at all. `task_filter` has, for each shared queue, the tasks that may come out of it. Such
a message is rebuilt from its task and its one argument. Any other message is dropped and counted, and never
reaches Celery.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import redis.exceptions
from kombu.transport import TRANSPORT_ALIASES, _transport_cache, virtual
from kombu.transport import redis as kombu_redis

log = logging.getLogger(__name__)

ENCODED: Final = 4 / 3
"""Characters of base64 for each byte."""
ENCODINGS: Final = (None, "", "utf-8", "base64")
"""Encodings of bodies that kombu accepts."""
AROUND: Final = 64 * 1024
"""Bytes of a message around its argument: Celery's headers and properties have about 1 KB."""

RejectedBecause = Callable[[str, str], None]
"""Called with the queue and the reason, from the thread that consumes."""


class Rejected(Exception):
    """A message is dropped. The text gives the reason, without anything that its sender wrote."""


class Rule(NamedTuple):
    """The messages that one queue may deliver."""

    tasks: frozenset[str]
    max_bytes: int
    """Of the message in Redis."""
    rejected: RejectedBecause


class TaskFilter:
    """The rules of this process, by queue."""

    def __init__(self) -> None:
        self._rules: dict[str, Rule] = {}

    def allow(
        self, queue: str, tasks: Iterable[str], *, max_argument_bytes: int, rejected: RejectedBecause
    ) -> None:
        """Accept only messages of these tasks from `queue`, each with one argument of at most
        `max_argument_bytes` of JSON."""
        limit = int(max_argument_bytes * ENCODED) + AROUND
        self._rules[queue] = Rule(frozenset(tasks), limit, rejected)

    def parse(self, queue: str, text: bytes | str) -> Any:
        """The message in `text`. Raises Rejected."""
        rule = self._rules.get(queue)
        if rule is not None and len(text) > rule.max_bytes:
            raise Rejected(f"more than {rule.max_bytes} bytes")
        return self.check(queue, _json(text))

    def check(self, queue: str, message: object) -> dict[str, Any]:
        """Return `message` as Celery may get it. Raises Rejected."""
        properties = message.get("properties") if isinstance(message, dict) else None
        if not isinstance(message, dict) or not isinstance(properties, dict):
            raise Rejected("no message of Celery")
        if not isinstance(properties.get("delivery_tag"), str):
            raise Rejected("no message of Celery")
        if properties.get("body_encoding") not in ENCODINGS:  # kombu has no decoder, and fails
            raise Rejected("an encoding that does not exist")
        rule = self._rules.get(queue)
        return message if rule is None else _remade(message, queue, rule)

    def reject(self, queue: str, reason: Rejected) -> None:
        """Notify the rule of `queue` that a message was dropped, else log it."""
        rule = self._rules.get(queue)
        if rule is None:
            log.warning("dropped a message from %s: %s", queue, reason)
        else:
            rule.rejected(queue, str(reason))


task_filter: Final = TaskFilter()


class Remade(dict[str, Any]):
    """A message with a decoded body, which is not decoded again."""

    payload: dict[str, Any]


def _remade(message: dict[str, Any], queue: str, rule: Rule) -> Remade:
    headers, body = message.get("headers"), message.get("body")
    task = headers.get("task") if isinstance(headers, dict) else None
    if not isinstance(task, str) or task not in rule.tasks:
        raise Rejected("a task that does not belong here")
    encoding = message["properties"].get("body_encoding")
    if not isinstance(body, str) or message.get("content-type") != "application/json":
        raise Rejected("no JSON in it")
    try:
        decoded = _json(b64decode(body, validate=True) if encoding == "base64" else body)
    except ValueError:
        raise Rejected("no JSON in it") from None
    arguments = decoded[0] if isinstance(decoded, list) and len(decoded) == 3 else None
    if not isinstance(arguments, list) or len(arguments) != 1:
        raise Rejected("not one argument")
    number = str(uuid.uuid4())
    # What Celery reads of a message, all of it ours (`celery.worker.strategy`).
    clean = {"lang": "py", "task": task, "id": number, "root_id": number, "retries": 0, "ignore_result": True}
    clean |= {"argsrepr": "", "kwargsrepr": "", "timelimit": [None, None]}
    made = Remade(message)
    made["headers"] = dict(clean)
    made["content-encoding"] = "utf-8"
    made["properties"] = {
        "delivery_tag": str(uuid.uuid4()),
        # To where it is restored when it was not acknowledged.
        "delivery_info": {"exchange": "", "routing_key": queue},
        "body_encoding": encoding,
        "priority": 0,
        "correlation_id": number,
    }
    for name in made.keys() - {"headers", "properties", "body", "content-type", "content-encoding"}:
        del made[name]
    made.payload = {**clean, "args": arguments, "kwargs": {}}
    return made


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected("no JSON") from None


class Message(virtual.Message):
    """A message; of one that the filter made anew the decoded form is known."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **options: Any) -> None:
        super().__init__(payload, channel=channel, **options)  # type: ignore[no-untyped-call]
        if isinstance(payload, Remade):
            self._decoded_cache = payload.payload


class QoS(kombu_redis.QoS):
    """kombu prevents two consumers from restoring the same messages by a lock whose release is a Lua script.
    An account that may load scripts can stop the broker with one.

    A message that could not be acknowledged leaves its place to others all the same: kombu would count it for
    as long as the connection lasts, and take no message once they are as many as may be prefetched. Redis
    delivers it again after the visibility timeout."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge the message, and free its place. Raises errors of Redis."""
        try:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]
        except BaseException:
            self._quick_ack(delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Remove the message, or put it back into its queue, and free its place. Raises errors of Redis."""
        try:
            super().reject(delivery_tag, requeue=requeue)  # type: ignore[no-untyped-call]
        except BaseException:
            self._quick_ack(delivery_tag)
            raise

    def restore_visible(self, start: int = 0, num: int | None = 10, interval: int = 10) -> None:
        """Requeue messages that were not acknowledged in time. Every `interval`th call does so."""
        self._vrestore_count += 1
        if (self._vrestore_count - 1) % (interval or 1):
            return
        with self.channel.conn_or_acquire() as client:
            if not client.set(self.unacked_mutex_key, "1", nx=True, px=int(self.unacked_mutex_expire * 1000)):
                return
            try:
                latest = time.time() - self.visibility_timeout
                options: dict[str, Any] = {"desc": True, "byscore": True}
                if num:  # None: all of them
                    options |= {"offset": start, "num": num}
                for tag in client.zrange(self.unacked_index_key, latest, 0, **options) or ():
                    self.restore_by_tag(tag, client)  # type: ignore[no-untyped-call]
            finally:
                # Even if it is another's by now: messages are restored in a transaction that watches them, so
                # two at it cost a second look and no more.
                client.delete(self.unacked_mutex_key)


class Channel(kombu_redis.Channel):
    """A channel with our messages and connections."""

    Message = Message
    QoS = QoS

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Parameters of a new connection. Raises ConnectionError when ours is closed: its channels give
        messages back, and tasks that end acknowledge theirs, in new connections of the pool. For the
        AttributeError of kombu, which is none of the connection's, Celery ends the process."""
        transport = self.connection
        if transport is None or transport.client is None:
            raise redis.exceptions.ConnectionError("the connection to the broker is closed")
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        return params

    def _brpop_read(self, **options: Any) -> bool:
        """Pass the answer of BRPOP through the filter."""
        try:
            answer = self.client.parse_response(self.client.connection, "BRPOP", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        except redis.exceptions.ResponseError as error:
            self.client.connection.disconnect()
            raise _as_lost(error) from error
        finally:
            self._in_poll = None  # type: ignore[assignment]
        if not answer:
            raise virtual.Empty
        key, text = answer
        queue = (key.decode() if isinstance(key, bytes) else key).rsplit(self.sep, 1)[0]
        self._queue_cycle.rotate(queue)
        try:
            self.connection._deliver(task_filter.parse(queue, text), queue)
        except Rejected as reason:
            task_filter.reject(queue, reason)
        except redis.exceptions.ResponseError as error:
            raise _as_lost(error) from error
        return True


def _as_lost(error: Exception) -> Exception:
    """Treat BUSY, OOM, WRONGTYPE, NOPERM as connection errors, since they may pass: Celery retries after
    those and ends for all others."""
    return redis.exceptions.ConnectionError(str(error))


class Transport(kombu_redis.Transport):
    """Kombu's transport to Redis, with `task_filter` before every message."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        """Remote control arrives through channels and not through BRPOP."""
        if not isinstance(message, Remade):
            try:
                message = task_filter.check(queue, message)
            except Rejected as reason:
                task_filter.reject(queue, reason)
                return
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]


def install() -> None:
    """Make `redis://`, `rediss://` and `redis+socket://` use this transport in this process."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
        _transport_cache.pop(scheme, None)
