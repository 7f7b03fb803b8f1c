"""Names that a peer chose, on terminals, in pipes and in JSON: seen, never obeyed, never mistaken."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypercore import KeyPair, writable_drive
from hypercore.core import disk_store
from hypercore.printable import json_text, quoted, visible
from seederfarm.cli.common.logs import set_up

from ....support import seed_process as commands

HOSTILE = {
    "/line\nbreak": r"$'/line\nbreak'",
    "/carriage\rreturn": r"$'/carriage\rreturn'",
    "/clip\x1b]52;c;aGk=\x07": r"$'/clip\e]52;c;aGk=\a'",
    "/c1\x9b2J": r"$'/c1\u009b2J'",
    "/del\x7f": r"$'/del\x7f'",
    "/nul-like\x01": r"$'/nul-like\x01'",
    "/photo\u202egpj.exe": r"$'/photo\u202egpj.exe'",
    "/isolate\u2066x\u2069": r"$'/isolate\u2066x\u2069'",
    "/para\u2029graph": r"$'/para\u2029graph'",
    "/bom\ufeff": r"$'/bom\ufeff'",
}
HARMLESS = [
    "/é ☃ 日本語",
    "/it's",
    "/a → b",
    "/family 👨\u200d👩\u200d👧",
    "/می\u200cخواهم",
    "/with $dollar'",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data directory, and the key of the drive in it."""
    data = tmp_path_factory.mktemp("names") / "data"
    with disk_store(data) as store:
        drive = writable_drive(store, KeyPair.from_seed(bytes(32)))
        with drive.writer.batch() as batch:
            for name in [*HOSTILE, *HARMLESS]:
                batch.put(name, b"x")
            batch.symlink("/zz-link", "/etc/\x1b[2J\npasswd")
            batch.symlink("/zz-link → /elsewhere", "x")
            batch.symlink("/zz-out\x1b]0;title\x07", "../../../../etc/passwd")
        return data, drive.key.hex()


def run(place: tuple[Path, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    data, _ = place
    return commands.run(*arguments, "--data", str(data), "--timeout", "5")


def test_ls_shows_one_entry_a_line_and_nothing_that_a_terminal_obeys(place: tuple[Path, str]) -> None:
    listed = run(place, "ls", place[1]).stdout.decode()
    lines = listed.splitlines()
    assert len(lines) == len(HOSTILE) + len(HARMLESS) + 3
    assert set(lines) >= set(HOSTILE.values()) | set(HARMLESS)
    assert visible(listed.replace("\n", "")) == listed.replace("\n", "")


def test_a_shell_reads_a_quoted_name_back(place: tuple[Path, str]) -> None:
    for name, shown in HOSTILE.items():
        read = subprocess.run(
            ["bash", "-c", f"printf %s {shown}"], env={"LC_ALL": "C.UTF-8"}, capture_output=True, check=True
        )
        assert read.stdout.decode() == name


def test_targets_of_links_are_quoted_and_distinct_from_names(place: tuple[Path, str]) -> None:
    lines = run(place, "ls", "-l", place[1]).stdout.decode().splitlines()
    links = [line.split(maxsplit=1)[1] for line in lines if line.lstrip().startswith("link")]
    assert links[:2] == [r"/zz-link → $'/etc/\e[2J\npasswd'", "$'/zz-link → /elsewhere' → x"]


def test_json_escapes_what_a_terminal_would_obey(place: tuple[Path, str]) -> None:
    printed = run(place, "ls", "--json", place[1]).stdout.decode()
    lines = printed.splitlines()
    found = [json.loads(line) for line in lines]
    assert {entry["path"] for entry in found} >= set(HOSTILE) | set(HARMLESS)
    assert "é ☃ 日本語" in printed
    assert all(visible(line) == line for line in printed.split("\n"))


def test_errors_of_get_and_cat_show_names(place: tuple[Path, str], tmp_path: Path) -> None:
    got = run(place, "get", place[1], "-o", str(tmp_path / "out"))
    assert got.returncode == 1
    expected = got.stderr.decode()
    assert r"left out $'/line\nbreak'" not in expected, "a file system takes it"
    assert r"left out $'/zz-out\e]0;title\a':" in expected and "\x1b" not in expected
    missing = run(place, "cat", place[1], "/no\x1b[2J\nsuch")
    assert missing.stderr.decode() == "seederfarm: no file $'/no\\e[2J\\nsuch' in the drive\n"


def test_what_the_encoding_lacks_is_escaped_and_stays_distinct() -> None:
    assert quoted("/é", encoding="ascii") == r"$'/\u00e9'"
    assert quoted(r"/\u00e9", encoding="ascii") == r"/\u00e9"
    assert quoted("/é☃", encoding="latin-1") == r"$'/é\u2603'"


def test_a_log_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(logging.WARNING)
    try:
        raise ValueError("forged\x1b[2J\nERROR all is lost")
    except ValueError:
        logging.getLogger("workers").exception("peer said %s", "hi\n12:00:00 ERROR forged\x9b2J")
    reported = capsys.readouterr().err
    assert r"peer said hi\n12:00:00 ERROR forged\u009b2J" in reported
    assert "\x1b" not in reported and "\x9b" not in reported
    assert "Traceback" in reported and "\n  File " in reported


names = st.one_of(st.text(), st.binary()).map(
    lambda name: name if isinstance(name, bytes) else name.encode("utf-8", "surrogatepass")
)


@given(first=names, second=names, encoding=st.sampled_from(["utf-8", "ascii", "iso-8859-15"]))
@example(first=b"a\nb", second=rb"a\nb", encoding="utf-8")
@example(first=b"\xff", second=rb"$'\xff'", encoding="utf-8")
@example(first="\x85".encode(), second=b"\x85", encoding="utf-8")
@example(first="é".encode(), second=rb"$'\u00e9'", encoding="ascii")
def test_two_names_never_print_alike(first: bytes, second: bytes, encoding: str) -> None:
    shown = quoted(first, encoding=encoding)
    assert shown.encode(encoding) and "\n" not in shown if first else shown == ""
    assert visible(shown, encoding=encoding) == shown
    assert (shown == quoted(second, encoding=encoding)) is (first == second)


@given(value=st.dictionaries(st.text(), st.text() | st.integers()))
def test_json_survives_its_escapes(value: dict[str, str | int]) -> None:
    for encoding in ("utf-8", "ascii"):
        text = json_text(value, encoding=encoding)
        assert json.loads(text) == value
        assert visible(text) == text
