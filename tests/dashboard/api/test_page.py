"""`/api/v1/docs`: every operation and shape of the document, as plain HTML under the strict policy."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from dashboard.api.reference import Piece, reference, type_of
from dashboard.middleware import POLICY

from ..farm import text_of
from .client import document

pytestmark = pytest.mark.usefixtures("database")


def page() -> Any:
    response = Client().get("/api/v1/docs")
    assert response.status_code == 200
    return response


def test_the_page_has_every_operation_with_its_scope_and_every_shape_that_is_used() -> None:
    text = page().text
    shown = document()
    for path, operations in shown["paths"].items():
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in text
            assert operation["security"][0]["BearerToken"], path
        assert f"<code>{path}</code>" in text
    for name in ("DriveShape", "DriveDetail", "Copies", "Problem", "DrivesGiven"):
        assert f'id="shape-{name}"' in text
    assert 'id="shape-DriveQuery"' not in text, "no answer and no body has it"


def test_every_link_within_the_page_leads_somewhere_and_no_id_is_there_twice() -> None:
    text = page().text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_the_page_needs_no_script_style_or_host_of_others() -> None:
    response = page()
    assert response["Content-Security-Policy"] == POLICY
    assert not response.cookies
    assert " style=" not in response.text and "<style" not in response.text
    assert re.findall(r"<script(?! src=\"/static/)", response.text) == []
    assert re.findall(r'(?:src|href)="https?:', response.text) == []


def test_a_reader_sees_types_bounds_and_defaults() -> None:
    text = text_of(page())
    assert "Rows of a page. 1 or more, 200 or less. Without it: 50." in text
    assert "list of DriveRef" in text and "one of core, bee, drive or null" in text


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"$ref": "#/components/schemas/A"}, [Piece("A", "A")]),
        ({"type": "array", "items": {"type": "integer"}}, [Piece("list of "), Piece("integer")]),
        ({"type": ["string", "null"], "format": "date-time"}, [Piece("time")]),
        ({"type": ["string", "null"]}, [Piece("string or null")]),
        ({"const": 1}, [Piece("1")]),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            [Piece("names with "), Piece("string")],
        ),
        ({}, [Piece("any value")]),
    ],
)
def test_a_type_has_a_name(schema: dict[str, Any], shown: list[Piece]) -> None:
    assert type_of(schema) == shown


def test_a_shape_that_names_itself_is_shown_once() -> None:
    itself = {"$ref": "#/components/schemas/A"}
    answer = {"content": {"application/json": {"schema": itself}}}
    paths = {"/x": {"get": {"operationId": "x", "responses": {"200": answer}}}}
    schemas = {"A": {"properties": {"me": itself}}}
    found = reference({"info": {"title": "t"}, "paths": paths, "components": {"schemas": schemas}})
    assert [shape.name for shape in found.shapes] == ["A"]
