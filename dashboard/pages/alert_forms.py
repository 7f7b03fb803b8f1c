"""Forms of alerts: silences, rules, channels."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.models import AlertChannel, Worker
from workers import units

from ..reads.alerts import HOURS, SEVERITIES


class DurationField(forms.CharField):
    """`10m`, as seconds. Empty: None."""

    def clean(self, value: Any) -> Any:
        text = str(super().clean(value) or "").strip()
        if not text:
            return None
        try:
            return round(units.parse_duration(text))
        except ValueError as error:
            raise ValidationError(f"A time such as 10m or 2h: {error}") from None


class SilenceForm(forms.Form):
    """What to silence, and for how long."""

    hours = forms.TypedChoiceField(choices=HOURS, coerce=int)
    reason = forms.CharField(required=False, max_length=200)
    scope = forms.CharField(required=False, max_length=20)
    rule = forms.ChoiceField(required=False, choices=[("", ""), *((kind, kind) for kind in RULES)])
    worker = forms.ModelChoiceField(Worker.objects.all(), required=False, to_field_name="node_id")
    tag = forms.CharField(required=False, max_length=50)

    def ends_at(self, now: datetime) -> datetime:
        """End of the silence that begins at `now`."""
        return now + timedelta(hours=self.cleaned_data["hours"])


class RuleForm(forms.Form):
    """Changes of a rule; the rule decides which of the fields count."""

    enabled = forms.BooleanField(required=False)
    threshold = forms.IntegerField(required=False)
    opens_after = DurationField(required=False, max_length=20)
    closes_after = DurationField(required=False, max_length=20)
    all_channels = forms.BooleanField(required=False)
    channels = forms.ModelMultipleChoiceField(AlertChannel.objects.all(), required=False)

    def values(self, kind: str) -> dict[str, Any]:
        """Return the values for `edit_rule`: only those that the rule has."""
        rule, given = RULES[kind], dict(self.cleaned_data)
        if not rule.is_optional:
            del given["enabled"]
        if rule.threshold is None:
            del given["threshold"]
        if not rule.evaluates:
            del given["opens_after"], given["closes_after"]
        return given


class ChannelForm(forms.Form):
    """A channel, new or changed."""

    name = forms.CharField(max_length=100)
    kind = forms.ChoiceField(choices=AlertChannel.Kind.choices)
    target = forms.CharField(max_length=1000)
    secret = forms.CharField(required=False, max_length=200)
    min_severity = forms.ChoiceField(choices=SEVERITIES)
    sends_closed = forms.BooleanField(required=False)
    remind_every = DurationField(required=False, max_length=20)

    def values(self, *, keep_secret: bool) -> dict[str, Any]:
        """Return the values for the services. An empty secret stays as it is where there is one."""
        given = {**self.cleaned_data, "remind_every": self.cleaned_data["remind_every"] or 0}
        if keep_secret and not given["secret"]:
            del given["secret"]
        return given


def first_error(form: forms.Form) -> str:
    """One line for a message."""
    for name, errors in form.errors.items():
        return f"{name.replace('_', ' ').capitalize()}: {' '.join(map(str, errors))}"
    return ""
