"""What `status` says in numbers."""

from __future__ import annotations

import pytest
from django.utils import timezone

from seederfarm.cli.farm import status
from seederfarm.cli.farm.counts import counts
from seederfarm.registry.models import Worker


@pytest.mark.usefixtures("database")
def test_no_worker_of_a_farm_that_does_not_run_is_online() -> None:
    assert status._in_numbers(counts(), running=False).endswith(", 0 workers")
    Worker.objects.create(node_id="y" * 52, name="pi", state="active", last_seen_at=timezone.now())
    assert status._in_numbers(counts(), running=True).endswith(", 1 of 1 worker online")
    assert status._in_numbers(counts(), running=False).endswith(", 1 worker, last heard just now")
