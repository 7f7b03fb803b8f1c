"""The page of one drive: verdict, copies, events, actions."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry import services
from seederfarm.registry.models import Drive
from seederfarm.registry.services import seen
from seederfarm.registry.services.edits import edit_drive
from seederfarm.registry.services.watching import watch

from ..reads import drive as reading
from ..reads.demand import demand_of
from ..reads.peers import peers_of
from .access import action, canonical, page


@page
@canonical
def drive(request: HttpRequest, key: str) -> HttpResponse:
    """The page of a drive; `key` is hex. 404 if it is not registered."""
    now = timezone.now()
    watch([key], now)
    found = get_object_or_404(Drive, key=key)
    if seen.of(request.user).is_new(found.pk):
        seen.mark(request.user, [found.pk])
    may_act = request.user.has_perm("registry.change_drive")
    context = {
        "peers": peers_of(found, now),
        "demand": demand_of(found, now),
        "seen": reading.one(found, now),
        "drive": found,
        "may_act": may_act,
    }
    return render(request, "dashboard/drive.html", context)


@page
@canonical
def inner(request: HttpRequest, key: str) -> HttpResponse:
    """The row below that of a drive in the list: its peers and files. 404 if it is not registered."""
    now = timezone.now()
    watch([key], now)
    found = get_object_or_404(Drive, key=key)
    context = {"peers": peers_of(found, now), "drive": found}
    response = render(request, "dashboard/_drives_inner.html", context)
    response.headers["X-Fragment"] = "1"
    return response


@action("registry.change_drive")
def act(request: HttpRequest, key: str) -> HttpResponse:
    """Prove now, pause, resume, share and unshare its public page."""
    found = get_object_or_404(Drive, key=key)
    match request.POST.get("do"):
        case "prove":
            _prove(request, found)
        case "pause" if services.pause([found], request.user):
            messages.success(request, "Paused: its copies stay where they are, and none is made or moved.")
        case "resume" if services.resume([found], request.user):
            messages.success(request, "Resumed.")
        case "share" if edit_drive(found, {"public": True}, request.user):
            messages.success(request, "Anyone with its key sees its public page and its files now.")
        case "unshare" if edit_drive(found, {"public": False}, request.user):
            messages.success(request, "Its page is private again; caches may keep it for a minute.")
        case _:
            messages.info(request, "Nothing changed.")
    return HttpResponseRedirect(reverse("dashboard:drive", kwargs={"key": key}))


def _prove(request: HttpRequest, drive: Drive) -> None:
    done = services.reverify([drive], request.user)
    (messages.success if done.copies else messages.info)(request, done.sentence)
