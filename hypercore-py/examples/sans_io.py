"""Replicate a core without sockets, tasks or clocks: bytes and the time go in, bytes and events come out."""

from hypercore import KeyPair, Muxer, Replicator, memory_store


def main() -> None:
    key_pair = KeyPair.from_seed(bytes(32))
    origin = memory_store()
    source = origin.create_core(key_pair)
    source.append([b"hello", b"world"], key_pair)
    origin.flush()  # peers see only what a crash cannot take away
    copy = memory_store().open_core(source.key)
    assert copy is not None

    ours, theirs = (Muxer(is_initiator=side, handshake_hash=bytes(64)) for side in (True, False))
    replicators = Replicator(copy), Replicator(source)
    now = 0.0  # seconds on any clock
    replicators[0].attach(ours, now)
    replicators[1].attach(theirs, now)

    while not (copy.length and copy.complete):
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            for message in sender.take_output(now):  # bytes, for any transport that keeps messages whole
                receiver.receive(message, now)
        for replicator in replicators:
            while (event := replicator.next_event()) is not None:
                print(f"{now:.2f}", event)
            deadline = replicator.next_deadline()
            if deadline is not None and deadline <= now:
                replicator.handle_timer(now)
        now += 0.01
    print([copy.get(index) for index in range(copy.length)])


if __name__ == "__main__":
    main()
