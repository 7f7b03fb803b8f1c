"""Fields and forms that belong to no single model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from workers import units

from .models import Source
from .models.fields import clean_tags

MAX_UPLOAD: Final = 64 * 1024 * 1024
"""Bytes of a seeds.txt, some 900,000 keys."""
MAX_PASTED: Final = 16 << 20
"""Characters of pasted keys, some 250,000. Ours."""


class TagsField(forms.CharField):
    """Words with commas between them, as a list."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget())
        super().__init__(**kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        return clean_tags([word for part in text.split(",") for word in [part.strip()] if word])

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(list(initial or []) != self.to_python(data))
        except ValidationError:
            return True


class AmountField(forms.CharField, ABC):
    """An amount as people write it (`workers.units`). Nothing is None."""

    example = ""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", UnfoldAdminTextInputWidget(attrs={"placeholder": self.example}))
        super().__init__(**kwargs)

    @abstractmethod
    def parse(self, text: str) -> float | int | None:
        """Parse a text. Raises ValueError with what was expected."""

    @abstractmethod
    def show(self, value: int) -> str:
        """Format a value as `parse` reads it."""

    def prepare_value(self, value: Any) -> Any:
        return self.show(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return self.parse(text)
        except ValueError as error:
            raise ValidationError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.to_python(data))
        except ValidationError:
            return True


class SizeField(AmountField):
    """Bytes: `500 GB`, `64MiB`, `1000`."""

    example = "such as 500 GB or 20 MiB"

    def parse(self, text: str) -> int:
        return units.parse_size(text)

    def show(self, value: int) -> str:
        return units.exact_size(value)


class RateField(AmountField):
    """Bytes a second: `2 MB`, `2M/s`; `none` is None: no limit."""

    example = "such as 2 MB/s"

    def parse(self, text: str) -> int | None:
        return units.parse_rate(text)

    def show(self, value: int) -> str:
        return f"{units.exact_size(value)}/s"


class SecondsField(AmountField):
    """Whole seconds, from a duration: `5m`, `1h`."""

    example = "such as 5m or 1h"

    def parse(self, text: str) -> int:
        seconds = units.parse_duration(text)
        if seconds != int(seconds):
            raise ValueError("expected whole seconds")
        return int(seconds)

    def show(self, value: int) -> str:
        return units.exact_duration(value)


if TYPE_CHECKING:
    _SourceModelForm = forms.ModelForm[Source]
else:
    _SourceModelForm = forms.ModelForm


class SourceForm(_SourceModelForm):
    """A source. Only superusers (`may_read_files`) may set one that reads a file of this machine."""

    may_read_files = False
    every = SecondsField(
        label="Interval", required=False, help_text="How often it is read, 5s or more. Empty: as set for all."
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        location = str(cleaned.get("location", ""))
        made = Source(kind=cleaned.get("kind", ""), location=location)
        is_new = made.reads_file and {"kind", "location"} & set(self.changed_data)
        if is_new and not self.may_read_files:
            text = "Only superusers may add a source that reads a file; a seeds.txt may also be at a URL."
            self.add_error("location", text)
        return cleaned


class ReplicasForm(forms.Form):
    """Minimum and maximum number of copies."""

    replicas_min = forms.IntegerField(
        label="Copies at least",
        min_value=1,
        max_value=1000,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="The farm repairs when there are fewer.",
    )
    replicas_max = forms.IntegerField(
        label="Copies at most",
        min_value=1,
        max_value=1000,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="As many are placed where there is room.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        minimum, maximum = cleaned.get("replicas_min"), cleaned.get("replicas_max")
        if minimum is not None and maximum is not None and maximum < minimum:
            self.add_error("replicas_max", "The maximum must not be below the minimum.")
        return cleaned

    @property
    def replicas(self) -> tuple[int, int]:
        """Minimum and maximum."""
        return self.cleaned_data["replicas_min"], self.cleaned_data["replicas_max"]


class RemoveForm(forms.Form):
    """Confirms the removal of drives."""

    force = forms.BooleanField(
        label="Also delete the last complete copies",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Without this, drives of which the farm has the only complete copies known stay.",
    )


class KeyListForm(forms.Form):
    """Many keys at once, pasted or from a file."""

    keys = forms.CharField(required=False, strip=False, max_length=MAX_PASTED)
    file = forms.FileField(required=False)

    def clean_file(self) -> str:
        """The text of the file."""
        file = self.cleaned_data["file"]
        if file is None:
            return ""
        if (file.size or 0) > MAX_UPLOAD:
            raise ValidationError(f"Larger than {MAX_UPLOAD >> 20} MiB: is it a list of keys?")
        try:
            return str(file.read(), "utf-8")
        except UnicodeDecodeError:
            raise ValidationError("Not text (UTF-8): is it a list of keys?") from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not (cleaned.get("keys") or "").strip() and not cleaned.get("file"):
            self.add_error("keys", "Paste a key, or choose a file.")
        return cleaned

    @property
    def texts(self) -> list[str]:
        """All lines: the pasted ones, then those of the file."""
        pasted, file = self.cleaned_data["keys"], self.cleaned_data["file"]
        return [*pasted.removeprefix("\ufeff").splitlines(), *file.removeprefix("\ufeff").splitlines()]


class AddKeysForm(KeyListForm, ReplicasForm):
    """Keys, and what is wanted of them."""

    keys = forms.CharField(
        label="Keys",
        required=False,
        strip=False,
        max_length=MAX_PASTED,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "autofocus": True, "spellcheck": "false"}),
        help_text="One a line: 64 hex digits, 52 z-base-32 characters, or a hyper:// or pear:// link. "
        "A line may begin with core, bee or drive; # begins a comment.",
    )
    file = forms.FileField(
        label="Or a seeds.txt",
        required=False,
        widget=UnfoldAdminFileFieldWidget(),
        help_text="The same, as a file.",
    )
    kind = forms.ChoiceField(
        label="Kind",
        required=False,
        choices=[("", "seen from the content"), ("core", "core"), ("bee", "bee"), ("drive", "drive")],
        widget=UnfoldAdminSelectWidget(),
        help_text="For lines that name none.",
    )
    label = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget(), help_text="What you call them."
    )
    tags = TagsField(required=False, help_text="Words to find them by, with commas between.")
    required_tags = TagsField(
        label="Only workers with tags", required=False, help_text="Placed only where all of these are."
    )
    priority = forms.IntegerField(
        min_value=0,
        max_value=9,
        initial=5,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="0 goes first where there is not room for all.",
    )
    field_order = (
        "keys", "file", "replicas_min", "replicas_max", "label", "tags", "kind", "required_tags", "priority",
    )  # fmt: skip
