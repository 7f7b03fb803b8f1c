"""Reads many datagrams at a wake-up: one `recvmmsg` for a batch, or a loop of `recvmsg`.

Python has no `recvmmsg`; it is called through cffi, a dependency of PyNaCl. With UDP_GRO one slot may hold a
train of equal datagrams from one sender, so a slot has room for the largest datagram. Pages of the buffer
that are never written to cost no memory.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from struct import Struct, calcsize, unpack_from
from typing import Any, Protocol

SLOTS = 64
"""Most datagrams, or trains of datagrams, in one batch."""

SLOTS_FOR_TRAINS = 12
"""Slots used while batches consist of long trains, so that a batch stays below a megabyte."""

SLOT_BYTES = 65536
"""Room for a UDP payload of any size, in bytes."""

SOL_UDP = 17
UDP_GRO = 104

Address = tuple[str, int]
Place = tuple[int, int]
"""Start and end of a datagram in the buffer."""

Source = bytes
"""Source of a datagram in the kernel's form: port and host, 6 bytes in network order."""

SLOT_SHIFT = 16
"""A place's slot is its start shifted right by so many bits."""

_STARTS = [index * SLOT_BYTES for index in range(SLOTS)]
_GRO_CONTROL_BYTES = socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0


class BatchReader(Protocol):
    """Fills `buffer` with a batch of datagrams. The next `read` overwrites them."""

    buffer: bytearray
    sources: Sequence[Source]
    """Source of the datagram or train in each slot of the last batch."""
    received: int
    """Bytes of all datagrams so far."""

    def read(self, sock: socket.socket) -> list[Place]:
        """The datagrams that have arrived, at most SLOTS datagrams or trains; empty when there are none."""

    def address(self, start: int) -> Address:
        """Source of the datagram at `start` in the last batch."""


def source_of(address: Address) -> Source:
    """`Source` of datagrams from `address`; empty, which no datagram has, if its host is not IPv4."""
    try:
        return address[1].to_bytes(2, "big") + socket.inet_aton(address[0])
    except (OSError, OverflowError):
        return b""


