"""The list of sources; adding, changing and removing one."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry.models import Event, Source
from seederfarm.registry.services.edits import add_source, edit_source, read_soon, remove_source
from seederfarm.registry.services.log import count_of
from seederfarm.registry.services.sources import accept_removals

from ..reads import sources as reading
from ..reads.farm import events
from .access import action, form_page, page
from .source_forms import SourceForm

EVENTS = 15


@page
def sources(request: HttpRequest) -> HttpResponse:
    """`/sources/`: all sources, and their recent changes."""
    changes = events(Event.objects.filter(kind__startswith="source."), EVENTS)
    context = {
        "seen": reading.listed(timezone.now()),
        "events": changes,
        "may_change": request.user.has_perm("registry.change_source"),
    }
    return render(request, "dashboard/sources.html", context)


@form_page("registry.add_source")
def add(request: HttpRequest) -> HttpResponse:
    """A form for a new source."""
    form = SourceForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            source = add_source(form.cleaned_data["name"], form.values, request.user)
        except ValidationError as error:
            form.refuse(error)
        else:
            messages.success(request, f"Added {source}: it is read within seconds.")
            return _back()
    return render(request, "dashboard/source.html", {"form": form, "source": None})


@form_page("registry.change_source")
def change(request: HttpRequest, pk: int) -> HttpResponse:
    """The form of a source."""
    source = get_object_or_404(Source, pk=pk)
    form = SourceForm(request.POST or None, source=source)
    if request.method == "POST" and form.is_valid():
        try:
            changed = edit_source(source, form.values, request.user)
        except ValidationError as error:
            form.refuse(error)
        else:
            messages.success(request, f"Changed {source}." if changed else "Nothing changed.")
            return _back()
    return render(request, "dashboard/source.html", {"form": form, "source": source})


@action("registry.change_source")
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Read it now, accept removals that are held."""
    source = get_object_or_404(Source, pk=pk)
    if request.POST.get("do") == "read":
        done = read_soon(source, request.user)
        messages.info(request, f"{source} is read within seconds." if done else f"{source} is switched off.")
    elif request.POST.get("do") == "accept":
        result = accept_removals(source.pk, request.user)
        kept = f"; {result.kept:,} kept: the farm has the only complete copies" if result.kept else ""
        messages.success(request, f"{count_of(result.removed, 'drive')} will be removed{kept}.")
    return _back()


@action("registry.delete_source")
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a source; its drives stay."""
    source = get_object_or_404(Source, pk=pk)
    if request.POST.get("name", "").strip() != source.name:
        messages.error(request, "Type the name of the source to remove it.")
        return HttpResponseRedirect(reverse("dashboard:change_source", args=[pk]))
    remove_source(source, request.user)
    messages.success(request, f"Removed {source}; its drives stay.")
    return _back()


def _back() -> HttpResponse:
    return HttpResponseRedirect(reverse("dashboard:sources"))
