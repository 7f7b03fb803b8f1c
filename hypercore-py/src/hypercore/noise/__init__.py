"""The Noise handshakes of the Hypercore world, on Ed25519 keys: IK (through the DHT) and XX (in a stream).

Suite: `Noise_<pattern>_Ed25519_ChaChaPoly_BLAKE2b` (holepunchto/noise-handshake noise.js 4.2.0,
noise-curve-ed index.js 2.1.0).
"""

from .handshake import MAX_MESSAGE_BYTES, Handshake, HandshakeResult

__all__ = ["MAX_MESSAGE_BYTES", "Handshake", "HandshakeResult"]
