"""Settings of the rules of alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction

from ..alert_rules import RULES, Setting, default_setting
from ..models import Alert, AlertChannel, AlertRule
from ..models.alerting import MAX_SECONDS
from .log import Actor, record_audit

RULE_FIELDS: Final = frozenset(
    ("enabled", "threshold", "opens_after", "closes_after", "all_channels", "channels")
)


def rule_settings() -> dict[str, Setting]:
    """Every rule as it is set, in the order of `RULES`. Two queries."""
    found = {kind: default_setting(rule) for kind, rule in RULES.items()}
    for row in AlertRule.objects.filter(kind__in=list(RULES)).prefetch_related("channels"):
        default = found[row.kind]
        found[row.kind] = replace(
            default,
            enabled=row.enabled or not default.rule.is_optional,
            threshold=default.threshold if row.threshold is None else row.threshold,
            opens_after=default.opens_after if row.opens_after is None else row.opens_after,
            closes_after=default.closes_after if row.closes_after is None else row.closes_after,
            all_channels=row.all_channels,
            channels=frozenset(channel.pk for channel in row.channels.all()),
        )
    return found


def switched_off(kinds: Iterable[str]) -> set[str]:
    """Return the kinds, of these, whose rules are switched off."""
    optional = [kind for kind in set(kinds) if kind in RULES and RULES[kind].is_optional]
    rows = AlertRule.objects.filter(kind__in=optional, enabled=False)
    return set(rows.values_list("kind", flat=True))


def edit_rule(kind: str, values: Mapping[str, Any], actor: Actor) -> list[str]:
    """Set some of RULE_FIELDS; `channels` are channels. None as a number stands for the default.

    Returns the fields that changed. Raises ValidationError; nothing is changed then.
    """
    if kind not in RULES:
        raise ValidationError(f"{kind}: no such rule")
    if unknown := sorted(set(values) - RULE_FIELDS):
        raise ValidationError(f"{', '.join(unknown)}: no such field")
    _check(kind, values)
    with transaction.atomic():
        AlertRule.objects.get_or_create(kind=kind)
        row = AlertRule.objects.select_for_update().get(kind=kind)
        plain = {name: value for name, value in values.items() if name != "channels"}
        changed = [name for name, value in plain.items() if getattr(row, name) != value]
        for name in changed:
            setattr(row, name, plain[name])
        row.save()
        if "channels" in values:
            channels: Sequence[AlertChannel] = values["channels"]
            if {channel.pk for channel in channels} != set(row.channels.values_list("pk", flat=True)):
                row.channels.set(channels)
                changed.append("channels")
        if changed:
            text = f"Changed {', '.join(changed)} of the rule {RULES[kind].title}"
            record_audit(actor, "alert.rule", text, target=kind, data={"changed": changed})
    return changed


def _check(kind: str, values: Mapping[str, Any]) -> None:
    rule = RULES[kind]
    if values.get("enabled") is False and not rule.is_optional:
        raise ValidationError({"enabled": "This rule cannot be switched off: it is the state of the drive."})
    threshold = values.get("threshold")
    if threshold is not None:
        if rule.threshold is None:
            raise ValidationError({"threshold": "This rule has no threshold."})
        if not rule.min_threshold <= threshold <= rule.max_threshold:
            text = f"{rule.min_threshold} to {rule.max_threshold:,} {rule.unit}."
            raise ValidationError({"threshold": text})
    for name in ("opens_after", "closes_after"):
        seconds = values.get(name)
        if seconds is None:
            continue
        if not rule.evaluates:
            raise ValidationError({name: "This rule opens and closes by itself."})
        if not 0 <= seconds <= MAX_SECONDS:
            raise ValidationError({name: f"0 to {MAX_SECONDS:,} seconds."})


def lines(alert: Alert) -> list[tuple[str, str]]:
    """The four lines of an alert: what, kept, what the farm does, what a person can do."""
    rule = RULES.get(alert.kind)
    given = (alert.what, alert.kept, alert.does, alert.hint)
    otherwise = (rule.what, rule.kept, rule.does, rule.hint) if rule else ("", "", "", "")
    words = ("What", "Kept", "Farm does", "You can")
    texts = [own or default for own, default in zip(given, otherwise, strict=True)]
    return [(word, text) for word, text in zip(words, texts, strict=True) if text]


def what_to_do(alert: Alert) -> str:
    """What a person can do about it: its own words, else those of its rule."""
    return dict(lines(alert)).get("You can", "")
