"""Protomux: many channels on one stream of messages, as a state machine without I/O.

Format and rules: holepunchto/protomux index.js (3.12.1).
"""

from .channel import Channel, ChannelHandler, CloseReason, Frame
from .outbox import HIGH_WATER_BYTES, MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from .protomux import MAX_QUEUED_REJECTS, Muxer
from .protomux import OpenHandler as OpenHandler
from .undecided import MAX_BUFFERED_BYTES, MAX_PENDING_OPENS, PAUSE_BUFFERED_BYTES, UndecidedBudget

__all__ = [
    "HIGH_WATER_BYTES",
    "MAX_BATCH_BYTES",
    "MAX_BUFFERED_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_PENDING_OPENS",
    "MAX_QUEUED_REJECTS",
    "PAUSE_BUFFERED_BYTES",
    "Channel",
    "ChannelHandler",
    "CloseReason",
    "Frame",
    "Muxer",
    "OpenHandler",
    "UndecidedBudget",
]
