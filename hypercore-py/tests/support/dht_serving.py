"""A server core and clients of it, without a network."""

import random

from hypercore.crypto import KeyPair
from hypercore.dht.address import Address
from hypercore.dht.constants import Firewall
from hypercore.dht.messages import (
    HolepunchPayload,
    NoisePayload,
    RelayInfo,
    SecurePayload,
    UdxInfo,
)
from hypercore.dht.network_profile import NetworkProfile
from hypercore.dht.noise import ClientHandshake, holepunch_secret
from hypercore.dht.relays import AnnouncedRelays
from hypercore.dht.server_core import (
    Answered,
    ServerCore,
)

SERVER = KeyPair.from_seed(b"\x01" * 32)
CLIENT = KeyPair.from_seed(b"\x02" * 32)
PUBLIC = Address("90.0.0.1", 49737)
CLIENT_AT = Address("91.0.0.1", 5000)
RELAY = Address("77.0.0.1", 49737)
OTHER_RELAY = Address("77.0.0.2", 49737)


class From:
    """An inbound request, as far as a server looks at it."""

    def __init__(self, source):
        self.source = source


class Server:
    def __init__(self, *, firewall=None, around=None, **options):
        self.rng = random.Random(5)
        self.around = around or NetworkProfile(
            local=(Address("192.168.1.2", 49737),), firewall=Firewall.CONSISTENT, seen=(PUBLIC,)
        )
        self.relays = AnnouncedRelays()
        self.relays.replace([RelayInfo(RELAY, PUBLIC)])
        self.opened = []
        self.core = ServerCore(
            SERVER,
            relays=self.relays,
            profile=lambda: self.around,
            open_stream=self.open_stream,
            random_bytes=self.rng.randbytes,
            firewall=firewall,
            **options,
        )

    def open_stream(self, session):
        self.opened.append(session)
        return 1000 + len(self.opened)

    def events(self):
        """What has happened, answers to handshakes left out."""
        return [event for event in iter(self.core.next_event, None) if not isinstance(event, Answered)]


class Client:
    """Makes Noise messages and hole-punch payloads like an official client."""

    def __init__(self, server, seed=1, key_pair=CLIENT, **payload):
        self.server = server
        self.random = random.Random(seed).randbytes
        self.handshake = ClientHandshake(key_pair, SERVER.public_key, self.random)
        fields = {"udx": UdxInfo(77), "secret_stream": 1} | payload
        self.noise = self.handshake.write(NoisePayload(**fields))
        self.payload = self.result = self.box = None

    def shake(self, now=0.0, relay=RELAY, direct=False):
        """Send the handshake; returns the reply's bytes."""
        source = CLIENT_AT if direct else relay
        reply = self.server.core.handshake(self.noise, CLIENT_AT, From(source), now, direct=direct)
        if reply is not None:
            self.payload, self.result = self.handshake.read(reply)
            self.box = SecurePayload(holepunch_secret(self.result.hash), self.random)
        return reply

    def punch(self, now=0.0, relay=RELAY, client=CLIENT_AT, **fields):
        """Send a hole-punch message; returns the payload of the answer, or None."""
        answer = self.server.core.holepunch(
            self.payload.holepunch.id, self.box.seal(HolepunchPayload(**fields)), client, From(relay), now
        )
        return None if answer is None else self.box.open(answer)


def _shaken(**options):
    server = Server(**options)
    client = Client(server)
    assert client.shake() is not None
    return server, client
