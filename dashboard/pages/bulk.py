"""Actions on many drives of the list: those that are selected, or all that match its filter. A page asks
first."""

from __future__ import annotations

from typing import Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from seederfarm.registry.forms import TagsField
from seederfarm.registry.models import Drive
from seederfarm.registry.services import bulk, seen
from seederfarm.registry.services.bulk import Act

from ..reads import bulk as reading
from ..reads.drives import DriveFilter, chosen
from .access import action

MAX_FILTER: Final = 2000
"""Characters of a list's query that are read."""
MAX_COPIES: Final = 1000


class BulkForm(forms.Form):
    """An action on several drives, and the values that it needs."""

    do = forms.ChoiceField(choices=[(name.value, name.value) for name in Act])
    copies_min = forms.IntegerField(required=False, min_value=1, max_value=MAX_COPIES)
    copies_max = forms.IntegerField(required=False, min_value=1, max_value=MAX_COPIES)
    add_tags = TagsField(required=False, widget=forms.TextInput())
    remove_tags = TagsField(required=False, widget=forms.TextInput())
    words = forms.CharField(required=False, max_length=100)

    def values(self, *, alone: int) -> bulk.Values:
        """Return the values of the action. Raises ValidationError if one is missing, or the words that
        confirm a deletion are wrong."""
        given = self.cleaned_data
        name, written = Act(given["do"]), given["words"].strip().lower()
        if name is Act.COPIES and not (given["copies_min"] and given["copies_max"]):
            raise ValidationError("Write both numbers of copies.")
        if name is Act.REMOVE and written and written != reading.words_for(alone):
            raise ValidationError(
                f"Write “{reading.words_for(alone)}”, or nothing: then last copies are kept."
            )
        return bulk.Values(
            copies=(given["copies_min"] or 0, given["copies_max"] or 0),
            add_tags=given["add_tags"],
            remove_tags=given["remove_tags"],
            force=bool(written) and alone > 0,
        )


@action("registry.change_drive")
def act(request: HttpRequest) -> HttpResponse:
    """Show the question; with `sure`, carry the action out."""
    given = _given(request)
    form = BulkForm(given)
    try:
        if not form.is_valid():
            raise ValidationError([text for texts in form.errors.values() for text in texts])
        name = Act(form.cleaned_data["do"])
        if name is Act.REMOVE and not request.user.has_perm("registry.delete_drive"):
            raise PermissionDenied
        ids = bulk.choose(_selected(request, given))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return _back(request)
    asked = reading.question(name, ids, timezone.now())
    if given.get("sure") != asked.digest:
        return _ask(request, given, form, asked)
    try:
        text = bulk.act(asked.act, ids, form.values(alone=asked.alone), request.user)
    except ValidationError as error:
        return _ask(request, given, form, asked, " ".join(error.messages))
    messages.success(request, text)
    return _back(request)


def _given(request: HttpRequest) -> QueryDict:
    """Return what was sent. From the menu of a row, `one` has the action and the drive, and what is selected
    elsewhere is not meant."""
    name, _, pk = request.POST.get("one", "").partition(":")
    if not pk:
        return request.POST
    given = request.POST.copy()
    given["do"] = name
    given.setlist("id", [pk])
    given.pop("all", None)
    return given


def _ask(
    request: HttpRequest, given: QueryDict, form: BulkForm, asked: reading.Question, error: str = ""
) -> HttpResponse:
    changed = "sure" in given and not error
    context = {
        "asked": asked,
        "form": form,
        "error": "The drives have changed meanwhile: look again." if changed else error,
        "ids": [] if given.get("all") else given.getlist("id")[: bulk.MAX_DRIVES],
        "all": given.get("all", ""),
        "filter": given.get("filter", "")[:MAX_FILTER],
        "back": _address(request),
    }
    return render(request, "dashboard/bulk.html", context)


def _selected(request: HttpRequest, given: QueryDict) -> QuerySet[Drive]:
    if given.get("all"):
        query = QueryDict(given.get("filter", "")[:MAX_FILTER])
        return chosen(DriveFilter.read(query), seen.of(request.user))
    texts = [text for text in given.getlist("id") if text.isascii() and text.isdigit() and len(text) < 20]
    ids = map(int, texts)
    return Drive.objects.filter(pk__in=[pk for pk in ids if pk < 1 << 63][: bulk.MAX_DRIVES])


def _back(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(_address(request))


def _address(request: HttpRequest) -> str:
    query = QueryDict(request.POST.get("filter", "")[:MAX_FILTER]).urlencode()
    here: str = reverse("dashboard:drives")
    return f"{here}?{query}" if query else here