class RecvmsgReader:
    """A system call for each datagram. Works everywhere."""

    def __init__(self) -> None:
        self.buffer = bytearray(SLOTS * SLOT_BYTES)
        self._view = memoryview(self.buffer)
        self._addresses: list[Address] = []
        self._sources: list[Source] = []
        self.sources: Sequence[Source] = self._sources
        self.received = 0

    def read(self, sock: socket.socket) -> list[Place]:
        places: list[Place] = []
        self._addresses.clear()
        self._sources.clear()
        for start in _STARTS[:SLOTS_FOR_TRAINS]:
            slot = self._view[start : start + SLOT_BYTES]
            try:
                size, control, _, address = sock.recvmsg_into([slot], _GRO_CONTROL_BYTES)
            except OSError:  # no datagram, or the error of an earlier send
                break
            self.received += size
            if control:
                places += _split_gro(start, start + size, unpack_from("i", control[0][2])[0])
            else:
                places.append((start, start + size))
            self._addresses.append((address[0], address[1]))
            self._sources.append(source_of((address[0], address[1])))
        return places

    def address(self, start: int) -> Address:
        return self._addresses[start // SLOT_BYTES]


_DECLARATIONS = """
struct iovec { void *iov_base; size_t iov_len; };
struct msghdr { void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
                void *msg_control; size_t msg_controllen; int msg_flags; };
struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
struct gro_control { size_t length; int level; int type; int size; int padding; };
int recvmmsg(int, struct mmsghdr *, unsigned int, int, void *);
"""
_NAME_BYTES = 16  # struct sockaddr_in


@cache
def _load() -> tuple[Any, Any]:
    """cffi and the C library. Raises ImportError, OSError or AttributeError where there is no `recvmmsg`."""
    ffi = import_module("cffi").FFI()
    ffi.cdef(_DECLARATIONS)
    library = ffi.dlopen(None)
    _ = library.recvmmsg
    return ffi, library


class MmsgReader:
    """One system call for a batch. IPv4 sockets only, Linux only."""

    def __init__(self) -> None:
        ffi, library = _load()
        self.buffer = bytearray(SLOTS * SLOT_BYTES)
        self._ffi = ffi
        self._slots = SLOTS
        self._recvmmsg = library.recvmmsg
        self._headers = ffi.new("struct mmsghdr[]", SLOTS)
        self._names = ffi.new("char[]", SLOTS * _NAME_BYTES)
        self._controls = ffi.new("struct gro_control[]", SLOTS)
        self._vectors = ffi.new("struct iovec[]", SLOTS)
        base = ffi.from_buffer(self.buffer)
        for index in range(SLOTS):
            self._vectors[index].iov_base = base + index * SLOT_BYTES
            self._vectors[index].iov_len = SLOT_BYTES
            header = self._headers[index].msg_hdr
            header.msg_name = self._names + index * _NAME_BYTES
            header.msg_namelen = _NAME_BYTES
            header.msg_iov = self._vectors + index
            header.msg_iovlen = 1
            header.msg_control = self._controls + index
            header.msg_controllen = ffi.sizeof("struct gro_control")
        # The kernel writes lengths into the headers; copying the originals back is cheaper than setting
        # fields.
        self._pristine = ffi.new("struct mmsghdr[]", SLOTS)
        self._header_bytes = ffi.sizeof("struct mmsghdr")
        ffi.memmove(self._pristine, self._headers, SLOTS * self._header_bytes)
        self._raw_headers = memoryview(ffi.buffer(self._headers))
        self._raw_controls = memoryview(ffi.buffer(self._controls))
        self._raw_names = memoryview(ffi.buffer(self._names))
        one = _fields(
            self._header_bytes,
            (ffi.offsetof("struct mmsghdr", "msg_hdr", "msg_controllen"), calcsize("N")),
            (ffi.offsetof("struct mmsghdr", "msg_len"), 4),
        )
        self._unpack_headers = [Struct("=" + one * count).unpack_from for count in range(SLOTS + 1)]
        one = _fields(ffi.sizeof("struct gro_control"), (ffi.offsetof("struct gro_control", "size"), 4))
        self._unpack_sources = [Struct("2x6s8x" * count).unpack_from for count in range(SLOTS + 1)]
        self.sources: Sequence[Source] = ()
        self.received = 0
        self._unpack_controls = [Struct("=" + one * count).unpack_from for count in range(SLOTS + 1)]

    def read(self, sock: socket.socket) -> list[Place]:
        count = self._recvmmsg(sock.fileno(), self._headers, self._slots, 0, self._ffi.NULL)
        if count <= 0:
            return []
        self._slots = SLOTS
        self.sources = self._unpack_sources[count](self._raw_names)
        fields = self._unpack_headers[count](self._raw_headers)
        sizes = fields[1::2]
        self.received += sum(sizes)
        places = [(start, start + size) for start, size in zip(_STARTS, sizes, strict=False)]
        if any(fields[::2]):
            self._slots = SLOTS_FOR_TRAINS
            segments = self._unpack_controls[count](self._raw_controls)
            whole, places = places, []
            for (start, end), control, segment in zip(whole, fields[::2], segments, strict=True):
                places += _split_gro(start, end, segment) if control else [(start, end)]
        self._ffi.memmove(self._headers, self._pristine, count * self._header_bytes)
        return places

    def address(self, start: int) -> Address:
        index = start // SLOT_BYTES
        name = self._raw_names[index * _NAME_BYTES : (index + 1) * _NAME_BYTES]
        return socket.inet_ntoa(name[4:8]), int.from_bytes(name[2:4], "big")


def _split_gro(start: int, end: int, segment: int) -> list[Place]:
    """The datagrams of a train: all but the last have `segment` bytes."""
    places = [(at, at + segment) for at in range(start, end, max(segment, 1))]
    if places:
        places[-1] = (places[-1][0], end)
    return places


def _fields(size: int, *fields: tuple[int, int]) -> str:
    """A struct format of `size` bytes that picks out the unsigned integers at (offset, width)."""
    code, at = "", 0
    for offset, width in fields:
        code += f"{offset - at}x{'Q' if width == 8 else 'I'}"
        at = offset + width
    return f"{code}{size - at}x"


def new_reader(*, mmsg: bool = True) -> BatchReader:
    """The fastest reader that this system supports."""
    if mmsg:
        try:
            return MmsgReader()
        except (ImportError, OSError, AttributeError):
            pass
    return RecvmsgReader()
