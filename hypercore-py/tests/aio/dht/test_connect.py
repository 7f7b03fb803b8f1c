"""Whom a dial asks, and how long it takes, on a loop whose clock jumps to the next timer."""

import asyncio
from random import Random
from types import SimpleNamespace

import pytest

from hypercore.aio.dht.connect import ConnectAttempt
from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Mode
from hypercore.dht.messages import Handshake, NoisePayload, UdxInfo
from hypercore.dht.network_profile import NetworkProfile
from hypercore.dht.noise import ServerHandshake
from hypercore.errors import PeerUnreachable

SERVER, CLIENT = KeyPair.from_seed(b"\x01" * 32), KeyPair.from_seed(b"\x02" * 32)
RELAYS = tuple(Address(f"77.0.0.{n}", 49737) for n in range(1, 7))
TIMEOUT = 4.0
"""A request that is not answered: four attempts of a second."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """No time passes but the waits of its timers."""

    now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


class Context:
    """What a dial needs of a node, and its client. `answering` are relays that reach the server."""

    def __init__(self, loop, answering=()):
        self.rng = Random(1)
        self.loop = loop
        self.endpoint = SimpleNamespace(loop=loop)
        self.create_stream = lambda accept: self.stream
        self.stream = SimpleNamespace(local_id=7, pause_reading=lambda: None, destroy=lambda error=None: None)
        self.answering = answering
        self.asked = []
        self.spawn = loop.create_task
        self.client = self

    def profile(self):
        return NetworkProfile()

    async def run_query(self, make):
        """A search that finds no peer, after a while."""
        await asyncio.sleep(1.0)

    async def request(self, outgoing):
        address = outgoing.to
        self.asked.append((address, self.loop.time()))
        if address not in self.answering:
            await asyncio.sleep(TIMEOUT)
            return None
        await asyncio.sleep(0.05)
        handshake = ServerHandshake(SERVER, self.rng.randbytes)
        handshake.read(Handshake.decode(outgoing.value).noise)
        noise, _ = handshake.write(NoisePayload(udx=UdxInfo(9), secret_stream=1))
        answer = Handshake(mode=Mode.REPLY, noise=noise, peer_address=Address("88.0.0.1", 1)).encode()
        return SimpleNamespace(value=answer, source=address, to=Address("99.0.0.1", 1))


def dial(relays, answering=()):
    """Shake hands over known relays. Returns the node, and when it was decided."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        node = Context(runner.get_loop(), answering)

        async def act():
            attempt = ConnectAttempt(node, SERVER.public_key, CLIENT, relays, lan=False, fast_open=False)
            attempt._request = attempt._first_message(7)
            try:
                return await attempt._do_handshake()
            finally:
                attempt._contact.cancel()
                attempt._path.cancel()

        try:
            return node, runner.run(act()), node.loop.now
        except PeerUnreachable:
            return node, None, node.loop.now


def test_peer_that_is_gone_is_given_up_after_one_time_out():
    node, contact, took = dial(RELAYS[:3])
    assert contact is None
    assert TIMEOUT <= took < TIMEOUT + 1
    assert [address for address, _ in node.asked] == list(RELAYS[:3])


def test_relay_that_answers_is_asked_alone():
    node, contact, took = dial(RELAYS[:3], RELAYS)
    assert contact.relay == RELAYS[0] and took < 0.1
    assert len(node.asked) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_relay_behind_dead_ones_is_reached_in_a_moment(number):
    _, contact, took = dial(RELAYS[:3], RELAYS[number : number + 1])
    assert contact.relay == RELAYS[number]
    assert took < 0.3 * number


def test_known_relays_are_asked_a_few_at_a_time():
    node, _, took = dial(RELAYS)
    assert sum(at < TIMEOUT for _, at in node.asked) == 4
    assert {address for address, _ in node.asked} == set(RELAYS)
    assert took < 2 * TIMEOUT + 1
