"""The form that adds drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.conf import settings

from seederfarm.registry.forms import KeyListForm, TagsField

COPIES: Final = {
    "1": (1, 1, "1 copy", "lost if that machine is"),
    "2": (2, 3, "2 to 3 copies", "2 always, 3 where there is room"),
    "3": (3, 5, "3 to 5 copies", "for what is irreplaceable"),
    "": (0, 0, "As set for the farm", ""),
}
"""Copies at least, at most, words."""


class AddDrivesForm(KeyListForm):
    """Keys to register, and how they are kept."""

    copies = forms.ChoiceField(required=False, choices=[(name, "") for name in COPIES])
    label = forms.CharField(required=False, max_length=200)
    kind = forms.ChoiceField(required=False, choices=[(name, name) for name in ("", "core", "bee", "drive")])
    tags = TagsField(required=False, widget=forms.TextInput())
    required_tags = TagsField(required=False, widget=forms.TextInput())
    priority = forms.IntegerField(required=False, min_value=0, max_value=9)

    @property
    def values(self) -> dict[str, Any]:
        """Return the arguments of `services.add_keys` beside the lines and the actor."""
        given = self.cleaned_data
        min_copies, max_copies, *_ = COPIES[given["copies"]]
        return {
            "kind": given["kind"],
            "label": given["label"],
            "tags": given["tags"],
            "required_tags": given["required_tags"],
            "replicas": (min_copies, max_copies) if min_copies else None,
            "priority": 5 if given["priority"] is None else given["priority"],
        }

    def again(self, lines: Sequence[str]) -> AddDrivesForm:
        """Return the form with only these lines in the box."""
        given = {name: self.data.get(name) for name in self.fields}
        form = AddDrivesForm({**given, "keys": "\n".join(lines)})
        form.is_valid()
        return form

    def choices_of_copies(self) -> list[tuple[str, str, str, bool]]:
        """Choices of the number of copies: name, text, note, whether it is chosen."""
        minimum, maximum = settings.FARM.replicas
        span = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
        chosen = str(self["copies"].value() or "")
        return [
            (name, text, note or f"{span} of each", name == chosen)
            for name, (_, _, text, note) in COPIES.items()
        ]
