"""How often a login may be tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import reverse

from seederfarm.registry import login_form, logins
from seederfarm.registry.logins import ACCOUNT, ADDRESS, PAIR, LoginLimit

from .factories import make_user


def fail(limit: LoginLimit, times: int, account: str, address: str, now: float = 0.0) -> int:
    """Returns how many of the attempts were let through."""
    done = 0
    for _ in range(times):
        if limit.wait(account, address, now) == 0:
            limit.failed(account, address, now)
            done += 1
    return done


def test_an_account_is_guessed_at_slowly_from_one_address() -> None:
    limit = LoginLimit()
    assert fail(limit, 100, "alice", "192.0.2.1") == PAIR.burst
    assert limit.wait("alice", "192.0.2.1", 0.0) == PAIR.seconds
    assert limit.wait("ALICE", "192.0.2.1", 0.0) == PAIR.seconds
    assert limit.wait("alice", "192.0.2.2", 0.0) == 0
    assert limit.wait("alice", "192.0.2.1", PAIR.seconds) == 0
    assert fail(limit, 100, "alice", "192.0.2.1", PAIR.seconds) == 1


def test_an_address_that_tries_many_accounts_is_held_up() -> None:
    limit = LoginLimit()
    assert sum(fail(limit, 1, f"user{number}", "2001:db8::1") for number in range(100)) == ADDRESS.burst
    assert limit.wait("new", "2001:db8::ffff", 0.0) > 0, "the rest of its /64 as well"
    assert limit.wait("new", "2001:db8:0:1::1", 0.0) == 0
    assert limit.wait("new", "::ffff:192.0.2.1", 0.0) == 0


def test_an_account_that_many_addresses_try_is_held_up_for_them_and_not_for_its_owner() -> None:
    limit = LoginLimit()
    limit.succeeded("alice", "198.51.100.7")
    assert sum(fail(limit, 1, "alice", f"10.0.{n // 250}.{n % 250}") for n in range(500)) == ACCOUNT.burst
    assert limit.wait("alice", "10.9.9.9", 0.0) > 0
    assert limit.wait("alice", "198.51.100.7", 0.0) == 0
    assert fail(limit, 100, "alice", "198.51.100.7") == PAIR.burst, "its own failures count"


def test_a_success_ends_the_wait_for_that_pair_alone() -> None:
    limit = LoginLimit()
    fail(limit, PAIR.burst - 1, "alice", "192.0.2.1")
    limit.succeeded("alice", "192.0.2.1")
    assert fail(limit, 100, "alice", "192.0.2.1") == PAIR.burst


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MAX_COUNTED", 50)
    monkeypatch.setattr(logins, "MAX_KNOWN", 50)
    limit = LoginLimit()
    for number in range(500):
        limit.failed("x" * 10_000 + str(number), f"2001:db8:{number:x}::1", 0.0)
        limit.succeeded(f"user{number}", f"10.0.{number // 250}.{number % 250}")
    counts = (limit._pairs, limit._addresses, limit._accounts)
    assert [len(count) for count in counts] == [50, 50, 50] and len(limit._known) == 50
    assert all(isinstance(key, bytes) and len(key) <= 32 for key in limit._known)


@pytest.fixture
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(login_form, "limit", LoginLimit())
    monkeypatch.setattr(
        login_form, "monotonic", lambda: 1000.0
    )  # passwords take long to hash on a busy machine
    yield


def try_login(password: str, address: str) -> str:
    done = Client(REMOTE_ADDR=address).post(
        reverse("admin:login"), {"username": "alice", "password": password}
    )
    return "in" if done.status_code == 302 else done.text


@pytest.mark.usefixtures("database", "fresh_limit")
def test_the_login_page_delays_guessers_even_with_the_right_password() -> None:
    user = make_user("alice")
    user.set_password("right-password-1")
    user.save()
    assert try_login("right-password-1", "198.51.100.7") == "in"
    for _ in range(PAIR.burst):
        assert "Too many" not in try_login("wrong", "192.0.2.1")
    assert "Try again in 60 seconds" in try_login("wrong", "192.0.2.1")
    assert "Too many" in try_login("right-password-1", "192.0.2.1")
    assert try_login("right-password-1", "198.51.100.7") == "in"
