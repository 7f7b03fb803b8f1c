"""The header Range, good and bad."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.gateway.ranges import MAX_HEADER, MAX_RANGES, Span, matches, spans


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-", [(0, 100)]),
        ("bytes=10-19", [(10, 20)]),
        ("bytes=90-1000", [(90, 100)]),
        ("bytes=-5", [(95, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("BYTES = 1-2 , 5-6", [(1, 3), (5, 7)]),
        ("bytes=50-59,0-9", [(50, 60), (0, 10)]),
        ("bytes=0-9,5-20,21-29", [(0, 30)]),
        ("bytes=,0-0,", [(0, 1)]),
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=100-200,300-", []),
        ("bytes=200-300,0-1", [(0, 2)]),
    ],
)
def test_good_headers(header: str, expected: list[tuple[int, int]]) -> None:
    assert spans(header, 100) == [Span(*pair) for pair in expected]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=1",
        "lines=0-1",
        "bytes=0-1;5-6",
        "bytes=٣-٥",
        "bytes=0x1-2",
        "bytes=" + "9" * 30 + "-",
        "bytes=1.5-2",
        "bytes 0-1",
        "bytes=" + ",".join(f"{i * 3}-{i * 3}" for i in range(MAX_RANGES + 1)),
        "bytes=0-" + "0" * MAX_HEADER + "1",
    ],
)
def test_bad_headers_are_ignored(header: str) -> None:
    assert spans(header, 100) is None


@given(
    st.text(max_size=60).map("bytes={}".format) | st.text(alphabet="bytes=0123456789-, ", max_size=60),
    st.integers(0, 10**6),
)
def test_any_header_gives_ranges_in_the_file_or_none(header: str, size: int) -> None:
    found = spans(header, size)
    if found:
        assert all(0 <= span.start < span.end <= size for span in found)
        assert len(found) <= MAX_RANGES
        assert sum(span.length for span in found) <= size, "no byte twice"


def test_entity_tags() -> None:
    assert matches('"a", "b"', '"b"', weak=False)
    assert matches("*", '"b"', weak=False)
    assert matches('W/"b"', '"b"', weak=True) and not matches('W/"b"', '"b"', weak=False)
    assert not matches('"bb"', '"b"', weak=True) and not matches("", '"b"', weak=True)
