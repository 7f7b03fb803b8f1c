"""A thread of the control process that watches the broker, on a connection of its own.

Tasks of the beat come through the broker's queues, so they cannot help a broker that is blocked by a script,
full, or crowded. This thread checks every few seconds: it kills a running script, and cuts what `budget`
bounds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import redis
from django.db import Error, connections, transaction
from django.db.models import F
from django.utils import timezone

from hypercore.printable import visible
from seederfarm.registry.models import AssignmentState, Event, Worker
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.tokens import open_places

from ..history.alerts import AlertSpec, raise_alerts, resolve
from ..messaging import inbox
from ..messaging.broker_thread import BrokerThread
from . import accounts, budget
from .budget import Excess, Owner

log = logging.getLogger(__name__)

POLL_EVERY: Final = 2.0
"""Seconds between checks whether the broker answers, and how long its queues are."""
MEASURE_EVERY: Final = 10.0
"""Seconds between measurements of the keys and connections of each worker."""
PRESSED: Final = 0.8
"""Share of `maxmemory` from which every check measures everything."""
BUSY: Final = "broker.busy"
FULL: Final = "broker.memory"
BUDGET: Final = "broker.budget"


class Watch(BrokerThread):
    """`poll` checks once, `start` runs a thread."""

    NAME = "broker watch"
    TIMEOUT = 2.0
    OPTIONS: ClassVar[dict[str, Any]] = {
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # names of keys may be any bytes, and are sent back
    }

    def __init__(self) -> None:
        super().__init__()
        self._answers = budget.Sweep(budget.ANSWERS)
        self._owned = tuple(
            (budget.Sweep(pattern), known)
            for pattern, known in ((budget.REPORTS_OF_ANY, _known), (budget.JOINS_OF_ANY, _open))
        )
        self._measured = float("-inf")
        self._open = {BUSY, FULL, *(f"{BUDGET}:{queue}" for queue, _, _ in budget.SHARED)}
        """Subjects of alerts that may be open, also from an earlier run."""

    def _turn(self) -> float:
        try:
            self.poll()
        except Error as error:
            log.warning("the watch of the broker goes on without the database: %s", error)
        except Exception:
            log.exception("a look at the broker failed; the next one follows")
        finally:
            connections.close_all()
        return POLL_EVERY

    def poll(self) -> None:
        """Check once. Raises django.db.Error, after all measures at the broker."""
        try:
            client = self._connected()
            try:
                info = client.info("memory")
            except redis.ResponseError as error:
                if not str(error).startswith("BUSY"):
                    raise
                self._end_script(client)
                return
            self._resolve(BUSY)
            self._keep_within(client, info)
        except (redis.RedisError, OSError) as error:
            log.debug("the broker cannot be watched: %s", error)
            self._client = None

    # --- a script that runs

    def _end_script(self, client: Any) -> None:
        outcome = "it was killed"
        for command in ("SCRIPT", "FUNCTION"):
            try:
                client.execute_command(command, "KILL")
                break
            except redis.ResponseError as error:
                outcome = f"it cannot be killed ({error})"
        self._raise(
            BUSY,
            "The broker answered no client: a script ran in it, and " + outcome,
            "The farm runs no long scripts: others have the login of REDIS_URL, or share this Redis. One "
            "that cannot be killed ends with SHUTDOWN NOSAVE alone.",
        )

    # --- memory

    def _keep_within(self, client: Any, info: dict[str, Any]) -> None:
        used, allowed = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
        pressed = allowed > 0 and used > PRESSED * allowed
        found = list(budget.cut_shared(client))
        if pressed or time.monotonic() - self._measured >= MEASURE_EVERY:
            self._measured = time.monotonic()
            owners = _owners()
            found += budget.cut_owned(client, owners)
            found += budget.cut_reports(client, owners, pressed=pressed)
            found += budget.cut_joins(client, open_places(timezone.now()), accounts.user_of_place)
            found += budget.crowds(client, accounts.is_ours)
            found += budget.cut_log(client, accounts.is_ours, pressed=pressed)
            for keys in self._answers.step(client):
                budget.end_answers(client, keys, pressed=pressed)
            for sweep, known in self._owned:
                for keys in sweep.step(client):
                    if gone := budget.cut_unowned(client, keys, known):
                        text = f"{visible(gone[0][:100])}: its writer has not joined this farm"
                        inbox.reject_unknown_sender(text, timezone.now())
        suspended = [excess.user for excess in found if excess.user and self._suspend(client, excess.user)]
        self._record(found, suspended)
        if pressed:
            self._raise(
                FULL,
                f"The broker has {used / budget.MIB:.0f} of the {allowed / budget.MIB:.0f} MiB allowed",
                "It takes no messages when it is full. Raise maxmemory, or look for what fills it.",
            )
        else:
            self._resolve(FULL)

    def _suspend(self, client: Any, user: str) -> bool:
        if accounts.wanted_mode() == "off":
            return False
        try:
            budget.suspend(client, user)
            if (node_id := accounts.worker_of_user(user)) is not None:
                # Again, now that the suspended account cannot write any more
                client.delete(*budget.keys_of(node_id), budget.reports_of(node_id))
            elif (place := accounts.place_of_user(user)) is not None:
                client.delete(budget.joins_of(place))
        except redis.ResponseError as error:
            log.error("the account %s cannot be suspended: %s", user, error)
            return False
        return True

    def _record(self, found: Sequence[Excess], suspended: Sequence[str]) -> None:
        now = timezone.now()
        lasting = {f"{BUDGET}:{excess.what}"[:200] for excess in found}
        for excess in found:
            node_id = accounts.worker_of_user(excess.user) if excess.user else None
            worker = Worker.objects.filter(node_id=node_id or "").first()
            text = f"{worker.name} {excess.text}" if worker is not None else excess.text
            if excess.user in suspended:
                text += f". Its account is suspended for {budget.SUSPENDED_FOR // 60} minutes"
            log.warning("%s", text)
            hint = (
                "No worker does that by itself: its login may have been stolen. Retire it, and enrol it anew."
            )
            if excess.user and worker is None:
                hint = "Its token may have been stolen: revoke it."
            elif worker is None:
                hint = (
                    "Control may have been away for long. What was cut is reported again within ten minutes."
                )
            spec = AlertSpec(
                kind=BUDGET,
                subject=f"{BUDGET}:{excess.what}"[:200],
                text=text,
                hint=hint,
                worker_id=worker.pk if worker is not None else None,
            )
            with transaction.atomic():  # an event that is seen has its alert
                Event.objects.create(
                    at=now, kind=BUDGET, severity=Severity.WARNING, worker=worker, text=text[:500], data={}
                )
                if worker is not None:
                    Worker.objects.filter(pk=worker.pk).update(
                        refused=F("refused") + 1, refused_reason=f"broker: {excess.text}"[:200]
                    )
                raise_alerts([spec], now)
            self._open.add(spec.subject)
        # Alerts about accounts stay open until a person closes them; those about queues end with the excess.
        shared = {f"{BUDGET}:{queue}" for queue, _, _ in budget.SHARED} & self._open - lasting
        for subject in shared:
            self._resolve(subject)

    def _raise(self, subject: str, text: str, hint: str) -> None:
        log.error("%s", text)
        spec = AlertSpec(kind=subject, subject=subject, text=text, hint=hint, severity=Severity.ERROR)
        raise_alerts([spec], timezone.now())
        self._open.add(subject)

    def _resolve(self, subject: str) -> None:
        if subject in self._open:
            resolve([subject], timezone.now())
            self._open.discard(subject)


def _known(node_ids: Sequence[str]) -> set[str]:
    return set(Worker.objects.filter(node_id__in=node_ids).values_list("node_id", flat=True))


def _open(places: Sequence[str]) -> set[str]:
    return open_places(timezone.now()).intersection(places)


def _owners() -> list[Owner]:
    rows = Worker.objects.filter(state__in=accounts.TAKING_PART).values_list("pk", "node_id")
    entries = dict(AssignmentState.objects.values_list("pk", "entries"))
    return [Owner(accounts.user_of_worker(node_id), node_id, entries.get(pk, 0)) for pk, node_id in rows]


watch: Final = Watch()
