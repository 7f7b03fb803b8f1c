"""Refuse words that docs/glossary.md rejects, in names and docstrings of every package and of the tests.

    python tools/words.py [PATH...]   list them, file by file (exit status 1 if there are any)

It checks the names that code defines (modules, classes, functions, parameters, variables, attributes), split
at underscores and capitals, and docstrings, also those below fields and constants. Names of tests are
sentences: they may have the words of docstrings, except "who".
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
ROOMS: Final = (
    "benchmarks",
    "dashboard",
    "farmwire",
    "hypercore-py/examples",
    "hypercore-py/src",
    "hypercore-py/tests",
    "seederfarm",
    "tests",
    "tools",
    "workers",
)
"""Folders that are checked, all modules below them except migrations, which Django and Alembic write."""

IN_BOTH: Final = {
    **dict.fromkeys(
        ("whoever", "somebody", "nobody", "everybody", "anybody"), "peer, worker, client, caller"
    ),
    **dict.fromkeys(("tell", "tells", "told", "telling"), "emit, notify, send, report, show"),
    "said": "reported, sent, given",
    "patience": "timeout",
    **dict.fromkeys(("rotten", "rot"), "corrupt"),
    **dict.fromkeys(("stranger", "strangers"), "peer"),
}
"""Word to what to write instead, in names and docstrings."""
IN_TEST_NAMES: Final = {
    **IN_BOTH,
    **dict.fromkeys(("who", "whom", "nobodys"), "the peer, worker or user that"),
}
"""The same, in names of tests, which are sentences."""
IN_NAMES: Final = {
    **IN_TEST_NAMES,
    **dict.fromkeys(("say", "says"), "emit, log, report, print"),
    "complain": "log, report_error",
    **dict.fromkeys(("happened", "happening", "happenings"), "event"),
    **dict.fromkeys(("offence", "offences", "offended"), "misbehaviour"),
    **dict.fromkeys(("ledger", "ledgers"), "index, table, tracker"),
    "least": "min",
    "most": "max",
    **dict.fromkeys(("obey", "obeyed"), "handle"),
    **dict.fromkeys(("revive", "revived"), "cancel_removal, requeue"),
    "steer": "update",
    **dict.fromkeys(("vouch", "vouched", "vouches"), "is_unchanged, verify"),
    "warmth": "stage",
    **dict.fromkeys(("look", "looks", "looked"), "poll, check, search, lookup"),
    **dict.fromkeys(("forget", "forgets", "forgot", "forgotten"), "discard, remove, expire"),
    **dict.fromkeys(("note", "notes", "noted"), "record, event, problem"),
    **dict.fromkeys(("trouble", "troubles", "troubled"), "problem"),
    **dict.fromkeys(("allowance", "allowances"), "budget, limit"),
    **dict.fromkeys(("settle", "settles", "settled", "settling"), "what it does: finish, idle, stable"),
}
"""The same, in other names."""
PHRASES: Final = re.compile(r"look_?(up|ahead)|looks_like", re.IGNORECASE)
"""Parts of names that are terms of the field."""
FIELDS: Final = frozenset({"note"})
"""Whole names of fields and parameters that are not rejected: the note that a person writes."""
TERMS: Final = {"dashboard": frozenset({"look", "looks"})}
"""Words that are terms of a room: a look is word, shape and colour of a state on pages."""
PARAMETERS: Final = {"within": "timeout"}
"""The same, for whole names of parameters."""

PART: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
WORD: Final = re.compile(r"[a-z]+")


class Finding(NamedTuple):
    line: int
    word: str
    instead: str
    place: str
    """The name, or "docstring"."""


def check(source: str, stem: str = "", terms: frozenset[str] = frozenset()) -> list[Finding]:
    """Return rejected words in Python source, by line. `stem`: the module's name; `terms`: words that are not
    rejected. Raises SyntaxError."""
    tree = ast.parse(source)
    found = [*_in_name(stem, 1)]
    for node in ast.walk(tree):
        found += _in_names(node)
        for text in _docstrings(node):
            lines = str(text.value).lower().splitlines()
            found += [
                Finding(text.lineno + offset, word, IN_BOTH[word], "docstring")
                for offset, line in enumerate(lines)
                for word in WORD.findall(re.sub(r"`[^`]*`", "", line))
                if word in IN_BOTH
            ]
    return sorted({finding for finding in found if finding.word not in terms})


def _in_names(node: ast.AST) -> Iterator[Finding]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from _in_name(node.name, node.lineno)
        case ast.arg() if node.arg not in FIELDS:
            yield from _in_name(node.arg, node.lineno)
            if node.arg in PARAMETERS:
                yield Finding(node.lineno, node.arg, PARAMETERS[node.arg], node.arg)
        case ast.Name(ctx=ast.Store()) if node.id not in FIELDS:
            yield from _in_name(node.id, node.lineno)
        case ast.Attribute(ctx=ast.Store()):
            yield from _in_name(node.attr, node.lineno)
        case ast.alias(asname=str()):
            yield from _in_name(str(node.asname), node.lineno)


def _in_name(name: str, line: int) -> Iterator[Finding]:
    rejected = IN_TEST_NAMES if name.startswith("test_") else IN_NAMES
    for part in PART.findall(PHRASES.sub("", name)):
        if (instead := rejected.get(part.lower())) is not None:
            yield Finding(line, part.lower(), instead, name)


def _docstrings(node: ast.AST) -> Iterator[ast.Constant]:
    """Strings that are statements of their own: of modules, classes, functions, fields, constants."""
    for statement in getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ():
        if (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        ):
            yield statement.value


def files(rooms: tuple[str, ...] = ROOMS) -> list[Path]:
    """Modules below these folders (or these files), without migrations."""
    places = [ROOT / room for room in rooms]
    found = {path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))}
    return sorted(path for path in found if "migrations" not in path.parts)


def main(arguments: list[str]) -> int:
    """Print what is found below the given paths, else below ROOMS. Returns the exit status."""
    count = 0
    for path in files(tuple(arguments) or ROOMS):
        room = path.relative_to(ROOT).parts[0]
        for found in check(path.read_text(), path.stem, TERMS.get(room, frozenset())):
            count += 1
            print(
                f"{path.relative_to(ROOT)}:{found.line}: {found.place}: {found.word} (write: {found.instead})"
            )
    if count:
        print(f"{count} words that docs/glossary.md rejects", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
