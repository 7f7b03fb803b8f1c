"""Prove a block to a program that knows only the key of the core. No network, no event loop."""

from hypercore import Core, Data, KeyPair, Request, RequestBlock, memory_store, verify_standalone
from hypercore.codec import Reader, Writer
from hypercore.errors import VerificationError
from hypercore.wire.request import RequestUpgrade


def prove(core: Core, index: int) -> bytes:
    """The message that proves a block: its bytes, the hashes between it and the roots, the signature."""
    upgrade = RequestUpgrade(0, core.length)
    request = Request(id=1, fork=core.fork, block=RequestBlock(index, 0), upgrade=upgrade, manifest=True)
    message = Writer()
    core.prove(request).encode(message)
    return bytes(message)


def check(proof: bytes, key: bytes) -> tuple[int, bytes] | None:
    """The number and content of the block, None if the holder of `key` has not signed it."""
    try:
        return verify_standalone(Data.decode(Reader(proof)), key, None).block
    except VerificationError as error:
        print(f"refused: {error}")
        return None


def main() -> None:
    key_pair = KeyPair.from_seed(bytes(32))
    core = memory_store().create_core(key_pair)
    core.append([f"line {number}".encode() for number in range(1000)], key_pair)

    proof = prove(core, 617)
    print(f"{len(proof)} bytes prove block", *check(proof, core.key) or ())
    check(proof.replace(b"line 617", b"line 618"), core.key)
    check(proof, key=bytes(32))


if __name__ == "__main__":
    main()
