"""UDX: reliable, congestion-controlled streams over UDP, as a machine without sockets or clock.

Source: holepunchto/libudx (a9af5de) and udx-native (1.21.3); transport.md a. `UdxStream` is one end of a
stream.
"""

from .bursts import Burst
from .events import Closed, Data, Drained, Ended, Event, Message, RemoteChanged
from .packet import Packet
from .stream import UdxStream
from .time_wait import TimeWait

__all__ = [
    "Burst",
    "Closed",
    "Data",
    "Drained",
    "Ended",
    "Event",
    "Message",
    "Packet",
    "RemoteChanged",
    "TimeWait",
    "UdxStream",
]
