"""`alerts`: listed, taken, silenced; rules and channels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ....support.farm_home import FarmHome, OneProcessHome

KEY = "ab" * 32


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmHome]:
    made = OneProcessHome(tmp_path_factory.mktemp("farm") / "home")
    made.lines("init")
    made.lines("add", KEY, "--label", "tides", "--tag", "sound")
    try:
        yield made
    finally:
        made.dispose()


def test_an_empty_farm_needs_no_user(home: FarmHome) -> None:
    assert "Nothing needs you." in home.run("alerts").stdout
    assert home.lines("alerts", "list", "--state", "over") == []
    done = home.run("alerts", "ack", "7")
    assert done.returncode == 2 and "no alert has the number 7" in done.stderr


def test_silences_are_made_listed_and_ended(home: FarmHome) -> None:
    (made,) = home.lines("alerts", "silence", "--drive", KEY, "--for", "4h", "--reason", "moving it")
    home.lines("alerts", "silence", "--tag", "sound", "--rule", "drive.short", "--for", "1d")
    first, second = home.lines("alerts", "silences")
    assert (first["about"], first["reason"], first["by"]) == ("tides", "moving it", "cli")
    assert second["about"] == "Copies below the minimum, tag sound"
    assert home.run("alerts", "silences", "--end", str(made["silence"])).returncode == 0
    assert len(home.lines("alerts", "silences")) == 1
    for wrong in (["--for", "1h"], ["--rule", "no.such", "--for", "1h"], ["--tag", "none", "--for", "1h"]):
        assert home.run("alerts", "silence", *wrong).returncode == 2
    assert home.run("alerts", "silences", "--end", "999").returncode == 2


def test_rules_are_listed_and_changed(home: FarmHome) -> None:
    assert "worker.disk_forecast" in home.run("alerts", "rules").stdout
    home.lines("alerts", "rules", "worker.disk_forecast", "--threshold", "14", "--opens-after", "2h", "--off")
    (rule,) = home.lines("alerts", "rules", "worker.disk_forecast")
    assert (rule["threshold"], rule["opens_after"], rule["enabled"]) == (14, 7200, False)
    for wrong in (["no.such"], ["worker.lost", "--threshold", "3"], ["--on"], ["drive.forked", "--off"]):
        assert home.run("alerts", "rules", *wrong).returncode == 2, wrong


def test_channels_are_added_tried_and_removed_and_secrets_are_not_shown(
    home: FarmHome, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret-of-the-hook\n")
    url = "https://me:pass@chat.example/hook"
    home.lines("alerts", "channels", "add", "hook", "webhook", url, "--secret-file", str(secret))
    listed = home.run("alerts", "channels", "--json").stdout
    assert "hook" in listed and "s3cret" not in listed and "pass" not in listed
    home.lines("alerts", "rules", "drive.short", "--channel", "hook")
    assert home.lines("alerts", "rules", "drive.short")[0]["channels"]
    assert home.lines("alerts", "test", "hook") == [{"channel": "hook", "waiting": True}]
    assert home.run("alerts", "test", "none").returncode == 2
    assert home.run("alerts", "channels", "add", "x", "email", "nobody").returncode == 2
    home.lines("alerts", "channels", "remove", "hook")
    assert "No channels" in home.run("alerts", "channels").stdout
