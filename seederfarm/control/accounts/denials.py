"""Keeps the broker's accounts, and reports refused attempts to the operator.

The broker logs what it refuses in its `ACL LOG`; this process refuses Celery's unsigned remote control. Both
are counted, and become events.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

import redis
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from hypercore.printable import visible
from seederfarm.registry.models import Event, Worker
from seederfarm.registry.models.history import Severity

from ..history.alerts import AlertSpec, raise_alerts, resolve
from ..messaging.broker import BrokerDown
from ..messaging.rejected import refused_commands, rejected_messages
from . import accounts
from .budget import LOG_ENTRIES, LOG_SEEN_KEY

log = logging.getLogger(__name__)

MAX_NAME: Final = 100
"""Characters of the name of a command or key that are shown. The refused client chose it."""
SEEN_FOR: Final = 7 * 86400
"""Seconds after which the record of a reported entry is deleted."""
NO_ACCOUNTS: Final = "broker.accounts"


class Denial(NamedTuple):
    """Attempts of one of our users that the broker refused since the last check."""

    user: str
    reason: str
    """`command`, `key`, `channel` or `auth`."""
    what: str
    times: int


def sync_accounts(*, afresh: bool = False, now: datetime | None = None) -> None:
    """Keep the accounts, and report refused attempts. If the broker is away, the next beat does it."""
    now = now or timezone.now()
    _record_commands(refused_commands.take(), now)
    _record_messages(rejected_messages.take(), now)
    if accounts.wanted_mode() == "off":
        return
    try:
        kept = accounts.sync(afresh=afresh, now=now)
        denials = list(new_denials())
    except BrokerDown as error:
        log.warning("the broker's accounts wait until it is back: %s", error)
        return
    except accounts.NoAccounts as error:
        _alert_no_accounts(error, now)
        return
    resolve([NO_ACCOUNTS], now)
    if kept.made or kept.removed:
        log.info("accounts of the broker: made %d, removed %d", len(kept.made), len(kept.removed))
    _record_denials(denials, now)


def _alert_no_accounts(error: Exception, now: datetime) -> None:
    """Report that accounts cannot be managed, unless no worker has one."""
    if accounts.wanted_mode() == "auto" and not Worker.objects.exclude(broker_hash="").exists():
        return
    spec = AlertSpec(
        kind=NO_ACCOUNTS,
        subject=NO_ACCOUNTS,
        severity=Severity.ERROR,
        text=f"The broker does not let the farm keep its accounts: {error}",
        hint="Let the login of REDIS_URL use ACL, or set SEEDERFARM_BROKER_ACCOUNTS=off and enrol anew.",
    )
    raise_alerts([spec], now)
    log.error("%s", spec.text)


# --- refusals of the broker


def new_denials() -> Iterator[Denial]:
    """New refusals of our users, each once. Raises BrokerDown. Empty if we may not read the broker's log."""
    with accounts.connected() as client:
        try:
            entries = client.acl_log(LOG_ENTRIES)
            seen = client.hgetall(LOG_SEEN_KEY)
        except redis.ResponseError as error:
            log.debug("the broker's log of refusals cannot be read: %s", error)
            return
        ours = [entry for entry in reversed(entries) if accounts.is_ours(str(entry["username"]))]
        counts: Counter[str] = Counter()  # Redis merges only equal entries that come soon after each other
        for entry in ours:
            counts[_signature(entry)] += int(entry["count"])
        for signature, entry in {_signature(entry): entry for entry in ours}.items():
            fresh = counts[signature] - int(seen.get(signature, 0))
            if fresh > 0:
                yield Denial(str(entry["username"]), str(entry["reason"]), _object(entry), fresh)
        if counts:
            client.hset(LOG_SEEN_KEY, mapping=dict(counts))
            client.expire(LOG_SEEN_KEY, SEEN_FOR)


def _signature(entry: dict[str, Any]) -> str:
    """Identifies an entry, also among those of one client. Numbered since Redis 7.2."""
    client = entry.get("client-info", {})
    sender = client.get("id", "") if isinstance(client, dict) else ""
    parts = (entry.get("entry-id", ""), sender, entry["username"], entry["reason"], _object(entry))
    return "|".join(map(str, parts))


