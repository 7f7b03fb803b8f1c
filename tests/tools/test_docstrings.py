"""The check that what a package offers has docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools import docstrings


def found(source: str, names: set[str] | None = None) -> list[str]:
    modules = {Path("module.py"): ast.parse(source)}
    return [finding.name for finding in docstrings.undocumented(modules, names)]


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def f(): ...", ["f"]),
        ("class A:\n    x = 1", ["A"]),
        ('class A:\n    """A."""\n    def f(self): ...\n    async def g(self): ...', ["A.f", "A.g"]),
        ('class A:\n    """A."""\n    @property\n    def f(self): return 1', ["A.f"]),
    ],
)
def test_what_is_public_needs_a_docstring(source: str, missing: list[str]) -> None:
    assert found(source) == missing


@pytest.mark.parametrize(
    "source",
    [
        "def _f(): ...\nclass _A: ...",
        'class A:\n    """A."""\n    def __init__(self): ...\n    def _f(self): ...',
        'def f():\n    """F."""\n    def g(): ...',
        'class A:\n    """A."""\n    @property\n    def f(self):\n        """F."""\n'
        "    @f.setter\n    def f(self, value): ...",
    ],
)
def test_what_is_private_or_a_setter_needs_none(source: str) -> None:
    assert found(source) == []


MODEL = (
    'class P(Protocol):\n    """P."""\n    def f(self):\n        """F."""\n'
    '    def g(self):\n        """G."""\n'
)


def test_a_method_that_a_base_or_an_implemented_protocol_describes_needs_none() -> None:
    base = 'class B:\n    """B."""\n    def f(self):\n        """F."""\n'
    assert found(base + 'class A(B):\n    """A."""\n    def f(self): ...') == []
    both = "    def f(self): ...\n    def g(self): ..."
    assert found(f'{MODEL}class A:\n    """A."""\n{both}') == []
    assert found(f'{MODEL}class A:\n    """A."""\n    def f(self): ...') == ["A.f"]


def test_a_constant_of_a_class_counts_as_a_member_of_the_protocol() -> None:
    model = MODEL + "    x: int\n    y: int\n"
    rest = "    x = y = 1\n    def f(self): ..."
    assert found(f'{model}class A:\n    """A."""\n{rest}') == []


def test_a_method_that_a_framework_calls_needs_none_where_there_is_a_framework() -> None:
    hooks = '    """A."""\n    def clean(self): ...\n    def clean_key(self): ...\n    def f(self): ...'
    assert found(f"class A(forms.Form):\n{hooks}") == ["A.f"]
    assert found(f"class A:\n{hooks}") == ["A.clean", "A.clean_key", "A.f"]


def test_only_the_given_names_are_checked() -> None:
    assert found("def f(): ...\ndef g(): ...", {"g"}) == ["g"]
    package = {
        Path("a/__init__.py"): ast.parse('__all__ = ["f", "G"]'),
        Path("a/b.py"): ast.parse('__all__ = ["h"]'),
    }
    assert docstrings.exported(package) == {"f", "G"}


@pytest.mark.slow
def test_this_repository_has_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert docstrings.main() == 0, capsys.readouterr().out
    names = docstrings.exported(docstrings.parse([docstrings.LIBRARY]))
    assert {"Hypercore", "Swarm", "Replicator", "UdxStream", "WritableDrive"} <= names
