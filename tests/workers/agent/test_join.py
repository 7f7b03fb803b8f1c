"""`worker join`: what prevents it is one line."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from farmwire.join import JoinToken
from workers.agent import join_client
from workers.agent.join_client import problem_of
from workers.agent.run import NotJoined, join_farm
from workers.agent.settings import WorkerSettings

from ...support.fake_control import SECRET, Plane
from ...support.ports import free_port
from ...support.redis import RedisServer


def token_with(broker: str) -> str:
    return JoinToken(farm="test", control=Plane(broker).id, broker=broker, secret=SECRET).to_text()


def settings_in(place: Path) -> WorkerSettings:
    return WorkerSettings(data=place, name="pi", heartbeat=1.0)


def test_a_login_that_the_broker_refuses_ends_it(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join_client, "REFUSED_AFTER", 0.0)
    broker = f"redis://used:up@127.0.0.1:{redis_server.port}/0"
    with pytest.raises(NotJoined, match=r"^the broker at 127.0.0.1:\d+ does not accept this token: it was"):
        join_farm(settings_in(tmp_path), token_with(broker), timeout=20)


def test_a_broker_that_does_not_answer_and_a_farm_that_does_not_are_named(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(NotJoined, match=r"^the broker at 127.0.0.1:\d+ cannot be reached: .*refused"):
        join_farm(settings_in(tmp_path / "a"), token_with(away), timeout=0.3)
    with pytest.raises(NotJoined, match=r"^test has not answered for 0 s: is it running"):
        join_farm(settings_in(tmp_path / "b"), token_with(redis_server.url), timeout=0.3)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("self-signed certificate in certificate chain", ""),
        ("certificate is not yet valid", "; is the clock of this machine right?"),
        ("certificate has expired", "; is the clock of this machine right?"),
    ],
)
def test_a_wrong_certificate_is_named(reason: str, hint: str) -> None:
    error = ssl.SSLCertVerificationError(
        1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason} (_ssl.c:992)"
    )
    assert problem_of(error, "rediss://u:p@farm.example.org:6380/0") == (
        f"the certificate of the broker at farm.example.org:6380 is not the farm's: {reason}{hint}",
        False,
    )


def test_a_password_is_in_no_reason() -> None:
    assert "hunter2" not in problem_of(OSError("no route"), "redis://u:hunter2@farm.example.org/0")[0]
