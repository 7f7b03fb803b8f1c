"""Compact encoding: the primitive encodings that every message is made of.

Format: holepunchto/compact-encoding index.js (3.5.2). All integers little endian, lengths as `uint`.
"""

from .reader import MAX_SAFE_INTEGER, Reader
from .writer import Writer, encode_uint

__all__ = ["MAX_SAFE_INTEGER", "Reader", "Writer", "encode_uint"]
