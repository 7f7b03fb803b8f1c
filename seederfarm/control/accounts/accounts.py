"""Accounts of the broker: one for each token, with rights to join only, and one for each worker.

The registry is authoritative and stores only hashes: `keep` creates missing accounts and deletes surplus
ones, so a Redis that lost them (a restart without an `aclfile`) gets them again. Accounts of other farms stay
unchanged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from farmwire.join import queue_id
from farmwire.tasks import (
    KEY_PREFIX,
    UNACKED_PARTS,
    join_queue_of,
    queue_of,
    reply_key,
    report_queue_of,
    unacked_key,
)
from seederfarm.registry.models import EnrolmentToken, Worker

from ..messaging.broker import BrokerDown
from ..messaging.identity import identity
from . import acl, budget
from .retirement import notify_retired

log = logging.getLogger(__name__)

TIMEOUT: Final = 2.0
"""Seconds to wait for one answer of Redis."""
TAKING_PART: Final = (Worker.State.ACTIVE, Worker.State.DRAINING)


class NoAccounts(Exception):
    """This broker has no accounts for workers: our login may not create them, or the server has no ACL."""


class Account(NamedTuple):
    """An account as Redis has it."""

    password_hash: str
    """SHA-256, hex."""
    rules: list[str]


class SyncResult(NamedTuple):
    """Names of the accounts that were made (or corrected) and deleted."""

    made: list[str]
    removed: list[str]


def user_of_token(digest: str) -> str:
    """Name of the account of a token. `digest` is SHA-256 of the token's secret, in hex."""
    return user_of_place(queue_id(digest))


def user_of_place(place: str) -> str:
    """The user of the token with that `queue_id`."""
    return f"{_prefix()}join-{place}"


def user_of_worker(node_id: str) -> str:
    """Name of the account of a worker."""
    return f"{_prefix()}worker-{node_id}"


def worker_of_user(user: str) -> str | None:
    """The node id in the name of a worker's user of this farm, else None."""
    prefix = user_of_worker("")
    return user.removeprefix(prefix) if user.startswith(prefix) else None


def place_of_user(user: str) -> str | None:
    """The `queue_id` in the name of a token's user of this farm, else None."""
    prefix = user_of_place("")
    return user.removeprefix(prefix) if user.startswith(prefix) else None


def is_ours(user: str) -> bool:
    """Whether the name is one that this control plane gives. Farms can share a server."""
    return user.startswith(_prefix())


def _prefix() -> str:
    """Prefix of our users. Users belong to the whole server, for all databases, so other farms may have
    some."""
    return f"farm-{identity().node_id[:8]}-"


def wanted_mode() -> str:
    """`auto`, `on` or `off`."""
    return str(settings.FARM.broker_accounts)


def in_use() -> bool:
    """Whether workers that join from now on get accounts. Raises NoAccounts (where accounts are required),
    BrokerDown."""
    mode = wanted_mode()
    if mode == "off":
        return False
    try:
        with connected() as client:
            _try(client)
    except BrokerDown:
        if settings.FARM.bundled_redis:
            return True  # the bundled Redis starts with the farm, and our login may make accounts
        raise
    except NoAccounts:
        if mode == "on":
            raise
        return False
    return True


def sync(*, afresh: bool = False, now: datetime | None = None) -> SyncResult:
    """Make the broker's accounts match the registry. Raises BrokerDown, and NoAccounts when all that is
    possible is done.

    `afresh`: also replace the rules of existing ones (a newer program may have others).
    """
    now = now or timezone.now()
    with connected() as client:
        version = version_of(client)
        # The broker first: the registry has each account before the broker does. Otherwise the account of a
        # worker that joins in between looks surplus, and is deleted with its first reports.
        there = _listed(client)
        wanted = dict(_wanted(now, version))
        for user in budget.suspended(client):
            wanted.pop(user, None)
        removed = sorted(there.keys() - wanted.keys())
        if removed:
            _notify(client, removed)
            _command(client, "ACL", "DELUSER", *removed)
            client.delete(*(key for user in removed for key in _keys_of(user)))
        made: list[str] = []
        refused: NoAccounts | None = None
        for user, account in wanted.items():
            known = there.get(user)
            if afresh or known is None or account.password_hash not in known:
                try:
                    _make(
                        client, user, account, over=known is not None and account.password_hash not in known
                    )
                    made.append(user)
                except NoAccounts as error:  # one account must not keep the others from being made
                    log.warning("the broker refuses the account %s: %s", user, error)
                    refused = refused or error
        if made or removed:
            _save(client)
    if refused is not None:
        raise refused
    return SyncResult(made, removed)


def _notify(client: Any, users: list[str]) -> None:
    """Notify the retired workers among these users that are connected."""
    connected_users = {str(entry.get("user")) for entry in client.client_list()}
    nodes = [node for user in users if user in connected_users and (node := worker_of_user(user)) is not None]
    if not nodes:
        return
    try:
        notify_retired(client, nodes)
    except Exception:  # an account must end, whatever keeps its worker from hearing of it
        log.exception("retired workers were not notified; their accounts end all the same")


