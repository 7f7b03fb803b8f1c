"""`tools/words.py` finds words that docs/glossary.md rejects in names and docstrings and nowhere else."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("words", ROOT / "tools" / "words.py")
assert spec is not None and spec.loader is not None
words = importlib.util.module_from_spec(spec)
sys.modules["words"] = words
spec.loader.exec_module(words)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("def tell_all(): ...", "tell"),
        ("class ToldTwice: ...", "told"),
        ("def f(most_bytes): ...", "most"),
        ("def f(*, within=1.0): ...", "within"),
        ("async def f(**whoever): ...", "whoever"),
        ("_said = 1", "said"),
        ("self._said_at = 1", "said"),
        ("PATIENCE: float = 3.0", "patience"),
        ("import x as rotten", "rotten"),
        ("def test_nobody_is_there(): ...", "nobody"),
        ("def test_who_asks_is_answered(): ...", "who"),
        ("who = 1", "who"),
        ("def look(): ...", "look"),
        ("LOOK_EVERY = 1", "look"),
        ("def note(): ...", "note"),
        ("notes = []", "notes"),
        ("class Forgotten: ...", "forgotten"),
        ("trouble_of = 1", "trouble"),
        ("def f(allowance): ...", "allowance"),
        ("self.settled = 1", "settled"),
        ("for nobody in (): ...", "nobody"),
        ('"""Somebody asks."""', "somebody"),
        ('def f():\n    """What a peer\n    was told."""', "told"),
        ('class A:\n    """A."""\n    x: int\n    """Whoever it is."""', "whoever"),
        ('if True:\n    X = 1\n    """Nobody\'s."""', "nobody"),
    ],
)
def test_a_rejected_word_is_found(source: str, word: str) -> None:
    assert [found.word for found in words.check(source)] == [word]


@pytest.mark.parametrize(
    "source",
    [
        "def almost(): ...",
        '"""A user who is logged in."""',
        "def test_most_peers_look_away_and_settle(): ...",
        "def look_up(): ...",
        "LOOKAHEAD = _look_ahead = looks_like_html = looking = 1",
        "class Drive:\n    note = 1",
        "def f(note): ...",
        "x = told",  # the name of somebody else's module or function
        "f(within=1)",
        'X = "whoever"',
        '"""Calls `somebody.tell`."""',
        "# told",
    ],
)
def test_other_words_and_other_places_are_not(source: str) -> None:
    assert words.check(source) == []


def test_terms_of_a_room_are_not_rejected_there() -> None:
    source = "class Look:\n    told = 1"
    assert [found.word for found in words.check(source)] == ["look", "told"]
    assert [found.word for found in words.check(source, terms=words.TERMS["dashboard"])] == ["told"]


def test_the_glossary_rejects_what_the_check_refuses() -> None:
    """A word is on the page in one of its forms."""
    rejected = [
        row.split("|")[3] for row in (ROOT / "docs" / "glossary.md").read_text().splitlines() if "|" in row
    ]
    on_page = set(re.findall("[a-z]+", " ".join(rejected)))
    forms: dict[str, set[str]] = {}
    for word, instead in (words.IN_NAMES | words.PARAMETERS).items():
        forms.setdefault(instead, set()).add(word)
    assert [found for found in forms.values() if not found & on_page] == []


def test_the_line_and_the_module_name_are_given() -> None:
    (found,) = words.check('"""One.\n\nNobody."""')
    assert (found.line, found.place) == (3, "docstring")
    assert [found.word for found in words.check("", "patience")] == ["patience"]


@pytest.mark.slow
def test_every_package_and_all_tests_are_checked_and_have_none() -> None:
    checked = {path.relative_to(ROOT) for path in words.files()}
    packages = (
        "benchmarks",
        "dashboard",
        "farmwire",
        "hypercore-py/src",
        "hypercore-py/tests",
        "seederfarm",
        "tests",
        "tools",
        "workers",
    )
    for package in packages:
        modules = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert {path for path in modules if "migrations" not in path.parts} <= checked, package
    assert words.main([]) == 0
