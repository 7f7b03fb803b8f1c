"""What others named, shown on one line."""

import json

import pytest

from hypercore.printable import _HIDDEN, json_text

HIDDEN = _HIDDEN.findall("".join(map(chr, range(0x110000))))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_has_no_hidden_character_and_means_the_same(encoding: str) -> None:
    value = {"é" + letter: letter + "x" for letter in HIDDEN if not 0xD800 <= ord(letter) < 0xE000}
    text = json_text(value, encoding=encoding)
    assert "\x7f" in HIDDEN and len(value) > 100
    assert _HIDDEN.search(text) is None
    assert text.isascii() is (encoding != "utf-8")
    assert json.loads(text) == value
