"""One UDX stream: bytes and packets in, packets, events and a deadline out.

Source: libudx src/udx.c (a9af5de); the rules of a receiver are transport.md a.4, those of closing a.5. Ids
and addresses are agreed elsewhere, so there is no handshake: a stream may receive before it is connected,
but sends nothing until then.
"""

from __future__ import annotations

from collections import deque

from .._types import Buffer
from ..errors import ConnectionClosed, LocalProtocolError, StreamReset, StreamTimedOut
from .bursts import Burst, data_burst
from .events import Closed, Data, Drained, Ended, Event, Message, RemoteChanged
from .heartbeat import Heartbeat
from .limits import PAYLOAD_BYTES, RECEIVE_WINDOW_BYTES
from .memory import ReceiveMemory
from .packet import (
    FLAG_DATA,
    FLAG_DESTROY,
    FLAG_END,
    FLAG_HEARTBEAT,
    FLAG_MESSAGE,
    FLAG_SACK,
    HEADER_BYTES,
    SEQUENCE_MASK,
    RawPacket,
    decode_sacks,
    encode_sacks,
    first_word,
    pack_header,
    sequence_distance,
)
from .reassembly import Reassembly
from .sender import PacketBatch, Sender
from .time_wait import TimeWait
from .window import WindowTuner

MAX_QUEUED_MESSAGES = 256
"""Unordered messages that wait to be sent; further ones are dropped."""

_STATE = first_word(0)
_DATA = first_word(FLAG_DATA)
_SACK = first_word(FLAG_SACK)
_MESSAGE = first_word(FLAG_MESSAGE)
_END = first_word(FLAG_END)
_DESTROY = first_word(FLAG_DESTROY)
_HEARTBEAT = first_word(FLAG_HEARTBEAT)


