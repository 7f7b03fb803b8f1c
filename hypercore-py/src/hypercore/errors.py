"""The errors of the library.

One rule runs through the library: **bytes from a peer can raise only `RemoteProtocolError`** (or a subclass).
Any other exception of a parser or state machine from remote bytes is a bug, and the fuzz tests treat it as
one.

Each class has a stable `code`, which equals that of the official JavaScript where one exists.
"""

from __future__ import annotations

from typing import ClassVar


class HypercoreError(Exception):
    """Base of all errors of this library."""

    code: ClassVar[str] = "HYPERCORE_ERROR"


class KeyFormatError(HypercoreError, ValueError):
    """A key given by a person or a file has no known form."""

    code = "INVALID_KEY"


# --- protocol -----------------------------------------------------------------------------------------------


class ProtocolError(HypercoreError):
    """Base of errors in messages on the wire. Raise one of its two children."""

    code = "PROTOCOL_ERROR"


class LocalProtocolError(ProtocolError):
    """The caller used a protocol object wrongly."""

    code = "LOCAL_PROTOCOL_ERROR"


class RemoteProtocolError(ProtocolError):
    """The peer violated the protocol."""

    code = "REMOTE_PROTOCOL_ERROR"


class FrameDecodeError(RemoteProtocolError):
    """Bytes of the peer do not decode as the message they claim to be."""

    code = "DECODING_ERROR"


class HandshakeError(RemoteProtocolError):
    """A Noise or secret-stream handshake of the peer is invalid."""

    code = "HANDSHAKE_FAILED"


class InvalidCapability(RemoteProtocolError):
    """The peer opened a core whose key it does not know."""

    code = "INVALID_CAPABILITY"


class InvalidRequest(RemoteProtocolError):
    """The peer requested a proof that does not exist.

    Official: INVALID_OPERATION, answered by noData with reason 2.
    """

    code = "INVALID_REQUEST"


class VerificationError(RemoteProtocolError):
    """Data of the peer does not verify. Base of the three below."""

    code = "VERIFICATION_ERROR"


class InvalidProof(VerificationError):
    """A node is missing, surplus or in the wrong place (official: INVALID_OPERATION / INVALID_PROOF)."""

    code = "INVALID_PROOF"


class InvalidChecksum(VerificationError):
    """The hash of the data differs from that in the tree."""

    code = "INVALID_CHECKSUM"


class InvalidSignature(VerificationError):
    """The signature of a tree head is invalid, or the manifest is not the key's."""

    code = "INVALID_SIGNATURE"


# --- content ------------------------------------------------------------------------------------------------


class InvalidContent(RemoteProtocolError):
    """Verified blocks of the publisher are no valid bee, drive or blob."""

    code = "INVALID_CONTENT"


class EntryNotFound(HypercoreError):
    """The drive has no such file or folder."""

    code = "ENTRY_NOT_FOUND"


class InvalidPath(HypercoreError, ValueError):
    """A path given by a person or a program cannot name anything in a drive."""

    code = "INVALID_PATH"


class SnapshotNotAvailable(HypercoreError):
    """The writer truncated the core while it was being read. Start over.

    Official: SNAPSHOT_NOT_AVAILABLE.
    """

    code = "SNAPSHOT_NOT_AVAILABLE"


# --- storage ------------------------------------------------------------------------------------------------


class StorageError(HypercoreError):
    """A disk operation failed. Base of the ones below."""

    code = "STORAGE_ERROR"


class StoreLocked(StorageError):
    """Another process has this data directory open."""

    code = "STORAGE_LOCKED"


class StoreFull(StorageError):
    """No space left. Data acknowledged before is intact."""

    code = "STORAGE_FULL"


class StoreReadOnly(StorageError):
    """The file system is read-only. Stored data can be read."""

    code = "STORAGE_READ_ONLY"


class StoreUnreadable(StorageError):
    """The data directory is foreign, of a newer format, or not accessible."""

    code = "STORAGE_UNREADABLE"


class BlockNotAvailable(HypercoreError):
    """The block is not stored here (official: BLOCK_NOT_AVAILABLE)."""

    code = "BLOCK_NOT_AVAILABLE"


# --- network ------------------------------------------------------------------------------------------------


class ConnectionClosed(HypercoreError):
    """The connection is closed."""

    code = "CONNECTION_CLOSED"


class StreamReset(ConnectionClosed):
    """The peer destroyed the stream that carries the connection."""

    code = "ECONNRESET"


class StreamTimedOut(ConnectionClosed):
    """The peer did not acknowledge within the timeouts."""

    code = "ETIMEDOUT"


class PeerUnreachable(HypercoreError):
    """The peer could not be reached."""

    code = "PEER_CONNECTION_FAILED"


class PeerNotFound(PeerUnreachable):
    """No node of the DHT knows the peer."""

    code = "PEER_NOT_FOUND"
