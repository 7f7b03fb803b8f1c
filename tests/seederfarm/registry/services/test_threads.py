from __future__ import annotations

import threading

import pytest
from django.db import connections

from seederfarm.registry.models import Drive
from seederfarm.registry.services import add_keys

from ..factories import key_of

pytestmark = pytest.mark.usefixtures("committing_database")


def test_two_that_add_the_same_keys_at_once_add_each_once() -> None:
    keys = [key_of(number) for number in range(1200)]
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def add(order: list[str]) -> None:
        try:
            barrier.wait()
            add_keys(order, actor="cli")
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=add, args=(order,)) for order in (keys, keys[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Drive.objects.count() == len(keys)