class UdxStream:
    """One end of a stream. Times are seconds of any monotonic clock.

    `initial_seq` and `initial_ack` are the numbers of the first packet each way. `heartbeat` is the number of
    idle seconds after which a stream sends a heartbeat. `cycle_offset` should differ between streams (any
    integer). `memory` is shared with the other streams of an endpoint.
    """

    def __init__(
        self,
        now: float,
        *,
        initial_seq: int = 0,
        initial_ack: int = 0,
        heartbeat: float | None = None,
        cycle_offset: int = 0,
        memory: ReceiveMemory | None = None,
    ) -> None:
        self.remote_id: int | None = None
        self.closed = False
        self.bytes_in = 0
        """Payload bytes received in order."""
        self._sender = Sender(now, initial_seq, initial_ack, cycle_offset=cycle_offset)
        self._incoming = Reassembly(initial_ack, memory)
        self._tuner = WindowTuner()
        self._events: deque[Event] = deque()
        self._messages: deque[bytes] = deque()
        self._ack_due = False
        self._destroy_due = False
        self._destroyed = False
        self._paused = False
        self._offered = RECEIVE_WINDOW_BYTES  # the window in the last packet sent
        self._drain_due = False
        self._end_emitted = False
        self._switch_seq: int | None = None
        # Acknowledgements of the current batch.
        self._batch_ack = initial_seq
        self._batch_sacks: list[tuple[int, int]] = []
        self._heartbeat = Heartbeat(heartbeat, now)

    # --- the application's side ---------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the peer's stream id is known."""
        return self.remote_id is not None

    @property
    def rtt(self) -> float:
        """The smoothed round trip in seconds, 0 before any sample."""
        return self._sender.rtt.smoothed

    @property
    def send_queue_bytes(self) -> int:
        """Bytes written and not yet sent for the first time."""
        return self._sender.queue.size

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent and not acknowledged, about."""
        return self._sender.in_flight_bytes

    @property
    def writable(self) -> bool:
        """Whether a writer may continue. After False, `Drained` is emitted when it may.

        It does not depend on the queue alone, whose bound falls with the congestion window: otherwise a
        writer could wait for an event that never comes.
        """
        return not self._drain_due

    @property
    def sender(self) -> Sender:
        """The sending half, to read its counters and limits."""
        return self._sender

    @property
    def owes_ack(self) -> bool:
        """Whether an acknowledgement is due."""
        return self._ack_due

    @property
    def has_gaps(self) -> bool:
        """Whether packets are missing between those that have arrived."""
        return self._incoming.has_gaps

    def on_rx_dropped(self, capacity: int, now: float) -> None:
        """The kernel dropped datagrams of our socket, whose buffer holds about `capacity` bytes."""
        self._tuner.on_rx_dropped(capacity, now)

    def connect(self, remote_id: int, *, budget: int | None = None, timeout_budget: int = 0) -> None:
        """Set the peer's id: written bytes are sent from now on, and received packets acknowledged.

        `budget` bounds the bytes of UDP payload sent to an address before it acknowledges any;
        `timeout_budget` is added at each retransmission timeout until then.
        """
        if self.remote_id is not None:
            raise LocalProtocolError("the stream is connected already")
        self.remote_id = remote_id
        self._sender.restrict(budget, timeout_budget)

    def change_remote(self, remote_id: int) -> None:
        """Send packets, also repeated ones, to another id. `RemoteChanged` follows when all packets sent
        before have arrived."""
        if self.remote_id is None:
            raise LocalProtocolError("the stream is not connected")
        self.remote_id = remote_id
        flight = self._sender.flight
        if flight.outstanding:
            self._switch_seq = flight.next_seq
        else:
            self._events.append(RemoteChanged())

    def write(self, data: Buffer) -> bool:
        """Queue bytes, which are not copied and must not change. False: wait for `Drained` before more."""
        if self._sender.ending or self.closed:
            raise LocalProtocolError("the stream was ended")
        sender = self._sender
        sender.write(data)
        if sender.queue.size > sender.high_water:
            self._drain_due = True
        return not self._drain_due

    def end(self) -> None:
        """No more writes. The stream closes once both sides have ended and everything has arrived."""
        if not self.closed:
            self._sender.end()

    def destroy(self, error: ConnectionClosed | None = None) -> None:
        """End the stream at once; one packet notifies the peer."""
        if self.closed:
            return
        self._destroyed = True
        self._destroy_due = self.connected
        self._close(error)

    def send_message(self, payload: bytes) -> bool:
        """Queues an unordered message of at most a packet. False when it was dropped."""
        if len(payload) > PAYLOAD_BYTES:
            raise LocalProtocolError(f"a message has at most {PAYLOAD_BYTES} bytes, not {len(payload)}")
        if self.closed or len(self._messages) >= MAX_QUEUED_MESSAGES:
            return False
        self._messages.append(payload)
        return True

    def pause(self) -> None:
        """Stop `Data` events. Received bytes are held, and the offered window shrinks by them."""
        self._paused = True

    def resume(self) -> None:
        """Deliver what was held, and announce the new window to the peer."""
        if not self._paused:
            return
        self._paused = False
        unread = self._incoming.take_unread()
        if unread and not self.closed:
            self._events.append(Data(unread))
        self._check_end()
        if self._offered < RECEIVE_WINDOW_BYTES // 2:
            self._ack_due = True

    # --- packets in ---------------------------------------------------------------------------------------

    def receive(self, packets: list[RawPacket], now: float) -> None:
        """Process packets with our stream id, in the order of arrival. Invalid ones are ignored."""
        if self.closed:
            return
        self._heartbeat.unanswered = 0
        chunks: list[Buffer] = []
        alive = self._receive_batch(packets, chunks)
        self._deliver(chunks, now)
        if not alive:
            self._close(StreamReset("the peer destroyed the stream"))
            return
        if self._batch_ack > self._sender.flight.una or self._batch_sacks:
            self._acknowledged(now)
        self._check_end()

    def receive_strays(self, packets: list[RawPacket], now: float) -> bool:
        """Use only the data of packets from another address than the peer's.

        Their acknowledgements are ignored: otherwise a peer could make us send to an address that does not
        receive. Returns whether the peer has moved there: it brought the next bytes, or repeats
        unacknowledged ones, or brought an unordered message.
        """
        if self.closed:
            return False
        chunks: list[Buffer] = []
        due = self._incoming.next_seq
        moved = False
        for (word, _, _, wire_seq, wire_ack), rest in packets:
            flags, offset = word >> 16 & 0xFF, word >> 24
            seq = self._incoming.next_seq + sequence_distance(self._incoming.next_seq, wire_seq)
            ack = self._sender.flight.una + sequence_distance(self._sender.flight.una, wire_ack)
            if offset > len(rest) or ack > self._sender.flight.next_seq:
                continue
            if flags & (FLAG_DATA | FLAG_END):
                self._ack_due = True
                if seq < self._incoming.next_seq:
                    moved = True
                else:
                    self._receive_data(seq, rest[offset:], flags, chunks)
            moved = moved or bool(flags & FLAG_MESSAGE)
        self._deliver(chunks, now)
        self._check_end()
        return moved or self._incoming.next_seq > due

    def _deliver(self, chunks: list[Buffer], now: float) -> None:
        if chunks:
            self.bytes_in += sum(map(len, chunks))
            self._tuner.on_data(now)
            self._events.append(Data(chunks))

    def _receive_batch(self, packets: list[RawPacket], chunks: list[Buffer]) -> bool:
        """Process packets; their acknowledgements are collected in `_batch_ack`. False if one destroys the
        stream."""
        sender, incoming = self._sender, self._incoming
        flight = sender.flight
        una = flight.una
        acked = una & SEQUENCE_MASK  # the highest acknowledgement so far, and its bound
        room = flight.next_seq - una
        simple = incoming.simple and not self._paused
        due = incoming.next_seq & SEQUENCE_MASK
        count = 0
        alive = True
        for (word, _, window, seq, ack), payload in packets:
            # The two most frequent kinds of packets, in their simple form.
            if window == sender.remote_window:
                if word == _DATA:
                    if simple and seq == due and ack == acked and payload:
                        chunks.append(payload)
                        due = due + 1 & SEQUENCE_MASK
                        count += 1
                        continue
                elif word == _STATE:
                    step = ack - acked & SEQUENCE_MASK
                    if step <= room:
                        acked = ack
                        room -= step
                    continue
            if count:
                incoming.skip(count)
                self._ack_due = True
                count = 0
            self._batch_ack = flight.next_seq - room
            alive = self._receive_one(word, window, seq, ack, payload, chunks)
            if not alive:
                break
            room = flight.next_seq - self._batch_ack
            acked = self._batch_ack & SEQUENCE_MASK
            simple = incoming.simple and not self._paused
            due = incoming.next_seq & SEQUENCE_MASK
        if count:
            incoming.skip(count)
            self._ack_due = True
        self._batch_ack = flight.next_seq - room
        return alive

    def _receive_one(
        self, word: int, window: int, wire_seq: int, wire_ack: int, rest: Buffer, chunks: list[Buffer]
    ) -> bool:
        """Process one packet, in the order of the rules. False if it destroys the stream."""
        flags, offset = word >> 16 & 0xFF, word >> 24
        if flags & FLAG_HEARTBEAT:
            self._ack_due = True
            return True
        if offset > len(rest):
            return True
        payload = rest[offset:]
        incoming, flight = self._incoming, self._sender.flight
        seq = incoming.next_seq + sequence_distance(incoming.next_seq, wire_seq)
        if seq >= incoming.next_seq:
            if flags & (FLAG_DATA | FLAG_END):
                self._receive_data(seq, payload, flags, chunks)
            if flags & FLAG_DESTROY:
                return False
        if flags & FLAG_MESSAGE:
            self._events.append(Message(bytes(payload)))
        ack = flight.una + sequence_distance(flight.una, wire_ack)
        if ack > flight.next_seq:
            return True
        self._sender.update_window(window, seq, ack)
        if ack >= flight.una and flags & FLAG_SACK:
            # Each SACK packet describes all that is missing, so the newest of a batch is enough.
            self._batch_sacks = flight.valid_ranges(decode_sacks(rest, offset))
        if flags & (FLAG_DATA | FLAG_END):
            self._ack_due = True
        self._batch_ack = max(ack, self._batch_ack)
        return True

    def _receive_data(self, seq: int, payload: Buffer, flags: int, chunks: list[Buffer]) -> None:
        if not flags & FLAG_DATA:
            payload = payload[:0]
        is_end = bool(flags & FLAG_END)
        if self._paused:
            self._incoming.hold(seq, payload, is_end=is_end)
        else:
            chunks += self._incoming.add_packet(seq, payload, is_end=is_end)

    def _acknowledged(self, now: float) -> None:
        sender = self._sender
        was_finished = sender.finished
        sender.acknowledge(self._batch_ack, self._batch_sacks, now)
        self._batch_sacks = []
        if self._switch_seq is not None and sender.flight.una >= self._switch_seq:
            self._switch_seq = None
            self._events.append(RemoteChanged())
        if sender.finished and not was_finished:
            self._ack_due = True  # the peer may have missed the last one
            self._heartbeat.hurry(now)

    def _check_end(self) -> None:
        incoming = self._incoming
        if incoming.finished and not self._end_emitted and not self._paused:
            self._end_emitted = True
            self._events.append(Ended())
        if self._end_emitted and self._sender.finished:
            self._close(None)

    # --- packets out --------------------------------------------------------------------------------------

    def take_output(self, now: float) -> Burst | None:
        """Datagrams that may be sent now; None if there are none."""
        if self.remote_id is None:
            return None
        budget = self._sender.budget
        if budget is not None and budget < HEADER_BYTES:
            return None
        if self._heartbeat.interval is not None:
            self._heartbeat.restart(now)
        if self.closed:
            return self._destroy_packet()
        if self._messages:
            payload = self._messages.popleft()
            size = HEADER_BYTES + len(payload)
            if budget is None or size <= budget:
                self._sender.spend(size)
                return Burst([self._header(_MESSAGE), payload], size, 1)
        outgoing = self._sender.transmit(now)
        if outgoing is not None:
            return self._data_burst(outgoing)
        self._maybe_drained()
        if self._heartbeat.due or self._sender.take_window_probe(now):
            self._heartbeat.due = False
            return self._control(_HEARTBEAT)
        if self._ack_due:
            return self._ack_burst()
        return None

    def _destroy_packet(self) -> Burst | None:
        if self._destroy_due:
            self._destroy_due = self._ack_due = False
            return self._control(_DESTROY)
        return self._ack_burst() if self._ack_due else None

    def _ack_burst(self) -> Burst:
        self._ack_due = False
        ranges = self._incoming.sack_ranges()
        if not ranges or self._sender.budget is not None:
            return self._control(_STATE)
        area = encode_sacks([(start & SEQUENCE_MASK, end & SEQUENCE_MASK) for start, end in ranges])
        return Burst([self._header(_SACK), area], HEADER_BYTES + len(area), 1)

    def _control(self, word: int) -> Burst:
        self._sender.spend(HEADER_BYTES)
        return Burst([self._header(word)], HEADER_BYTES, 1)

    def _header(self, word: int, seq: int | None = None) -> bytes:
        """`seq`: number of the packet, unless it is that of the next one with data."""
        window = self._window()
        seq = self._sender.flight.next_seq if seq is None else seq
        ack = self._incoming.next_seq & SEQUENCE_MASK
        return pack_header(word, self.remote_id, window, seq & SEQUENCE_MASK, ack)

    def _window(self) -> int:
        """The window to offer in the next packets."""
        window = min(self._incoming.window, self._tuner.limit)
        self._offered = window
        return window

    def _data_burst(self, outgoing: PacketBatch) -> Burst:
        window = self._window()
        if not self._incoming.has_gaps:
            self._ack_due = False  # data packets acknowledge as well, but cannot report gaps
        assert self.remote_id is not None
        return data_burst(outgoing, self.remote_id, window, self._incoming.next_seq & SEQUENCE_MASK)

    def _maybe_drained(self) -> None:
        if self._drain_due and self._sender.queue.size <= self._sender.high_water // 2:
            self._drain_due = False
            self._events.append(Drained())

    # --- time and events ----------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to call `handle_timer` at the latest, or None."""
        if self.closed or self.remote_id is None:
            return None
        deadline = self._sender.next_deadline()
        at = self._heartbeat.at
        return at if at is not None and (deadline is None or at < deadline) else deadline

    def handle_timer(self, now: float) -> None:
        """Handle timers that are due. Take output and events afterwards."""
        if self.closed:
            return
        sender = self._sender
        sender.handle_timer(now)
        if sender.timed_out:
            # A peer that has ended and got every byte may have left without waiting for our END.
            complete = self._incoming.finished and sender.only_end_is_missing
            self._close(None if complete else StreamTimedOut("the peer does not answer any more"))
        else:
            self._heartbeat.expire(now, counts=sender.finished)
            if self._heartbeat.given_up:
                self._close(StreamTimedOut("the peer does not answer any more"))

    def next_event(self) -> Event | None:
        """The next event, in order, or None."""
        return self._events.popleft() if self._events else None

    def time_wait(self) -> TimeWait | None:
        """The packet to repeat after the end; None if there is none."""
        if not self.closed or self.remote_id is None or self._sender.budget is not None:
            return None
        if self._destroyed:
            return TimeWait(self._header(_DESTROY), destroyed=True)
        if not self._incoming.finished or not (self._sender.finished or self._sender.only_end_is_missing):
            return None
        # A peer that has missed our END may still ask for it
        answer = self._header(_STATE) if self._sender.finished else self._header(_END, self._sender.end_seq)
        return TimeWait(answer, destroyed=False)

    def release(self) -> None:
        """Stop sending and release unsent and unacknowledged data. Call `time_wait` before."""
        self._sender.stop()

    def _close(self, error: ConnectionClosed | None) -> None:
        self.closed = True
        self._messages.clear()
        self._incoming.close()
        self._events.append(Closed(error))
