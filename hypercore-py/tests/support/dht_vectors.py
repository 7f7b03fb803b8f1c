"""Loading the golden vectors of the transport, and addresses as they are written in them."""

from hypercore.dht.address import Address

from .vectors import load as _load


def load(name):
    return _load(f"transport/{name}")


def params(vectors):
    """For parametrize: keyed by the vector's own name."""
    return {"argvalues": vectors, "ids": [v["name"] for v in vectors]}


def unhex(text):
    return None if text is None else bytes.fromhex(text)


def address(value):
    """`a.b.c.d:port`, `{host, port}` or null."""
    if value is None:
        return None
    if isinstance(value, str):
        host, _, port = value.rpartition(":")
        return Address(host, int(port))
    return Address(value["host"], value["port"])


def addresses(values):
    return tuple(map(address, values or ()))
