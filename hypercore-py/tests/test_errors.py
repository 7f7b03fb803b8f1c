"""The errors of the library, wherever they are defined."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import hypercore
from hypercore import errors
from hypercore.errors import HypercoreError, LocalProtocolError, ProtocolError, RemoteProtocolError


def all_errors() -> list[type[HypercoreError]]:
    for module in pkgutil.walk_packages(hypercore.__path__, "hypercore."):
        importlib.import_module(module.name)

    def below(kind: type[HypercoreError]) -> Iterator[type[HypercoreError]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    # Other programs may have errors of their own in this process
    ours = {kind for kind in below(HypercoreError) if kind.__module__.startswith("hypercore.")}
    return [HypercoreError, *sorted(ours, key=lambda kind: kind.__name__)]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.__dict__["code"] for kind in all_errors()]
    assert len(set(codes)) == len(codes) > 20
    assert [code for code in codes if not re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)] == []


def test_every_error_says_what_it_means() -> None:
    assert [kind for kind in all_errors() if not kind.__doc__] == []


def test_a_fault_is_the_peers_or_ours_never_both() -> None:
    for kind in all_errors():
        assert not (issubclass(kind, RemoteProtocolError) and issubclass(kind, LocalProtocolError))
        if issubclass(kind, ProtocolError) and kind is not ProtocolError:
            assert issubclass(kind, RemoteProtocolError | LocalProtocolError)


def test_errors_that_more_than_one_room_can_raise_are_in_one_module() -> None:
    elsewhere = {kind for kind in all_errors() if kind.__module__ != errors.__name__}
    assert {kind.__module__.split(".")[1] for kind in elsewhere} <= {"aio", "dht"}
