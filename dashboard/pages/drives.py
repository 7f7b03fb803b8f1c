"""The list of drives, adding to it, and every copy."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry import services
from seederfarm.registry.health_states import WORST_FIRST
from seederfarm.registry.models import Drive, Source, Tag, Worker
from seederfarm.registry.roles import VIEW
from seederfarm.registry.services import seen
from seederfarm.registry.services.log import count_of
from seederfarm.registry.services.preview import preview

from ..reads import copies as copies_of
from ..reads import drives as listing
from ..reads.adding import Added, summary
from ..reads.looks import HEALTH
from ..reads.paging import first_pages
from .access import action, back_to, form_page, page
from .forms import AddDrivesForm

MAX_TYPED = 200_000
"""Characters that are previewed while they are typed, some 3,000 keys: longer lists have a button. Ours."""
CHOICES = 500
"""Tags, workers and sources that a filter offers."""


@page
def drives(request: HttpRequest) -> HttpResponse:
    """`/drives/`: the list, filtered and sorted by its address."""
    given = listing.DriveFilter.read(request.GET)
    context = {
        "list": listing.listed(given, seen.of(request.user)),
        "may_act": request.user.has_perm("registry.change_drive"),
        "may_remove": request.user.has_perm("registry.delete_drive"),
        "given": given,
        "looks": [(health, HEALTH[health]) for health in WORST_FIRST],
        "kinds": Drive.Kind.choices[1:],
        "tags": Tag.objects.values_list("name", flat=True)[:CHOICES],
        "workers": Worker.objects.values_list("name", flat=True)[:CHOICES],
        "sources": Source.objects.values_list("name", flat=True)[:CHOICES],
    }
    return render(request, "dashboard/drives.html", context)


@action(VIEW)
def mark(request: HttpRequest) -> HttpResponse:
    """Mark one drive, or all, as seen by the user."""
    one = request.POST.get("seen", "")
    if one.isascii() and one.isdigit() and len(one) < 18:
        seen.mark(request.user, [int(one)])
    elif one == "all":
        seen.mark_all(request.user)
    return HttpResponseRedirect(back_to(request, reverse("dashboard:drives")))


@form_page("registry.add_drive")
def add(request: HttpRequest) -> HttpResponse:
    """`/drives/add/`: preview and add keys. Lines that cannot be read stay in the box."""
    form = AddDrivesForm(
        request.POST or None, request.FILES or None, initial={"keys": request.GET.get("keys", "")}
    )
    shown = None
    if request.method == "POST" and form.is_valid():
        if "preview" not in request.POST:
            added = _add(request, form)
            if not added.wrong:
                return HttpResponseRedirect(added.href)
            form = form.again(added.wrong)
        shown = summary(preview(form.texts))
    return render(request, "dashboard/add.html", {"form": form, "seen": shown})


@action("registry.add_drive")
def preview_keys(request: HttpRequest) -> HttpResponse:
    """Return the preview of the text in the box as parts of the page, while a person types."""
    text = request.POST.get("keys", "")
    shown = summary(preview(text.splitlines())) if text.strip() and len(text) <= MAX_TYPED else None
    response = render(request, "dashboard/_add_preview.html", {"seen": shown})
    response.headers["Cache-Control"] = "no-store"
    return response


def _add(request: HttpRequest, form: AddDrivesForm) -> Added:
    result = services.add_keys(form.texts, actor=request.user, **form.values)
    if result.added:
        messages.success(request, f"Added {count_of(len(result.added), 'drive')}.")
    if result.existing:
        messages.info(request, f"{count_of(len(result.existing), 'drive')} here already, unchanged.")
    here = [*result.added, *result.existing]
    only = reverse("dashboard:drive", kwargs={"key": here[0].key}) if len(here) == 1 else ""
    return Added(only or reverse("dashboard:drives") + "?sort=-added", [bad.text for bad in result.malformed])


@page
def copies(request: HttpRequest) -> HttpResponse:
    """`/drives/copies/`: copies of all drives, by state and worker."""
    given = copies_of.CopyFilter.read(request.GET)
    pages = first_pages(copies_of.listed(given), copies_of.ROWS)
    shown = pages.get_page(request.GET.get("page"))
    context = {
        "given": given,
        "page": shown,
        "pages": list(pages.get_elided_page_range(shown.number, on_each_side=1, on_ends=1)),
        "rows": copies_of.rows(shown.object_list, timezone.now()),
        "states": copies_of.STATES,
        "workers": Worker.objects.values_list("name", flat=True)[:CHOICES],
    }
    return render(request, "dashboard/copies.html", context)
