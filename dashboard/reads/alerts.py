"""The page of alerts, and that of rules and channels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Q, QuerySet

from seederfarm.registry.alert_rules import Setting
from seederfarm.registry.models import Alert, AlertChannel, AlertDelivery, AlertSilence
from seederfarm.registry.models.history import Severity
from seederfarm.registry.services.alert_rules import lines, rule_settings
from seederfarm.registry.services.silences import current

from .looks import SEVERITY, Look

SHOWN: Final = 100
"""Alerts of one list. Ours."""
MARKED: Final = 1000
"""Open alerts whose changes a page in view notices. Ours."""
OVER: Final = 10
"""Closed alerts below the open ones."""
HOURS: Final = ((1, "1 hour"), (4, "4 hours"), (24, "1 day"), (168, "1 week"))
"""How long a silence lasts."""
ICONS: Final = {"email": "mail", "webhook": "webhook", "ntfy": "notifications"}
VIEWS: Final = (("", "Open"), ("taken", "Acknowledged"), ("silenced", "Silenced"), ("over", "Over"))


@dataclass(frozen=True, slots=True)
class Card:
    """An open alert with its actions."""

    alert: Alert
    look: Look
    lines: list[tuple[str, str]]
    scopes: list[tuple[str, str]]
    """What of it can be silenced: value, words."""

    @property
    def id(self) -> str:
        """Prefix of the ids of its form."""
        return f"s{self.alert.pk}"


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel and how sending to it goes."""

    channel: AlertChannel
    icon: str
    look: Look
    next_at: datetime | None
    """When a message that failed is tried again."""
    waiting: int


@dataclass(frozen=True, slots=True)
class AlertsPage:
    """What `/alerts/` shows. `mark` changes whenever any of it does."""

    mark: str
    view: str
    views: list[tuple[str, str, int]]
    cards: list[Card]
    taken: list[tuple[Alert, Look]]
    silenced: list[tuple[Alert, Look]]
    over: list[Alert]
    more: bool
    channels: list[ChannelRow]
    rules: list[Setting]
    silences: list[AlertSilence]


def of_view(view: str, now: datetime) -> QuerySet[Alert]:
    """The alerts of a view (`VIEWS`), the newest first. An unknown view is that of open alerts."""
    rows = Alert.objects.select_related("drive", "worker", "acknowledged_by")
    lasting = rows.filter(resolved_at__isnull=True).order_by("-pk")
    quiet = Q(silenced_until__gt=now)
    match view:
        case "over":
            return rows.filter(resolved_at__isnull=False).order_by("-resolved_at")
        case "taken":
            return lasting.filter(~_quiet(now), acknowledged_at__isnull=False)
        case "silenced":
            return lasting.filter(quiet)
    return lasting.filter(~_quiet(now), acknowledged_at__isnull=True)


def _quiet(now: datetime) -> Q:
    return Q(silenced_until__isnull=False) & Q(silenced_until__gt=now)


def mark_of(now: datetime) -> str:
    """Return a text that differs when the listed alerts differ. Two queries.

    Not for how often an alert was noticed, which changes with each check."""
    rows = Alert.objects.filter(resolved_at__isnull=True).order_by("-pk")
    fields = ("pk", "severity", "text", "what", "acknowledged_at", "silenced_until")
    lasting = [
        (*row, until is not None and until > now) for *row, until in rows.values_list(*fields)[:MARKED]
    ]
    newest = of_view("over", now).values_list("pk", "resolved_at").first()
    return hashlib.sha256(repr((lasting, newest)).encode()).hexdigest()[:16]


def alerts_page(view: str, now: datetime) -> AlertsPage:
    """Return the data of the page of alerts, in a fixed number of queries."""
    mark = mark_of(now)  # before the rest: a change in the meantime is one that the page does not show
    number = Alert.objects.aggregate(
        **{
            "open": Count("pk", filter=Q(resolved_at=None, acknowledged_at=None) & ~_quiet(now)),
            "taken": Count("pk", filter=Q(resolved_at=None, acknowledged_at__isnull=False) & ~_quiet(now)),
            "silenced": Count("pk", filter=Q(resolved_at=None) & _quiet(now)),
            "over": Count("pk", filter=Q(resolved_at__isnull=False)),
        }
    )
    is_all = view == ""
    opened = list(of_view("", now)[: SHOWN + 1]) if is_all else []
    taken = list(of_view("taken", now)[: SHOWN + 1]) if view in ("", "taken") else []
    silenced = list(of_view("silenced", now)[: SHOWN + 1]) if view == "silenced" else []
    over = list(of_view("over", now)[: OVER if is_all else SHOWN + 1]) if view in ("", "over") else []
    return AlertsPage(
        mark=mark,
        view=view,
        views=[(name, word, number[name or "open"]) for name, word in VIEWS],
        cards=[card_of(alert) for alert in opened[:SHOWN]],
        taken=_looks(taken),
        silenced=_looks(silenced),
        over=over[:SHOWN],
        more=any(len(rows) > SHOWN for rows in (opened, taken, silenced, over)),
        channels=channels(),
        rules=[setting for setting in rule_settings().values() if setting.rule.evaluates and setting.enabled],
        silences=list(current(now)),
    )


def card_of(alert: Alert) -> Card:
    """The card of an alert, with what of it can be silenced, the narrowest first."""
    scopes = [("rule", "everything of this rule")]
    if alert.worker is not None:
        scopes = [
            ("rule worker", f"this rule on {alert.worker}"),
            ("worker", f"all of {alert.worker}"),
            *scopes,
        ]
    if alert.drive is not None:
        name = str(alert.drive)
        scopes = [("rule drive", f"this rule on {name}"), ("drive", f"all of {name}"), *scopes]
    return Card(alert, SEVERITY[alert.severity], lines(alert), scopes)


def _looks(alerts: Sequence[Alert]) -> list[tuple[Alert, Look]]:
    return [(alert, SEVERITY[alert.severity]) for alert in alerts[:SHOWN]]


def channels() -> list[ChannelRow]:
    """Return the channels with the state of sending to each. Two queries."""
    waiting: dict[Any, list[Any]] = {}
    rows = AlertDelivery.objects.filter(state=AlertDelivery.State.WAITING).order_by("next_at")
    for channel, tries, next_at in rows.values_list("channel", "tries", "next_at")[:1000]:
        waiting.setdefault(channel, []).append(next_at if tries else None)
    return [_channel(channel, waiting.get(channel.pk, [])) for channel in AlertChannel.objects.all()]


def _channel(channel: AlertChannel, waiting: list[datetime | None]) -> ChannelRow:
    look = {
        True: Look("is-safe", "safe", "works"),
        False: Look("is-fail", "fail", "fails"),
        None: Look("is-idle", "dot", "not used yet"),
    }[channel.works]
    if not channel.enabled:
        look = Look("is-idle", "paused", "off")
    again = min((at for at in waiting if at is not None), default=None)
    return ChannelRow(channel, ICONS[channel.kind], look, again, len(waiting))


SEVERITIES: Final = [
    (Severity.WARNING.value, "warnings and errors"),
    (Severity.ERROR.value, "errors only"),
    (Severity.INFO.value, "everything"),
]
