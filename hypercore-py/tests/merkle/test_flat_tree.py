"""Flat-tree numbering against the official vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercore.merkle import flat_tree
from hypercore.merkle.batch import upgrade_nodes
from support.merkle_trees import Json, load

INDEX = st.integers(0, 2**53 - 1)


@pytest.mark.parametrize("case", [c for c in load("flat_tree") if c["name"] == "fullRoots"])
def test_full_roots_are_the_official_ones(case: Json) -> None:
    assert list(flat_tree.full_roots(case["inputs"]["length"])) == case["output"]


@pytest.mark.parametrize("case", [c for c in load("flat_tree") if c["name"] == "node"])
def test_relatives_of_a_node_are_the_official_ones(case: Json) -> None:
    index, expected = case["inputs"]["index"], case["output"]
    assert flat_tree.depth(index) == expected["depth"]
    assert flat_tree.offset(index) == expected["offset"]
    assert flat_tree.parent(index) == expected["parent"]
    assert flat_tree.sibling(index) == expected["sibling"]
    assert [flat_tree.left_span(index), flat_tree.right_span(index)] == expected["spans"]
    assert flat_tree.leaf_count(index) == expected["countLeaves"]
    if expected["children"]:
        assert [flat_tree.left_child(index), flat_tree.right_child(index)] == expected["children"]


@given(INDEX)
def test_a_node_is_where_its_depth_and_offset_say(index: int) -> None:
    assert flat_tree.node_at(flat_tree.depth(index), flat_tree.offset(index)) == index


@given(INDEX)
def test_siblings_share_their_parent_and_fill_it(index: int) -> None:
    parent, sibling = flat_tree.parent(index), flat_tree.sibling(index)
    assert flat_tree.parent(sibling) == parent
    assert {flat_tree.left_child(parent), flat_tree.right_child(parent)} == {index, sibling}
    assert flat_tree.leaf_count(parent) == 2 * flat_tree.leaf_count(index)
    assert flat_tree.contains(parent, index)
    assert not flat_tree.contains(index, parent)


@given(st.integers(0, 300), st.integers(0, 300))
def test_contains_agrees_with_the_spans(root: int, index: int) -> None:
    inside = flat_tree.left_span(root) <= index <= flat_tree.right_span(root)
    assert flat_tree.contains(root, index) == inside


@given(st.integers(0, 2**53))
def test_full_roots_cover_every_leaf_once(length: int) -> None:
    end = 0
    for root in flat_tree.full_roots(length):
        assert flat_tree.left_span(root) == end
        end = flat_tree.right_span(root) + 2
    assert end == 2 * length


@given(st.integers(0, 200), st.integers(0, 200))
def test_upgrade_nodes_cover_exactly_the_new_leaves(start: int, end: int) -> None:
    covered: list[int] = []
    for index in upgrade_nodes(start, end):
        covered += range(flat_tree.left_span(index), flat_tree.right_span(index) + 1, 2)
    assert covered == list(range(2 * start, 2 * end, 2))
