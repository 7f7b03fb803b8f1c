"""Requests made from the OpenAPI document, right and wrong: each answer is one that the document has, none is
a failure of the farm."""

from __future__ import annotations

import math
import random
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seederfarm.registry.models import Drive
from seederfarm.registry.models.access import Scope

from ...seederfarm.registry.factories import key_of
from ..farm import populate
from .client import ApiClient, document
from .conftest import token_for

pytestmark = pytest.mark.usefixtures("database")

EXAMPLES: Final = 12
"""Requests of each operation, on each database: some 1,900 in all."""
TEXT: Final = st.text(
    st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=30
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
OPERATIONS: Final = [
    (method.upper(), path)
    for path, operations in sorted(document()["paths"].items())
    for method in sorted(operations)
]


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, of which few are slightly wrong."""
    if "$ref" in schema:
        return values(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if choices := schema.get("anyOf") or schema.get("allOf"):
        return st.one_of([values(choice) for choice in choices])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string" if schema.get("format") == "date-time":
            return st.datetimes().map(lambda at: at.isoformat() + "Z") | st.text(max_size=5)
        case "string":
            longest = schema.get("maxLength", 50)
            return st.text(max_size=min(longest + 1, 60)) | st.sampled_from(
                [key_of("Radio"), "fra", "a\0b", "x" * (longest + 1)]
            )
        case "integer" | "number":
            low, high = schema.get("minimum", -3), schema.get("maximum", 2**63)
            return st.integers(math.floor(low) - 1, math.ceil(high) + 1)
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(values(schema.get("items", {})), max_size=3)
        case "object" if "properties" in schema:
            required = set(schema.get("required", ()))
            parts = {name: values(part) for name, part in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: part for name, part in parts.items() if name in required},
                optional={name: part for name, part in parts.items() if name not in required},
            )
        case "object":
            return st.dictionaries(
                st.text(max_size=5), values(schema.get("additionalProperties") or {}), max_size=3
            )
        case "null":
            return st.none()
    return JSON


def known(name: str) -> list[str]:
    """Values of a parameter of a path that are of this farm."""
    drive = Drive.objects.order_by("pk")[0]
    return {
        "key": [drive.z32, drive.key, f"hyper://{drive.z32}", key_of("no"), "keys"],
        "worker": ["fra", "pi", "nobody"],
        "name": ["lists", "no-list"],
        "kind": ["worker.lost", "worker.disk_forecast", "no.such"],
        "version": ["10", "0", "-1", "9" * 25],
    }.get(name, ["1", "0", "-1", "9" * 25])


@st.composite
def requests(draw: st.DrawFn, method: str, path: str) -> tuple[str, Any]:
    """Address and body."""
    operation = document()["paths"][path][method.lower()]
    asked: dict[str, Any] = {}
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            ours = st.sampled_from(known(name)).map(lambda text: quote(text, safe=":/"))
            path = path.replace(f"{{{name}}}", draw(ours | TEXT.map(lambda text: quote(text, safe=""))))
        elif parameter["required"] or draw(st.booleans()):
            asked[name] = draw(values(parameter["schema"]) | TEXT)
    given = {name: value for name, value in asked.items() if value is not None}
    address = f"{path}?{urlencode(given)}" if given else path
    if "requestBody" not in operation:
        return address, None
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return address, draw(values(schema) | JSON | st.binary(max_size=30))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part.removeprefix("/api/v1/"))
def test_every_answer_is_one_of_the_document(otto: User, method: str, path: str) -> None:
    populate()
    scopes = [scope.value for scope in Scope]
    clients = [ApiClient(), ApiClient("sft_" + "A" * 43)]
    clients += [ApiClient(token_for(otto, *mine)) for mine in (scopes, *([scope] for scope in scopes))]
    chosen = random.Random(0)

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(requests(method, path))
    def send(request: tuple[str, Any]) -> None:
        address, body = request
        client = clients[2] if chosen.random() < 0.7 else chosen.choice(clients)
        answer = client(method, address, body)
        assert answer.status < 500, (answer, body)

    send()