def _object(entry: dict[str, Any]) -> str:
    return visible(str(entry["object"])[:MAX_NAME])


def _record_denials(denials: list[Denial], now: datetime) -> None:
    """Record events and alerts. Wrong passwords share one alert, which ends with them: a broker that lost its
    accounts refuses all workers for a moment."""
    logins = [denial for denial in denials if denial.reason == "auth"]
    _record_logins(sum(denial.times for denial in logins), now)
    for user in dict.fromkeys(denial.user for denial in denials if denial.reason != "auth"):
        theirs = [denial for denial in denials if denial.user == user and denial.reason != "auth"]
        what = ", ".join(f"{denial.reason} {denial.what}" for denial in theirs)
        count = sum(denial.times for denial in theirs)
        worker = Worker.objects.filter(node_id=accounts.worker_of_user(user) or "").first()
        name = worker.name if worker is not None else user
        text = f"The broker refused {count} attempts of {name}: {what}"[:500]
        log.warning("%s", text)
        spec = AlertSpec(
            kind="broker.refused",
            subject=f"broker.refused:{user}"[:200],
            text=text,
            hint="Its login may have been stolen: retire it, and enrol it anew on a machine that you trust.",
            worker_id=worker.pk if worker is not None else None,
        )
        with transaction.atomic():  # an event that is seen has its alert
            Event.objects.create(
                at=now,
                kind="broker.refused",
                severity=Severity.WARNING,
                worker=worker,
                text=text,
                data={"user": user, "count": count},
            )
            if worker is not None:
                Worker.objects.filter(pk=worker.pk).update(
                    refused=F("refused") + count, refused_reason=f"broker: {what}"[:200]
                )
            raise_alerts([spec], now)


def _record_logins(count: int, now: datetime) -> None:
    if not count:
        resolve(["broker.logins"], now)
        return
    spec = AlertSpec(
        kind="broker.logins",
        subject="broker.logins",
        text=f"The broker refused {count} logins of workers",
        hint="Retired workers that still run, a broker that was restarted, or someone guessing passwords.",
    )
    raise_alerts([spec], now)


# --- Celery's remote control


def refuse(command: str) -> Callable[..., dict[str, str]]:
    """Replaces a remote-control command that changes anything."""

    def refuse_it(*_: object, **__: object) -> dict[str, str]:
        refused_commands.add(command)
        return {"error": "refused: Celery's remote control may only ask here"}

    return refuse_it


def _record_commands(refused: dict[str, int], now: datetime) -> None:
    if not refused:
        return
    listed = ", ".join(f"{command} ({count})" for command, count in sorted(refused.items()))
    text = f"Refused remote control of the control plane: {listed}"[:500]
    log.warning("%s", text)
    spec = AlertSpec(
        kind="control.refused",
        subject="control.refused",
        text=text,
        hint="A client that may publish on the broker tried to stop the farm: change the broker's password.",
    )
    with transaction.atomic():
        Event.objects.create(
            at=now, kind="control.refused", severity=Severity.WARNING, text=text, data=refused
        )
        raise_alerts([spec], now)


# --- rejected messages


def _record_messages(rejected: dict[str, int], now: datetime) -> None:
    if not rejected:
        return
    listed = ", ".join(f"{what} ({count})" for what, count in sorted(rejected.items()))
    text = f"Dropped {sum(rejected.values())} messages that no worker of this farm sends: {listed}"[:500]
    log.warning("%s", text)
    spec = AlertSpec(
        kind="control.rejected",
        subject="control.rejected",
        text=text,
        hint="A client with a login of the broker sent control tasks that it may not send: look for refused "
        "messages of single workers, and retire the one whose disk or token was stolen.",
    )
    with transaction.atomic():
        Event.objects.create(
            at=now, kind="control.rejected", severity=Severity.WARNING, text=text, data=rejected
        )
        raise_alerts([spec], now)
