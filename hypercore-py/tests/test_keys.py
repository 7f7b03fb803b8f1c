"""Every spelling of a key, and what people get wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.errors import KeyFormatError
from hypercore.keys import Z32_ALPHABET, decode_key, encode_key, z32_decode, z32_encode
from support.codec_cases import Json, load, unhex

KEY = unhex("d8c3a0597903b28d751c6e0b7107775e388ec5a3cf669bdd1e7ec41b8b8f6e72")
Z32 = "5db4ysm3yq3e47ehpafznb5zmahe7tpd37ujzze6x5nbznhxp33y"


@pytest.mark.parametrize(
    "case",
    [c for c in load("data/keys") if c["name"] == "id-decode"],
    ids=lambda c: c["inputs"]["id"][:12],
)
def test_official_spellings_are_read(case: Json) -> None:
    assert decode_key(case["inputs"]["id"]).hex() == case["output"]


@pytest.mark.parametrize("case", [c for c in load("data/keys") if c["name"] == "id-decode-odd"])
def test_odd_spellings_are_refused_as_officially_but_for_hyper_links(case: Json) -> None:
    spelling = case["inputs"]["id"]
    if case["output"].startswith("ERROR") and not spelling.startswith("hyper://"):
        with pytest.raises(KeyFormatError):
            decode_key(spelling)
    else:
        assert decode_key(spelling) == KEY


@pytest.mark.parametrize("scheme", ["hyper://", "pear://", "dat://", "HYPER://"])
@pytest.mark.parametrize("key", [Z32, KEY.hex(), KEY.hex().upper()])
@pytest.mark.parametrize("tail", ["", "/", "/a/file.txt", "?x=1", "#top", "+12", "+12/a"])
def test_links_are_read_whatever_follows_the_key(scheme: str, key: str, tail: str) -> None:
    assert decode_key(scheme + key + tail) == KEY


@pytest.mark.parametrize("version", ["0.12.", "3.4000."])
def test_links_may_name_a_version_before_the_key(version: str) -> None:
    assert decode_key(f"pear://{version}{Z32}/app.js") == KEY


def test_blanks_around_a_key_do_not_matter() -> None:
    assert decode_key(f"  {Z32}\n") == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hyper://",
        "hyper:///",
        "https://" + Z32,
        KEY.hex()[:-1],
        KEY.hex() + "0",
        KEY.hex()[:-1] + "g",
        Z32[:-1],
        Z32 + "y",
        Z32.upper(),
        Z32.replace("5", "l", 1),
        Z32[:-1] + "b",
        Z32 + "/path",
        "é" * 52,
        "x" * 5000,
        "\0" * 64,
        "٣" * 64,
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(KeyFormatError, match="64 hex digits") as caught:
        decode_key(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.binary(min_size=32, max_size=32))
def test_a_key_survives_a_round_trip_in_every_spelling(key: bytes) -> None:
    text = encode_key(key)
    assert len(text) == 52
    assert set(text) <= set(Z32_ALPHABET)
    for spelling in (text, key.hex(), f"hyper://{text}", f"dat://{key.hex()}/x"):
        assert decode_key(spelling) == key


@given(st.binary(max_size=40))
def test_z32_survives_a_round_trip(data: bytes) -> None:
    assert z32_decode(z32_encode(data)) == data


@given(st.text(max_size=80))
def test_garbage_raises_only_key_format_error(text: str) -> None:
    try:
        assert len(decode_key(text)) == 32
    except KeyFormatError as error:
        assert error.code == "INVALID_KEY"


def test_only_keys_are_encoded() -> None:
    with pytest.raises(KeyFormatError, match="32 bytes"):
        encode_key(bytes(31))
