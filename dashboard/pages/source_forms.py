"""The form of a source. What its values may be, the services decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError

from seederfarm.registry.forms import TagsField
from seederfarm.registry.models import Drive, Source
from seederfarm.registry.urls import without_secrets
from workers import units

from .alert_forms import DurationField

MAX_HEADERS: Final = 20
"""Headers that a source sends. Ours."""
READ_FROM: Final = ("location", "removals_url")
"""Shown without what may be secret; unchanged, they stay as they are."""
CLASSES: Final[dict[type, str]] = {
    forms.Select: "select",
    forms.Textarea: "area mono",
    forms.CheckboxInput: "",
}


class SourceForm(forms.Form):
    """All that can be set of a source."""

    name = forms.CharField(max_length=100)
    kind = forms.ChoiceField(choices=Source.Kind.choices)
    location = forms.CharField(
        label="Where",
        max_length=2000,
        help_text="A URL (HTTP endpoint), a key (Hyperbee), a URL or path (seeds.txt).",
    )
    every = DurationField(
        label="Read every", required=False, max_length=20, help_text="Such as 5m. Empty: as set for all."
    )
    enabled = forms.BooleanField(required=False, initial=True, label="It is read")
    remove_unlisted = forms.BooleanField(
        required=False, initial=True, label="Remove drives that are no longer on it"
    )
    remove_last_copies = forms.BooleanField(
        required=False, label="Remove them also where the farm has the only complete copies known"
    )
    shrink = forms.IntegerField(
        label="Ask a person beyond",
        required=False,
        min_value=1,
        max_value=100,
        help_text="Percent of its keys that may go within a day. Empty: as set for all.",
    )
    label = forms.CharField(required=False, max_length=200, help_text="Of its drives.")
    tags = TagsField(required=False, widget=forms.TextInput(), help_text="Words, with commas between.")
    required_tags = TagsField(label="Only workers with tags", required=False, widget=forms.TextInput())
    key_kind = forms.ChoiceField(label="Kind of its keys", required=False, choices=Drive.Kind.choices)
    replicas_min = forms.IntegerField(label="Copies at least", required=False, min_value=1, max_value=1000)
    replicas_max = forms.IntegerField(label="Copies at most", required=False, min_value=1, max_value=1000)
    priority = forms.IntegerField(min_value=0, max_value=9, initial=5, help_text="0 goes first.")
    removals_url = forms.CharField(
        label="Removals endpoint", required=False, max_length=2000, help_text="A list of keys to remove."
    )
    mapping = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="JMESPath that turns the answer into keys.",
    )
    headers = forms.CharField(
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Sent with each request, one a line: Authorization: Bearer … They are never shown.",
    )
    no_headers = forms.BooleanField(required=False, label="Send no headers any more")

    MAIN: Final = ("name", "kind", "location", "every", "enabled")

    def __init__(self, given: Mapping[str, Any] | None = None, *, source: Source | None = None) -> None:
        self.source = source
        super().__init__(given, initial=None if source is None else _shown(source))
        if source is not None:
            del self.fields["name"]
        if source is None or not source.headers:
            del self.fields["no_headers"]
        for field in self.fields.values():
            field.widget.attrs["class"] = CLASSES.get(type(field.widget), "input")

    @property
    def main(self) -> list[Any]:
        """Fields that each source needs."""
        return [self[name] for name in self.MAIN if name in self.fields]

    @property
    def others(self) -> list[Any]:
        """The other fields."""
        return [self[name] for name in self.fields if name not in self.MAIN]

    def clean_headers(self) -> dict[str, str]:
        """Names and values."""
        lines = [line for line in self.cleaned_data["headers"].splitlines() if line.strip()]
        if len(lines) > MAX_HEADERS:
            raise ValidationError(f"At most {MAX_HEADERS} headers.")
        pairs = [line.partition(":") for line in lines]
        if not all(colon for _, colon, _ in pairs):
            raise ValidationError("A header a line, such as Authorization: Bearer …")
        return {name.strip(): value.strip() for name, _, value in pairs}

    @property
    def values(self) -> dict[str, Any]:
        """Return the values for the services. Secrets that were not entered again are left out."""
        given = dict(self.cleaned_data)
        given.pop("name", None)
        clear = given.pop("no_headers", False)
        if self.source is not None:
            if not given["headers"] and not clear:
                del given["headers"]
            for name in READ_FROM:
                if given[name] == without_secrets(getattr(self.source, name)):
                    del given[name]
        return given

    def refuse(self, error: ValidationError) -> None:
        """Show a service's error at its field."""
        found = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        for name, texts in found.items():
            for text in texts:
                self.add_error(name if name in self.fields else None, text)


def _shown(source: Source) -> dict[str, Any]:
    same = (
        "kind", "enabled", "remove_unlisted", "remove_last_copies", "shrink", "label", "required_tags",
        "key_kind", "replicas_min", "replicas_max", "priority", "mapping",
    )  # fmt: skip
    return {
        **{name: getattr(source, name) for name in same},
        **{name: without_secrets(getattr(source, name)) for name in READ_FROM},
        "every": "" if source.every is None else units.exact_duration(source.every),
        "tags": sorted(source.tags.values_list("name", flat=True)),
    }
