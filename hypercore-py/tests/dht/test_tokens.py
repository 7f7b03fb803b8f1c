"""Tokens are good for a while, for one host."""

import random

from hypercore.crypto import blake2b_256
from hypercore.dht.tokens import ROTATION_SECONDS, TokenIssuer
from support.dht_vectors import load, unhex


def _issuer():
    return TokenIssuer(random.Random(1).randbytes, 0.0)


def test_token_has_the_official_construction():
    vector = next(v for v in load("hashes") if v["name"] == "dht-rpc token")
    secret = unhex(vector["inputs"]["secret"])
    issuer = TokenIssuer(lambda size: secret, 0.0)
    assert issuer.issue(vector["inputs"]["host"], 0.0).hex() == vector["output"]
    assert blake2b_256(b"127.0.0.1", key=secret).hex() == vector["output"]


def test_token_is_good_for_one_to_two_rotations():
    issuer = _issuer()
    token = issuer.issue("1.2.3.4", 0.0)
    for now in (0.0, ROTATION_SECONDS - 0.1, ROTATION_SECONDS + 0.1, 2 * ROTATION_SECONDS - 0.1):
        assert issuer.accepts(token, "1.2.3.4", now)
    assert not issuer.accepts(token, "1.2.3.4", 2 * ROTATION_SECONDS)


def test_token_of_another_host_is_refused():
    issuer = _issuer()
    assert not issuer.accepts(issuer.issue("1.2.3.4", 0.0), "1.2.3.5", 0.0)
    assert not issuer.accepts(b"", "1.2.3.4", 0.0)


def test_old_token_is_refused_after_a_long_silence():
    issuer = _issuer()
    token = issuer.issue("1.2.3.4", 0.0)
    assert not issuer.accepts(token, "1.2.3.4", 1000.0)
    assert issuer.accepts(issuer.issue("1.2.3.4", 1000.0), "1.2.3.4", 1001.0)
