"""Secret stream: the encrypted message stream that runs over any ordered byte stream.

Source: holepunchto/hyperswarm-secret-stream index.js (6.9.2) and sodium-secretstream index.js (1.2.0).
"""

from .box import UnorderedBox
from .framing import MAX_FIRST_FRAME_BYTES, FrameParser
from .sodium import OVERHEAD_BYTES
from .stream import MAX_MESSAGE_BYTES, SecretStream, stream_id
from .xx import XXHandshake

__all__ = [
    "MAX_FIRST_FRAME_BYTES",
    "MAX_MESSAGE_BYTES",
    "OVERHEAD_BYTES",
    "FrameParser",
    "SecretStream",
    "UnorderedBox",
    "XXHandshake",
    "stream_id",
]
