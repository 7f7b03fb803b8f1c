"""Alerts, their rules, silences and channels."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry.alert_rules import RULES
from seederfarm.registry.models import Alert, AlertChannel, Worker
from seederfarm.registry.services import channels as channel_services
from seederfarm.registry.services import silences
from seederfarm.registry.services.alert_rules import edit_rule, rule_settings
from seederfarm.registry.services.alerts import acknowledge as acknowledge_alerts

from ..reads import alerts as reading
from .access import action, page
from .alert_forms import ChannelForm, RuleForm, SilenceForm, first_error

CHANGE = "registry.change_alert"


@page
def alerts(request: HttpRequest) -> HttpResponse:
    """`/alerts/`: alerts of one view (`?state=`), open ones by default."""
    view = request.GET.get("state", "")
    known = view if view in dict(reading.VIEWS) else ""
    context = {
        "seen": reading.alerts_page(known, timezone.now()),
        "hours": reading.HOURS,
        "may_act": request.user.has_perm(CHANGE),
    }
    return render(request, "dashboard/alerts.html", context)


@action(CHANGE)
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an alert: no reminder is sent."""
    if isinstance(request.user, User):
        acknowledge_alerts(Alert.objects.filter(pk=pk), request.user)
    return _back("alerts")


@action(CHANGE)
def silence(request: HttpRequest, pk: int) -> HttpResponse:
    """Silence the chosen part of an alert: its rule, its worker, its drive."""
    alert = get_object_or_404(Alert.objects.select_related("drive", "worker"), pk=pk)
    form = SilenceForm(request.POST)
    parts = request.POST.get("scope", "").split()
    given: dict[str, Any] = {}
    if "rule" in parts:
        given["rule"] = alert.kind
    if "worker" in parts:
        given["worker"] = alert.worker
    if "drive" in parts:
        given["drive"] = alert.drive
    return _silence(request, form, given, "alerts")


@action(CHANGE)
def add_silence(request: HttpRequest) -> HttpResponse:
    """Silence what the form names."""
    form = SilenceForm(request.POST)
    given = {name: form.cleaned_data[name] for name in ("rule", "worker", "tag")} if form.is_valid() else {}
    return _silence(request, form, given, "alert_rules")


def _silence(request: HttpRequest, form: SilenceForm, given: dict[str, Any], back: str) -> HttpResponse:
    if not form.is_valid():
        messages.error(request, first_error(form))
        return _back(back)
    end, reason = form.ends_at(timezone.now()), form.cleaned_data["reason"]
    return _attempt(
        request,
        back,
        lambda: f"Silenced {silences.silence(request.user, ends_at=end, reason=reason, **given)}.",
    )


@action(CHANGE)
def end_silence(request: HttpRequest, pk: int) -> HttpResponse:
    """End a silence. One that is over already is no error."""
    if silences.end_silence(pk, request.user):
        messages.success(request, "The silence has ended.")
    return _back("alerts")


@page
def rules(request: HttpRequest) -> HttpResponse:
    """`/alerts/rules/`: rules, channels and silences."""
    context = {
        "rules": rule_settings().values(),
        "channels": reading.channels(),
        "silences": silences.current(timezone.now()),
        "workers": Worker.objects.exclude(state=Worker.State.RETIRED).order_by("name")[:500],
        "kinds": AlertChannel.Kind.choices,
        "severities": reading.SEVERITIES,
        "hours": reading.HOURS,
        "may_act": request.user.has_perm(CHANGE),
    }
    return render(request, "dashboard/alert_rules.html", context)


@action(CHANGE)
def set_rule(request: HttpRequest, kind: str) -> HttpResponse:
    """Change a rule. 404 for an unknown one; wrong values are a message on the page."""
    if kind not in RULES:
        raise Http404
    form = RuleForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"{RULES[kind].title}: {first_error(form)}")
        return _back("alert_rules")
    values = form.values(kind)
    return _attempt(
        request,
        "alert_rules",
        lambda: f"Changed: {RULES[kind].title}." if edit_rule(kind, values, request.user) else "",
    )


@action(CHANGE)
def add_channel(request: HttpRequest) -> HttpResponse:
    """Add a channel. Wrong values are a message on the page."""
    form = ChannelForm(request.POST)
    if not form.is_valid():
        messages.error(request, first_error(form))
        return _back("alert_rules")
    values = form.values(keep_secret=False)
    return _attempt(
        request,
        "alert_rules",
        lambda: f"Added {channel_services.add_channel(values, request.user)}: send it a test.",
    )


@action(CHANGE)
def change_channel(request: HttpRequest, pk: int) -> HttpResponse:
    """Save a channel, test it, switch it on or off, or remove it."""
    channel, actor = get_object_or_404(AlertChannel, pk=pk), request.user
    match request.POST.get("do"):
        case "test":
            return _attempt(request, "alert_rules", lambda: _test(channel, actor))
        case "remove":
            channel_services.remove_channel(channel, actor)
            messages.success(request, f"Removed {channel}.")
        case "switch":
            channel_services.edit_channel(channel, {"enabled": not channel.enabled}, actor)
        case "save":
            return _save(request, channel)
    return _back("alert_rules")


def _test(channel: AlertChannel, actor: Any) -> str:
    channel_services.send_test(channel, actor)
    return f"A test is on its way to {channel}; the result appears beside it."


def _save(request: HttpRequest, channel: AlertChannel) -> HttpResponse:
    form = ChannelForm(request.POST)
    if not form.is_valid():
        messages.error(request, first_error(form))
        return _back("alert_rules")
    values = form.values(keep_secret=True)
    return _attempt(
        request,
        "alert_rules",
        lambda: f"Changed {channel}." if channel_services.edit_channel(channel, values, request.user) else "",
    )


def _attempt(request: HttpRequest, back: str, work: Any) -> HttpResponse:
    """Do it, and show what it returns or why it was refused."""
    try:
        if text := work():
            messages.success(request, text)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return _back(back)


def _back(name: str) -> HttpResponse:
    return HttpResponseRedirect(reverse(f"dashboard:{name}"))
