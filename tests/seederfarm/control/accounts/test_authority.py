"""The certificate that a token carries, and the address beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as Unreachable

from farmwire.rejection import MessageRejected
from seederfarm.control.accounts.authority import BEGIN, AuthorityUnreadable, authority_of
from seederfarm.settings.table import FarmSettings
from workers.agent.broker import store_authority, trusting_url

from ....support.redis import RedisServer, make_certificates, missing_in_system
from ....support.require import require
from ..conftest import StartBroker

URL = "rediss://farm.example.org:6380/0"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_the_authority_is_that_of_the_setting_else_of_the_address(certificates: Path) -> None:
    farm, authority = FarmSettings(), str(certificates / "ca.crt")
    url, by_address = authority_of(f"{URL}?ssl_ca_certs={authority}&ssl_check_hostname=true", farm)
    assert url == f"{URL}?ssl_check_hostname=true", "a path of this machine means nothing on another"
    by_setting = authority_of(URL, replace(farm, broker_authority=authority))
    by_our_own = authority_of(URL, replace(farm, redis_url=f"rediss://redis:1/0?ssl_ca_certs={authority}"))
    assert by_setting == by_our_own == (URL, by_address)
    assert authority_of(URL, farm) == (URL, "")
    plain = URL.replace("rediss", "redis")
    assert authority_of(plain, replace(farm, broker_authority=authority)) == (plain, "")


def test_a_file_that_only_the_worker_has_stays_in_the_address(certificates: Path) -> None:
    farm = replace(FarmSettings(), broker_authority=str(certificates / "ca.crt"))
    url = f"{URL}?ssl_ca_certs=/nowhere/of-the-worker.crt"
    assert authority_of(url, farm) == (url, "")


def test_a_list_of_many_authorities_goes_into_no_token(certificates: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.crt"
    many.write_text((certificates / "ca.crt").read_text() * 2)
    assert authority_of(f"{URL}?ssl_ca_certs={many}", FarmSettings()) == (URL, "")
    with pytest.raises(AuthorityUnreadable, match="has 2 certificates: expected one"):
        authority_of(URL, replace(FarmSettings(), broker_authority=str(many)))


@pytest.mark.parametrize("text", ["", "no certificate", f"{BEGIN}\n!!!\n-----END CERTIFICATE-----\n", None])
def test_a_file_without_a_certificate_is_named(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AuthorityUnreadable, match=r"ca\.crt"):
        authority_of(URL, replace(FarmSettings(), broker_authority=str(path)))


def test_a_worker_trusts_the_authority_of_its_token_and_no_other(
    certificates: Path, start_broker: StartBroker, redis_program: str, tmp_path: Path
) -> None:
    require(missing_in_system())
    server = start_broker(RedisServer(tls=certificates, password="of the farm"))
    url, authority = authority_of(server.url, FarmSettings())
    store_authority(authority, tmp_path)
    assert Redis.from_url(trusting_url(url, tmp_path)).ping()

    _, other = authority_of(
        f"{URL}?ssl_ca_certs={make_certificates(tmp_path / 'other') / 'ca.crt'}", FarmSettings()
    )
    store_authority(other, tmp_path)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        Redis.from_url(trusting_url(url, tmp_path)).ping()

    store_authority("", tmp_path)
    assert trusting_url(url, tmp_path) == url


@pytest.mark.parametrize("text", ["no base64!", "YWJj"])
def test_a_token_with_a_damaged_certificate_is_refused_and_changes_nothing(
    text: str, certificates: Path, tmp_path: Path
) -> None:
    _, authority = authority_of(f"{URL}?ssl_ca_certs={certificates / 'ca.crt'}", FarmSettings())
    store_authority(authority, tmp_path)
    before = trusting_url(URL, tmp_path)
    with pytest.raises(MessageRejected, match="copy it again"):
        store_authority(text, tmp_path)
    assert trusting_url(URL, tmp_path) == before
