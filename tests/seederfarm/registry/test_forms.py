"""Forms that belong to no single model."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from seederfarm.registry.forms import MAX_PASTED, AmountField, KeyListForm, SizeField


def test_pasted_lines_come_before_those_of_the_file() -> None:
    file = SimpleUploadedFile("seeds.txt", "\ufeffc\nd\n".encode())
    form = KeyListForm({"keys": "\ufeffa\nb"}, {"file": file})
    assert form.is_valid()
    assert form.texts == ["a", "b", "c", "d"]


def test_pasted_keys_have_a_bound() -> None:
    assert KeyListForm({"keys": "a" * MAX_PASTED}).is_valid()
    assert "keys" in KeyListForm({"keys": "a" * (MAX_PASTED + 1)}).errors


def test_a_field_of_amounts_must_say_how_they_are_written() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AmountField()  # type: ignore[abstract]
    assert SizeField().clean("20 MiB") == 20 * 2**20
