"""The OpenAPI document as a page shows it: operations by tag, and shapes. No Django."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

METHODS: Final = ("get", "post", "put", "patch", "delete")
CONSTRAINTS: Final = (
    ("minLength", "{:,} characters or more"), ("maxLength", "at most {:,} characters"),
    ("minItems", "{:,} or more"), ("maxItems", "at most {:,}"), ("minimum", "{:,} or more"),
    ("maximum", "{:,} or less"), ("exclusiveMinimum", "more than {:,}"), ("pattern", "matches {}"),
)  # fmt: skip
SHAPE: Final = "#/components/schemas/"


class Piece(NamedTuple):
    """Part of the name of a type."""

    text: str
    shape: str = ""
    """The shape that it names."""


class Field(NamedTuple):
    """A parameter, or a field of a shape."""

    name: str
    type: list[Piece]
    text: str
    place: str = ""
    """`path`, `query`; empty: in a body."""
    is_required: bool = False


class Answered(NamedTuple):
    """A status that an operation answers."""

    status: str
    text: str
    type: list[Piece]


class Operation(NamedTuple):
    """A method of an address."""

    id: str
    method: str
    path: str
    title: str
    text: str
    scope: str
    """That the token needs. Empty: none."""
    fields: list[Field]
    body: list[Piece]
    answers: list[Answered]


class Shape(NamedTuple):
    """An object, or a word that has few values."""

    name: str
    title: str
    text: str
    fields: list[Field]
    values: list[str]
    """The values of a word that has few."""


class Reference(NamedTuple):
    """The whole document."""

    title: str
    text: list[str]
    """Paragraphs."""
    groups: list[tuple[str, list[Operation]]]
    shapes: list[Shape]


def reference(document: Mapping[str, Any]) -> Reference:
    """Read an OpenAPI 3.1 document."""
    groups: dict[str, list[Operation]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                found = operations[method]
                tag = (found.get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append(_operation(path, method, found))
    shown = {piece.shape for piece in _pieces_of(groups)}
    schemas = document["components"]["schemas"]
    shapes = [_shape(name, schema) for name, schema in sorted(schemas.items())]
    used = _reached(shapes, shown)
    info = document["info"]
    return Reference(
        info["title"],
        [part.replace("\n", " ") for part in info.get("description", "").strip().split("\n\n")],
        sorted(groups.items()),
        [shape for shape in shapes if shape.name in used],
    )


def _operation(path: str, method: str, found: Mapping[str, Any]) -> Operation:
    text = found.get("description", "").strip()
    title, _, rest = text.partition("\n")
    content = found.get("requestBody", {}).get("content", {})
    schemas = [part.get("schema", {}) for part in content.values()]
    security = [scope for each in found.get("security", ()) for scopes in each.values() for scope in scopes]
    return Operation(
        id=found["operationId"],
        method=method.upper(),
        path=path,
        title=title.rstrip(".") or found.get("summary", ""),
        text=" ".join(rest.split()),
        scope=", ".join(security),
        fields=[
            Field(
                each["name"],
                type_of(each.get("schema", {})),
                _meaning(each.get("schema", {}), each.get("description", "")),
                each["in"],
                bool(each.get("required")),
            )
            for each in found.get("parameters", ())
        ],
        body=type_of(schemas[0]) if schemas else [],
        answers=[
            Answered(str(status), answer.get("description", ""), _answer_type(answer))
            for status, answer in sorted(found["responses"].items(), key=lambda pair: str(pair[0]))
        ],
    )


def _answer_type(answer: Mapping[str, Any]) -> list[Piece]:
    for kind, part in answer.get("content", {}).items():
        found = type_of(part.get("schema", {}))
        usual = kind in ("application/json", "application/problem+json")
        return found if usual else [*found, Piece(f" ({kind})")]
    return []


def _shape(name: str, schema: Mapping[str, Any]) -> Shape:
    required = set(schema.get("required", ()))
    return Shape(
        name,
        type_of({"$ref": SHAPE + name})[0].text,
        " ".join(schema.get("description", "").split()),
        [
            Field(field, type_of(each), _meaning(each, each.get("description", "")), "", field in required)
            for field, each in schema.get("properties", {}).items()
        ],
        [str(value) for value in schema.get("enum", ())],
    )


def type_of(schema: Mapping[str, Any]) -> list[Piece]:
    """`string`, `list of DriveRef`, `one of a, b`, `integer or null`."""
    if reference_to := schema.get("$ref"):
        name = str(reference_to).removeprefix(SHAPE)
        generic, _, inner = name.removesuffix("_").partition("_")
        return [Piece(f"{generic}[{inner}]" if inner else name, name)]
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        found: list[Piece] = []
        for choice in choices:
            found += [*([Piece(" or ")] if found else []), *type_of(choice)]
        return found
    if "enum" in schema:
        return [Piece("one of " + ", ".join(map(str, schema["enum"])))]
    if "const" in schema:
        return [Piece(str(schema["const"]))]
    kind = schema.get("type", "any value")
    if kind == "array":
        return [Piece("list of "), *type_of(schema.get("items", {}))]
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return [Piece("names with "), *type_of(schema["additionalProperties"])]
    given = {"date-time": "time", "date": "day"}.get(schema.get("format", ""), kind)
    return [Piece(" or ".join(given) if isinstance(given, list) else str(given))]


def _meaning(schema: Mapping[str, Any], text: str) -> str:
    """Description, constraints and default of a value."""
    parts = [" ".join(text.split())] if text else []
    limits = ", ".join(_limits(schema))
    if limits:
        parts.append(f"{limits[:1].upper()}{limits[1:]}.")
    if "default" in schema and schema["default"] not in (None, "", []):
        parts.append(f"Without it: {_spelled(schema['default'])}.")
    return " ".join(parts)


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    for each in [schema, *schema.get("anyOf", ())]:
        for name, text in CONSTRAINTS:
            if name in each:
                yield text.format(each[name])


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _pieces_of(groups: Mapping[str, Sequence[Operation]]) -> Iterator[Piece]:
    for operations in groups.values():
        for operation in operations:
            yield from operation.body
            for answer in operation.answers:
                yield from answer.type
            for field in operation.fields:
                yield from field.type


def _reached(shapes: Sequence[Shape], names: set[str]) -> set[str]:
    """The shapes that are named, also by other shapes."""
    by_name = {shape.name: shape for shape in shapes}
    todo, found = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name in by_name and name not in found:
            found.add(name)
            todo += [piece.shape for field in by_name[name].fields for piece in field.type if piece.shape]
    return found
