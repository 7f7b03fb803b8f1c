"""Channels: where alerts are sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from .. import signals
from ..models import AlertChannel, AlertDelivery
from .log import Actor, record_audit

MAX_CHANNELS: Final = 20
"""Channels of a farm. Ours."""
MAX_ADDRESSES: Final = 10
"""Addresses of one e-mail channel. Ours."""
MAX_TESTS: Final = 3
"""Tests of one channel that wait. Ours."""
MIN_SECRET: Final = 16
"""Characters of a secret that signs messages. Ours."""
CHANNEL_FIELDS: Final = frozenset(
    ("name", "kind", "target", "secret", "min_severity", "sends_closed", "remind_every", "enabled")
)


def add_channel(values: Mapping[str, Any], actor: Actor) -> AlertChannel:
    """Add a channel. Raises ValidationError."""
    _check_names(values)
    with transaction.atomic():
        if AlertChannel.objects.count() >= MAX_CHANNELS:
            raise ValidationError(f"There are {MAX_CHANNELS} channels already.")
        channel = AlertChannel(**values)
        _check(channel)
        channel.save()
        record_audit(actor, "alert.channel_add", f"Added channel {channel}", target=str(channel.pk))
    return channel


def edit_channel(channel: AlertChannel, values: Mapping[str, Any], actor: Actor) -> list[str]:
    """Set some of CHANNEL_FIELDS. Returns the fields that changed. Raises ValidationError."""
    _check_names(values)
    with transaction.atomic():
        row = AlertChannel.objects.select_for_update().get(pk=channel.pk)
        changed = [name for name, value in values.items() if getattr(row, name) != value]
        for name in changed:
            setattr(row, name, values[name])
        if "enabled" in changed and row.enabled:
            row.active_since = timezone.now()
        if changed:
            _check(row)
            row.save()
            text = f"Changed {', '.join(changed)} of channel {row}"
            record_audit(actor, "alert.channel", text, target=str(row.pk), data={"changed": changed})
    return changed


def remove_channel(channel: AlertChannel, actor: Actor) -> None:
    """Delete a channel with its deliveries."""
    with transaction.atomic():
        record_audit(actor, "alert.channel_delete", f"Deleted channel {channel}", target=str(channel.pk))
        channel.delete()


def send_test(channel: AlertChannel, actor: Actor) -> AlertDelivery:
    """Queue a test message. Raises ValidationError for a channel that is off or has tests waiting."""
    if not AlertChannel.objects.filter(pk=channel.pk, enabled=True).exists():
        raise ValidationError("The channel is switched off.")
    with transaction.atomic():
        waiting = AlertDelivery.objects.filter(
            channel=channel,
            kind=AlertDelivery.Kind.TEST,
            state__in=[AlertDelivery.State.WAITING, AlertDelivery.State.SENDING],
        )
        if waiting.count() >= MAX_TESTS:
            raise ValidationError("Tests of this channel wait already.")
        made = AlertDelivery.objects.create(channel=channel, kind=AlertDelivery.Kind.TEST)
        record_audit(actor, "alert.test", f"Sent a test to {channel}", target=str(channel.pk))
        transaction.on_commit(lambda: signals.messages_wait.send(sender=AlertDelivery))
    return made


def _check_names(values: Mapping[str, Any]) -> None:
    if unknown := sorted(set(values) - CHANNEL_FIELDS):
        raise ValidationError(f"{', '.join(unknown)}: no such field")


def _check(channel: AlertChannel) -> None:
    """Raises ValidationError."""
    channel.full_clean()
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in channel.target + channel.secret):
        raise ValidationError({"target": "It is one line."})
    if channel.kind == AlertChannel.Kind.EMAIL:
        addresses = [address.strip() for address in channel.target.split(",") if address.strip()]
        if not 1 <= len(addresses) <= MAX_ADDRESSES:
            raise ValidationError({"target": f"1 to {MAX_ADDRESSES} addresses, with commas between."})
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError({"target": f"{address[:100]!r} is no e-mail address."}) from None
        return
    if not channel.target.lower().startswith(("http://", "https://")):
        raise ValidationError({"target": "A URL begins with http:// or https://."})
    if not channel.secret.isascii():
        raise ValidationError({"secret": "A secret has ASCII characters only."})
    if channel.kind == AlertChannel.Kind.WEBHOOK and 0 < len(channel.secret) < MIN_SECRET:
        raise ValidationError({"secret": f"Others guess fewer than {MIN_SECRET} characters."})
