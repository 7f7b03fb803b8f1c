"""`tokens`: made, listed, revoked; the secret is printed once and stored nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ....support.farm_home import FarmHome, OneProcessHome


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmHome]:
    made = OneProcessHome(tmp_path_factory.mktemp("farm") / "home")
    made.lines("init")
    try:
        yield made
    finally:
        made.dispose()


def test_a_token_is_printed_once_and_alone_on_stdout(home: FarmHome) -> None:
    done = home.run("tokens", "add", "script")
    secret = done.stdout.strip()
    assert done.returncode == 0 and secret.startswith("sft_") and done.stdout == f"{secret}\n"
    assert "Shown once" in done.stderr and secret not in done.stderr
    listed = home.run("tokens", "--json")
    assert "script" in listed.stdout and secret not in listed.stdout
    stored = b"".join(path.read_bytes() for path in home.home.rglob("*") if path.is_file())
    assert secret.encode() not in stored


def test_scopes_and_an_end_are_kept(home: FarmHome) -> None:
    (made,) = home.lines("tokens", "add", "ci", "--scope", "drives", "--scope", "read", "--expires", "30d")
    assert (made["scopes"], made["user"]) == (["drives", "read"], "admin")
    (listed,) = [line for line in home.lines("tokens", "list") if line["name"] == "ci"]
    assert listed["state"].startswith("valid, ends in ") and listed["used_at"] is None
    assert home.run("tokens").returncode == 0


def test_a_token_is_revoked_by_name_or_by_its_beginning(home: FarmHome) -> None:
    first = home.lines("tokens", "add", "twice")[0]
    home.lines("tokens", "add", "twice")
    done = home.run("tokens", "revoke", "twice")
    assert done.returncode == 2 and "several tokens" in done.stderr
    assert home.run("tokens", "revoke", first["begins"]).returncode == 0
    assert home.run("tokens", "revoke", "twice").returncode == 0
    states = [line["state"] for line in home.lines("tokens", "list") if line["name"] == "twice"]
    assert states == ["revoked", "revoked"]
    assert home.run("tokens", "revoke", "twice").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x", "--user", "nobody"], "no active user is called"),
        ([" "], "1 to 100 characters"),
        (["x", "--scope", "everything"], "everything"),
    ],
)
def test_what_makes_no_token_says_why(home: FarmHome, arguments: list[str], complaint: str) -> None:
    done = home.run("tokens", "add", *arguments)
    assert done.returncode == 2 and complaint in done.stderr
    assert done.stdout == ""