def make_for(worker: Worker) -> acl.Version:
    """Create the account of one worker now. Returns the broker's version. Raises BrokerDown, NoAccounts."""
    with connected() as client:
        version = version_of(client)
        user = user_of_worker(worker.node_id)
        if user in budget.suspended(client):
            raise NoAccounts("its account is suspended")
        account = Account(worker.broker_hash, acl.worker_rules(worker.node_id, version, database=_database()))
        known = _listed(client).get(user)
        if known is None or account.password_hash not in known:
            _make(client, user, account, over=known is not None)
            _save(client)
    return version


def _wanted(now: datetime, version: acl.Version) -> Iterator[tuple[str, Account]]:
    asking = Q(used_at__isnull=True, expires_at__gt=now)
    # The answer may be lost: until the worker has reported with its own account, it may ask again.
    not_heard = Q(used_by__last_seen_at__isnull=True) | Q(used_by__last_seen_at__lt=F("used_at"))
    answered = Q(used_by__isnull=False) & not_heard & ~Q(used_by__state=Worker.State.RETIRED)
    tokens = EnrolmentToken.objects.filter(asking | answered, revoked_at__isnull=True).exclude(broker_hash="")
    for digest, password_hash in tokens.values_list("digest", "broker_hash"):
        yield user_of_token(digest), Account(password_hash, acl.join_rules(queue_id(digest), version))
    workers = Worker.objects.filter(state__in=TAKING_PART).exclude(broker_hash="")
    for node_id, password_hash in workers.values_list("node_id", "broker_hash"):
        rules = acl.worker_rules(node_id, version, database=_database())
        yield user_of_worker(node_id), Account(password_hash, rules)


# --- Redis


@contextmanager
def connected() -> Iterator[Any]:
    """Context manager: a client with the control plane's own login. Raises BrokerDown."""
    client = redis.Redis.from_url(
        settings.FARM.redis_client_url,
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        retry=None,
        decode_responses=True,
        # Names of commands and keys, which a worker chose, may be any bytes.
        encoding_errors="backslashreplace",
    )
    try:
        yield client
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise BrokerDown(str(error)) from error
    finally:
        client.close()


def version_of(client: Any) -> acl.Version:
    """Version of the server behind a Redis client, such as `(7, 2, 4)`."""
    return tuple(int(part) for part in str(client.info("server")["redis_version"]).split("."))


def _try(client: Any) -> None:
    """Create and delete a test account. Raises NoAccounts if we may not."""
    probe_user = f"{_prefix()}nobody"
    _command(client, "ACL", "LIST")
    _command(client, "ACL", "SETUSER", probe_user, "off")
    _command(client, "ACL", "DELUSER", probe_user)


def _listed(client: Any) -> dict[str, str]:
    """Our existing users, each with its ACL line."""
    lines = [str(line) for line in _command(client, "ACL", "LIST")]
    found = {line.split(" ", 2)[1]: line for line in lines}
    return {user: line for user, line in found.items() if is_ours(user)}


def _make(client: Any, user: str, account: Account, *, over: bool) -> None:
    """Create an account. `over`: it exists with another password, and its connections must be closed."""
    try:
        with client.pipeline(transaction=True) as pipe:
            if over:
                pipe.execute_command("ACL", "DELUSER", user)
            pipe.execute_command(
                "ACL", "SETUSER", user, "reset", "on", f"#{account.password_hash}", *account.rules
            )
            pipe.execute()
    except redis.ResponseError as error:
        raise NoAccounts(_reason(error)) from error


def _keys_of(user: str) -> Iterator[str]:
    """Redis keys that only this user reads, or writes."""
    node_id = worker_of_user(user)
    if node_id is None:
        place = place_of_user(user) or ""
        yield KEY_PREFIX + reply_key(place)
        yield KEY_PREFIX + join_queue_of(place)
        return
    queue = queue_of(node_id)
    yield KEY_PREFIX + report_queue_of(node_id)
    yield from (f"{KEY_PREFIX}{queue}", f"{KEY_PREFIX}_kombu.binding.{queue}")
    yield f"{KEY_PREFIX}_kombu.binding_permanent.{queue}"
    yield from (f"{KEY_PREFIX}{unacked_key(node_id)}.{part}" for part in UNACKED_PARTS)


def _save(client: Any) -> None:
    """Save into the `aclfile`, if there is one."""
    try:
        client.execute_command("ACL", "SAVE")
    except redis.ResponseError as error:
        log.debug("accounts are not saved by Redis itself: %s", error)


def _command(client: Any, *words: str) -> Any:
    try:
        return client.execute_command(*words)
    except redis.ResponseError as error:
        raise NoAccounts(_reason(error)) from error


def _reason(error: Exception) -> str:
    return re.sub(r"#[0-9a-f]{64}", "#…", str(error))


def _database() -> int:
    """The database number in the broker's URL."""
    parts = urlsplit(settings.FARM.broker_url)
    if parts.scheme == "redis+socket":
        found = re.search(r"(?:^|&)virtual_host=/?(\d+)", parts.query)
        return int(found[1]) if found else 0
    digits = parts.path.strip("/")
    return int(digits) if digits.isdigit() else 0
