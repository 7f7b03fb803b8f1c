"""Refuse public classes and functions without a docstring, in what each package offers to others.

    python tools/docstrings.py   list them, file by file (exit status 1 if there are any)

Of hypercore that is every name in an `__all__` of a package, with its public methods; of the packages in
ROOMS all public names, except in folders that frameworks describe (NOT_CHECKED). A method that a base class
or an implemented Protocol class describes needs none, nor do `__init__`, setters, and methods that a
framework calls (HOOKS).
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
LIBRARY: Final = ROOT / "hypercore-py" / "src" / "hypercore"
SOURCES: Final = ("dashboard", "farmwire", "hypercore-py/src/hypercore", "seederfarm", "workers")
"""All packages: a Protocol class of one may describe a class of another."""
ROOMS: Final = ("dashboard", "farmwire", "seederfarm", "workers")
"""Packages whose public names are all checked."""
NOT_CHECKED: Final = frozenset({"migrations", "admin"})
"""Folders of which Django and Alembic describe the names."""

HOOKS: Final = frozenset(
    {
        *("authenticate", "clean", "convert", "deconstruct", "encoding", "fileno", "filter", "form_valid"),
        *("format_commands", "has_changed", "prepare_value"),
        *(
            "get_command",
            "get_context_data",
            "invoke",
            "isatty",
            "list_commands",
            "make_context",
            "parse_args",
        ),
        *("process_request", "process_response", "ready", "save_model", "to_python", "to_url", "write"),
    }
)
"""Methods that Click, Django, django-ninja and the standard library define and describe."""

SHARED: Final = 0.75
"""Share of the members of a Protocol class that a class has which implements it; it may inherit the rest."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Finding(NamedTuple):
    path: Path
    line: int
    name: str


class Classes:
    """The classes of a tree of modules, by name."""

    def __init__(self, modules: dict[Path, ast.Module]) -> None:
        self._found: dict[str, list[ast.ClassDef]] = {}
        for tree in modules.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self._found.setdefault(node.name, []).append(node)
        protocols = [node for nodes in self._found.values() for node in nodes if "Protocol" in _bases(node)]
        self._protocols = [(_members(node), node) for node in protocols]

    def is_described(self, owner: ast.ClassDef, method: str) -> bool:
        """Whether a base class of `owner`, or a Protocol class that it implements, describes `method`."""
        members = _members(owner)
        bases = [node for name in _bases(owner) for node in self._found.get(name, ()) if node is not owner]
        models = [
            node
            for names, node in self._protocols
            if node is not owner and len(names & members) >= SHARED * len(names)
        ]
        return any(_describes(node, method) or self.is_described(node, method) for node in bases) or any(
            _describes(node, method) for node in models
        )


def _members(node: ast.ClassDef) -> frozenset[str]:
    names = [getattr(item, "name", None) for item in node.body]
    names += [getattr(item.target, "id", None) for item in node.body if isinstance(item, ast.AnnAssign)]
    assigned = [target for item in node.body if isinstance(item, ast.Assign) for target in item.targets]
    names += [getattr(target, "id", None) for target in assigned]
    names += [
        item.attr
        for item in ast.walk(node)
        if isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store)
    ]
    return frozenset(name for name in names if name)


def _describes(node: ast.ClassDef, method: str) -> bool:
    return any(
        isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        and item.name == method
        and ast.get_docstring(item) is not None
        for item in node.body
    )


def _bases(node: ast.ClassDef) -> list[str]:
    names = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return [name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "") for name in names]


def parse(places: list[Path]) -> dict[Path, ast.Module]:
    """Return the modules below these folders (or these files), parsed."""
    paths = [path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))]
    return {path: ast.parse(path.read_text()) for path in sorted(paths)}


def exported(modules: dict[Path, ast.Module]) -> set[str]:
    """Return the names in `__all__` of the packages."""
    found: set[str] = set()
    for path, tree in modules.items():
        for node in tree.body if path.name == "__init__.py" else []:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                found |= set(ast.literal_eval(node.value))
    return found


def undocumented(
    modules: dict[Path, ast.Module], names: set[str] | None = None, *, classes: Classes | None = None
) -> Iterator[Finding]:
    """Yield public classes, functions and methods without a docstring. `names`: only these, and their
    methods. `classes`: those whose descriptions count (default: those of the modules)."""
    classes = classes or Classes(modules)
    for path, tree in modules.items():
        for node in tree.body:
            if not isinstance(node, Definition) or not _is_public(node.name):
                continue
            if names is not None and node.name not in names:
                continue
            if not ast.get_docstring(node):
                yield Finding(path, node.lineno, node.name)
            if isinstance(node, ast.ClassDef):
                for method in _methods(node):
                    if _is_hook(node, method.name):
                        continue
                    if not ast.get_docstring(method) and not classes.is_described(node, method.name):
                        yield Finding(path, method.lineno, f"{node.name}.{method.name}")


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the public methods and properties of a class, without setters."""
    for item in node.body:
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) or not _is_public(item.name):
            continue
        if not any(getattr(mark, "attr", "") == "setter" for mark in item.decorator_list):
            yield item


def _is_hook(node: ast.ClassDef, method: str) -> bool:
    """Whether a framework calls the method: it has this name, or is `clean_FIELD` of a form, or asks for the
    permission of an admin's action. A class without a base has no such method."""
    named = method in HOOKS or method.startswith("clean_") or re.fullmatch("has_.*_permission", method)
    return bool(node.bases and named)


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def main() -> int:
    """Print what is found. Returns the exit status."""
    library = parse([LIBRARY])
    classes = Classes(parse([ROOT / place for place in SOURCES]))
    rooms = parse([ROOT / room for room in ROOMS])
    rooms = {
        path: tree for path, tree in rooms.items() if not NOT_CHECKED & set(path.relative_to(ROOT).parts)
    }
    found = [*undocumented(library, exported(library)), *undocumented(rooms, classes=classes)]
    for path, line, name in found:
        print(f"{path.relative_to(ROOT)}:{line}: {name} has no docstring")
    if found:
        print(f"{len(found)} public names without a docstring", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
