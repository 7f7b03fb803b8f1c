"""The migrations of the farm's apps."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command


@pytest.mark.usefixtures("database")
def test_the_migrations_make_what_the_models_describe() -> None:
    out = io.StringIO()
    try:
        call_command("makemigrations", "--check", "--dry-run", stdout=out)
    except SystemExit:
        pytest.fail(f"a model and its migration differ:\n{out.getvalue()}")
