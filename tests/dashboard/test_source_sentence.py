"""The sentence about sources."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from dashboard.reads.sources import listed
from seederfarm.registry.models import Source

pytestmark = pytest.mark.django_db


def a_source(name: str, **values: object) -> None:
    Source.objects.create(name=name, location=f"https://{name}.example/keys.json", **values)


def test_sources_that_are_off_or_were_not_read_yet_do_not_count_as_read() -> None:
    now = timezone.now()
    a_source("museum", last_success_at=now)
    assert listed(now).sentence.title == "The source is read"
    a_source("friends", enabled=False)
    a_source("new")
    seen = listed(now).sentence
    assert seen.title == "1 of 3 sources is read"
    assert seen.text.startswith("The others are switched off or were not read yet")
    a_source("archive", failures=3, last_success_at=now - timedelta(hours=5))
    assert listed(now).sentence.title == "1 of 4 sources is read; archive fails"
