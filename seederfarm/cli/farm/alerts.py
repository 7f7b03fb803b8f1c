"""`seederfarm alerts`: what is wrong, acknowledged or silenced, and where messages go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from workers import units

from ...settings.env import COMMAND
from ..common.failures import BadInput, Failure
from ..common.options import DurationType
from .django_setup import database_failures, open_farm
from .output import ago, json_lines, json_option, plain, rows, table_of

if TYPE_CHECKING:
    from ...registry.models import Alert, AlertChannel

ACTOR: Final = "cli"
STATES: Final = ("open", "taken", "silenced", "over")
LISTED: Final = 200
"""Alerts that are listed. Ours."""


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def alerts(context: click.Context, as_json: bool) -> None:
    """List the open alerts."""
    if context.invoked_subcommand is None:
        _list("open", as_json)


@alerts.command(name="list")
@click.option("--state", type=click.Choice(STATES), default="open", help="Which ones (default: open).")
@json_option
def list_alerts(state: str, as_json: bool) -> None:
    """List alerts, the newest first. `open`: not taken and not silenced."""
    _list(state, as_json)


def _list(state: str, as_json: bool) -> None:
    open_farm()
    from django.db.models import Q

    from ...registry.models import Alert
    from ...registry.services.alert_rules import lines

    now = datetime.now(UTC)
    quiet = Q(silenced_until__isnull=False) & Q(silenced_until__gt=now)
    which = {
        "open": Q(resolved_at=None, acknowledged_at=None) & ~quiet,
        "taken": Q(resolved_at=None, acknowledged_at__isnull=False) & ~quiet,
        "silenced": Q(resolved_at=None) & quiet,
        "over": Q(resolved_at__isnull=False),
    }[state]
    found = Alert.objects.filter(which).select_related("drive", "worker", "acknowledged_by").order_by("-pk")
    with database_failures():
        shown = list(found[:LISTED])
    if as_json:
        json_lines(_as_json(alert, lines(alert)) for alert in shown)
        return
    for alert in shown:
        click.echo(f"{alert.pk}  {alert.severity}  {plain(alert.text)}  ({ago(alert.opened_at, now)})")
        for word, text in lines(alert):
            click.echo(f"    {word}: {plain(text)}")
    if not shown:
        click.echo("No alert." if state != "open" else "Nothing needs you.")


def _as_json(alert: Alert, lines: Iterable[tuple[str, str]]) -> dict[str, Any]:
    four = dict(lines)
    return {
        "id": alert.pk,
        "rule": alert.kind,
        "severity": alert.severity,
        "text": alert.text,
        "what": four.get("What", ""),
        "kept": four.get("Kept", ""),
        "farm_does": four.get("Farm does", ""),
        "you_can": four.get("You can", ""),
        "drive": alert.drive.key if alert.drive else None,
        "worker": alert.worker.name if alert.worker else None,
        "opened_at": alert.opened_at,
        "resolved_at": alert.resolved_at,
        "acknowledged_at": alert.acknowledged_at,
        "silenced_until": alert.silenced_until,
    }


@alerts.command()
@click.argument("alert", type=click.IntRange(1), nargs=-1, required=True, metavar="ID...")
@json_option
def ack(alert: tuple[int, ...], as_json: bool) -> None:
    """Take these alerts: no reminder is sent. They stay until their cause is gone."""
    open_farm()
    from ...registry.models import Alert
    from ...registry.services.alerts import acknowledge

    with database_failures():
        found = Alert.objects.filter(pk__in=alert)
        if missing := set(alert) - set(found.values_list("pk", flat=True)):
            raise BadInput(f"no alert has the number {min(missing)}")
        changed = acknowledge(found, ACTOR)
    _done(as_json, {"acknowledged": changed}, f"Acknowledged {units.plural(changed, 'alert')}.")


@alerts.command()
@click.option("--rule", default="", help="Alerts of this rule; `alerts rules` lists them.")
@click.option("--worker", "worker_name", default="", metavar="WORKER", help="Alerts about this worker.")
@click.option("--drive", "drive_key", default="", metavar="KEY", help="Alerts about this drive.")
@click.option("--tag", default="", help="Alerts about drives and workers with this tag.")
@click.option("--for", "lasts", type=DurationType(), required=True, metavar="TIME", help="Such as 4h or 2d.")
@click.option("--reason", default="", help="Why, for others.")
@json_option
def silence(
    rule: str, worker_name: str, drive_key: str, tag: str, lasts: float, reason: str, as_json: bool
) -> None:
    """Send no messages about alerts that fit all that is given, until a time."""
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.silences import silence as add_silence
    from .lookup import drives, worker

    with database_failures():
        try:
            made = add_silence(
                ACTOR,
                ends_at=datetime.now(UTC) + timedelta(seconds=lasts),
                rule=rule,
                worker=worker(worker_name) if worker_name else None,
                drive=drives([drive_key])[0] if drive_key else None,
                tag=tag,
                reason=reason,
            )
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
    _done(
        as_json,
        {"silence": made.pk, "ends_at": made.ends_at},
        f"Silenced {plain(made)}; `alerts silences --end {made.pk}` ends that.",
    )


@alerts.command()
@click.option("--end", type=click.IntRange(1), default=None, metavar="ID", help="End this one now.")
@json_option
def silences(end: int | None, as_json: bool) -> None:
    """List the silences, or end one."""
    open_farm()
    from ...registry.services.silences import current, end_silence

    with database_failures():
        if end is not None:
            if not end_silence(end, ACTOR):
                raise BadInput(f"no silence has the number {end}")
            _done(as_json, {"ended": end}, "The silence has ended.")
            return
        found = list(current(datetime.now(UTC)))
    if as_json:
        json_lines(
            {
                "id": item.pk,
                "about": str(item),
                "ends_at": item.ends_at,
                "by": item.actor,
                "reason": item.reason,
            }
            for item in found
        )
        return
    for item in found:
        click.echo(f"{item.pk}  {plain(item)}  until {item.ends_at:%Y-%m-%d %H:%M} UTC  {plain(item.reason)}")
    if not found:
        click.echo("Nothing is silenced.")


@alerts.command()
@click.argument("rule", required=False)
@click.option("--on/--off", "enabled", default=None, help="Whether it opens alerts.")
@click.option("--threshold", type=click.IntRange(1), default=None, metavar="N")
@click.option("--opens-after", type=DurationType(), default=None, metavar="TIME")
@click.option("--closes-after", type=DurationType(), default=None, metavar="TIME")
@click.option("--channel", "channels", multiple=True, help="Send it only there; may be repeated.")
@click.option("--all-channels", is_flag=True, help="Send it to every channel again.")
@json_option
def rules(
    rule: str | None,
    enabled: bool | None,
    threshold: int | None,
    opens_after: float | None,
    closes_after: float | None,
    channels: tuple[str, ...],
    all_channels: bool,
    as_json: bool,
) -> None:
    """List the rules, or change RULE."""
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.alert_rules import edit_rule, rule_settings

    with database_failures():
        values: dict[str, Any] = {
            "enabled": enabled,
            "threshold": threshold,
            "opens_after": None if opens_after is None else round(opens_after),
            "closes_after": None if closes_after is None else round(closes_after),
        }
        values = {name: value for name, value in values.items() if value is not None}
        if channels or all_channels:
            values |= {"all_channels": all_channels, "channels": [_channel(name) for name in channels]}
        if values and rule is None:
            raise BadInput("say which RULE to change")
        if values and rule is not None:
            try:
                edit_rule(rule, values, ACTOR)
            except ValidationError as error:
                raise BadInput(" ".join(error.messages)) from None
        found = [item for item in rule_settings().values() if rule in (None, item.rule.kind)]
    if not found:
        raise BadInput(f"{rule}: no such rule")
    if as_json:
        json_lines(
            {
                "rule": item.rule.kind,
                "enabled": item.enabled,
                "condition": item.condition,
                "threshold": item.threshold or None,
                "opens_after": item.opens_after,
                "closes_after": item.closes_after,
                "channels": None if item.all_channels else sorted(item.channels),
            }
            for item in found
        )
        return
    grid = table_of("rule", "on", "opens after", "closes after", "when")
    for item in found:
        delays = (units.exact_duration(item.opens_after), units.exact_duration(item.closes_after))
        grid.add_row(item.rule.kind, "yes" if item.enabled else "no", *delays, item.condition)
    rows(grid)


@alerts.group(name="channels", invoke_without_command=True)
@json_option
@click.pass_context
def channels_group(context: click.Context, as_json: bool) -> None:
    """List the channels to which alerts are sent."""
    if context.invoked_subcommand is not None:
        return
    open_farm()
    from ...registry.models import AlertChannel

    with database_failures():
        found = list(AlertChannel.objects.all())
    if as_json:
        json_lines(map(_channel_json, found))
        return
    grid = table_of("name", "kind", "to", "at least", "last sent", "trouble", spare=("at least", "last sent"))
    now = datetime.now(UTC)
    for channel in found:
        name = channel.name if channel.enabled else f"{channel.name} (off)"
        grid.add_row(
            plain(name), channel.kind, plain(_target(channel)), channel.min_severity,
            ago(channel.last_ok_at, now), plain(channel.last_error),
        )  # fmt: skip
    if grid.row_count:
        rows(grid)
    else:
        click.echo(f"No channels: `{COMMAND} alerts channels add` adds one.")


def _target(channel: AlertChannel) -> str:
    from ...registry.urls import without_secrets

    return without_secrets(channel.target)


def _channel_json(channel: AlertChannel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "kind": channel.kind,
        "target": _target(channel),
        "min_severity": channel.min_severity,
        "enabled": channel.enabled,
        "works": channel.works,
        "last_ok_at": channel.last_ok_at,
        "error": channel.last_error or None,
    }


@channels_group.command(name="add")
@click.argument("name")
@click.argument("kind", type=click.Choice(["email", "webhook", "ntfy"]))
@click.argument("target")
@click.option("--secret-file", type=click.File(), help="A file with the secret; - is stdin.")
@click.option(
    "--min-severity", type=click.Choice(["info", "warning", "error"]), default="warning", show_default=True
)
@click.option("--remind", type=DurationType(), default=86400.0, metavar="TIME", help="Default: 1d. 0: never.")
@json_option
def add_channel(
    name: str, kind: str, target: str, secret_file: Any, min_severity: str, remind: float, as_json: bool
) -> None:
    """Add a channel: TARGET is a list of addresses, the URL of a webhook, or that of a topic of ntfy."""
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.channels import add_channel as add

    values = {
        "name": name,
        "kind": kind,
        "target": target,
        "secret": secret_file.read(1000).strip() if secret_file is not None else "",
        "min_severity": min_severity,
        "remind_every": round(remind),
    }
    with database_failures():
        try:
            made = add(values, ACTOR)
        except ValidationError as error:
            raise BadInput(" ".join(error.messages)) from None
    _done(as_json, _channel_json(made), f"Added {plain(name)}: `alerts test {plain(name)}` tries it.")


@channels_group.command(name="remove")
@click.argument("name")
@json_option
def remove_channel(name: str, as_json: bool) -> None:
    """Remove a channel."""
    open_farm()
    from ...registry.services.channels import remove_channel as remove

    with database_failures():
        remove(_channel(name), ACTOR)
    _done(as_json, {"removed": name}, f"Removed {plain(name)}.")


@alerts.command(name="test")
@click.argument("channel")
@json_option
def send_test(channel: str, as_json: bool) -> None:
    """Send a test message to CHANNEL, by control; `alerts channels` shows the result."""
    open_farm()
    from django.core.exceptions import ValidationError

    from ...registry.services.channels import send_test as test

    with database_failures():
        try:
            test(_channel(channel), ACTOR)
        except ValidationError as error:
            raise Failure(" ".join(error.messages)) from None
    _done(as_json, {"channel": channel, "waiting": True}, f"A test is on its way to {plain(channel)}.")


def _channel(name: str) -> AlertChannel:
    """Raises BadInput for an unknown one."""
    from ...registry.models import AlertChannel

    found = AlertChannel.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(AlertChannel.objects.values_list("name", flat=True)[:10])
        raise BadInput(f"no channel is called {name!r}; there {'are ' + known if known else 'is none yet'}")
    return found


def _done(as_json: bool, fields: dict[str, Any], text: str) -> None:
    if as_json:
        json_lines([fields])
    else:
        click.echo(text)
