from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.urls import reverse

from benchmarks.pages import API_LISTS, DRIVE_LISTS, PLAIN
from dashboard.reads.drives import SORTS
from dashboard.urls import urlpatterns

from ..support.paths import ROOT

NO_PAGES = {
    "acknowledge", "act", "act_on_source", "act_on_worker", "add_channel", "add_silence", "badge", "bulk",
    "change_channel", "end_silence", "files", "flower", "inner", "live", "login", "logout", "mark_seen",
    "metrics", "preview", "preview_keys", "public", "public_json", "remove_source", "set_rule", "silence",
    "theme", "worker_charts", "zip",
}  # fmt: skip
"""Names of addresses that change something, have bytes of files, or are for visitors and scripts."""


@pytest.mark.usefixtures("postgres_server")  # there is PostgreSQL, or the test is skipped
def test_every_page_and_list_is_asked_in_a_farm_of_every_state() -> None:
    options = ["--drives", "60", "--workers", "5", "--rounds", "1"]
    command = [sys.executable, "-m", "benchmarks", "pages", *options]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    asked = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("/")]
    assert asked[0] == "/" and len(asked) > len(DRIVE_LISTS) + len(API_LISTS)
    assert sum(line.startswith("/api/v1/") for line in asked) > len(API_LISTS)


def test_every_page_is_among_them() -> None:
    named = {pattern.name for pattern in urlpatterns if getattr(pattern, "name", None)}
    one_of_many = {"change_source", "drive", "drives", "worker"}
    assert named - NO_PAGES == set(PLAIN) | one_of_many, "add it to benchmarks/pages.py"
    assert all(reverse(f"dashboard:{name}") for name in PLAIN)


def test_every_order_of_the_list_is_among_them() -> None:
    asked = {part.removeprefix("sort=").removeprefix("-") for part in "&".join(DRIVE_LISTS).split("&")}
    assert set(SORTS) <= asked
