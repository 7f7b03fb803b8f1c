"""Export and import of what is set about alerts: channels, rules, silences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils import timezone

from ..alert_rules import RULES
from ..exportfile import Alerting, Item, Problem, Unreadable
from ..models import AlertChannel, AlertRule, Drive, Worker
from ..urls import HIDDEN, without_secrets
from .alert_rules import edit_rule
from .channels import add_channel
from .log import Actor
from .silences import current, silence

_CHANNEL: Final = ("kind", "min_severity", "sends_closed", "remind_every", "enabled")
_RULE: Final = ("enabled", "threshold", "opens_after", "closes_after")


def export_alerting(*, secrets: bool) -> Iterator[dict[str, Any]]:
    """Lines of the file. Without `secrets`, those of channels are null and their URLs as `without_secrets`
    returns them. Silences that are over are left out."""
    for channel in AlertChannel.objects.all():
        yield {
            "channel": channel.name,
            **{name: getattr(channel, name) for name in _CHANNEL},
            "target": channel.target if secrets else without_secrets(channel.target),
            "secret": channel.secret if secrets or not channel.secret else None,
        }
    for row in AlertRule.objects.order_by("kind").prefetch_related("channels"):
        names = sorted(channel.name for channel in row.channels.all())
        given = {name: getattr(row, name) for name in _RULE}
        yield {"rule": row.kind, **given, "channels": None if row.all_channels else names}
    for item in current(timezone.now()).order_by("pk"):
        yield {
            "silence": f"{item.pk}",
            "rule": item.rule,
            "worker": "" if item.worker is None else item.worker.node_id,
            "drive": None if item.drive is None else item.drive.key,
            "tag": "" if item.tag is None else item.tag.name,
            "reason": item.reason,
            "ends_at": item.ends_at.isoformat(),
        }


def import_alerting(found: Alerting, actor: Actor, problems: list[Problem]) -> int:
    """Add channels and silences that are new, and settings of rules that have none here. Returns how many.

    Raises Unreadable for values that make no sense.
    """
    wrong: list[Problem] = []
    done = 0
    for take, items in (
        (_take_channel, found.channels),
        (_take_rule, found.rules),
        (_take_silence, found.silences),
    ):
        for name, item in items.items():
            try:
                done += take(name, item, actor, problems)
            except ValidationError as error:
                wrong.append(Problem(item.line, " ".join(error.messages)))
    if wrong:
        raise Unreadable(wrong)
    return done


def _take_channel(name: str, item: Item, actor: Actor, problems: list[Problem]) -> int:
    if AlertChannel.objects.filter(name=name).exists():
        return 0
    values: dict[str, Any] = {"name": name, **item.values}
    lacks = "secret" in values and values["secret"] is None
    values["secret"] = values.get("secret") or ""
    if lacks or HIDDEN in values.get("target", ""):
        values["enabled"] = False
        text = f"the secret of the channel {name!r} was not exported: it is switched off"
        problems.append(Problem(item.line, text))
    add_channel(values, actor)
    return 1


def _take_rule(kind: str, item: Item, actor: Actor, problems: list[Problem]) -> int:
    if kind not in RULES:
        problems.append(Problem(item.line, f"there is no rule {kind[:40]!r}"))
        return 0
    if AlertRule.objects.filter(kind=kind).exists():
        return 0
    values = dict(item.values)
    names = values.pop("channels", None)
    channels = list(AlertChannel.objects.filter(name__in=names or []))
    for name in sorted(set(names or []) - {channel.name for channel in channels}):
        problems.append(Problem(item.line, f"no channel here is called {name!r}"))
    edit_rule(kind, {**values, "all_channels": names is None, "channels": channels}, actor)
    return 1


def _take_silence(_: str, item: Item, actor: Actor, problems: list[Problem]) -> int:
    values = item.values
    if values.get("ends_at") is None or values["ends_at"] <= timezone.now():
        problems.append(Problem(item.line, "the silence is over: it is left out"))
        return 0
    about: dict[str, Any] = {"rule": values.get("rule", ""), "tag": values.get("tag", "")}
    if values.get("worker"):
        about["worker"] = Worker.objects.filter(node_id=values["worker"]).first()
    if values.get("drive"):
        about["drive"] = Drive.objects.filter(key=values["drive"]).first()
    missing = [name for name in ("worker", "drive") if name in about and about[name] is None]
    if missing:  # a silence of less would hide more
        problems.append(Problem(item.line, f"the {missing[0]} of the silence is not here: it is left out"))
        return 0
    if _is_here(about, values):
        return 0
    silence(actor, ends_at=values["ends_at"], reason=values.get("reason", ""), **about)
    return 1


def _is_here(about: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    same = current(timezone.now()).filter(
        rule=about["rule"],
        worker=about.get("worker"),
        drive=about.get("drive"),
        ends_at=values["ends_at"],
    )
    return any((item.tag.name if item.tag else "") == about["tag"] for item in same)
