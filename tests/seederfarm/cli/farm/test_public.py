"""`public`: gives drives a page that anyone may see, and takes it back."""

from __future__ import annotations

import re
from pathlib import Path

from ....support.farm_home import OneProcessHome
from ...registry.factories import key_of


def test_drives_are_made_public_and_private_again(tmp_path: Path) -> None:
    home = OneProcessHome(tmp_path / "home")
    try:
        home.lines("init")
        key, other = key_of("one"), key_of("two")
        home.lines("add", key, other)
        assert [line["changed"] for line in home.lines("public", key)] == [True]
        again = home.lines("public", key, other)
        assert [(line["key"], line["public"], line["changed"]) for line in again] == [
            (key, True, False),
            (other, True, True),
        ]
        shown = home.run("public", key)
        assert "0 drives made public" in shown.stdout
        assert re.search(r"^http://127\.0\.0\.1:\d+/p/[a-z0-9]{52}/$", shown.stdout, re.MULTILINE)
        assert again[0]["url"] in shown.stdout
        assert home.lines("public", key, "--off")[0] == {
            "key": key, "public": False, "changed": True, "url": None,
        }  # fmt: skip
        unknown = home.run("public", key_of("three"))
        assert unknown.returncode == 1 and "`seederfarm add KEY` adds it" in unknown.stderr
    finally:
        home.dispose()
