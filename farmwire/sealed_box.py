"""Sealed boxes for the owner of an Ed25519 key, which is what node ids are.

Envelopes prove the sender of a message; the broker and every client with its password can read it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519, crypto_sign_ed25519_sk_to_curve25519
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from hypercore.crypto import KeyPair

from .envelope import public_key_of
from .rejection import MessageRejected, RejectReason


def encrypt(text: str, *, reader: str) -> str:
    """Encrypt `text` for the node `reader`, in base64. Raises KeyFormatError."""
    key = PublicKey(crypto_sign_ed25519_pk_to_curve25519(public_key_of(reader)))
    return b64encode(SealedBox(key).encrypt(text.encode())).decode()


def decrypt(hidden: str, key_pair: KeyPair) -> str:
    """Decrypt what `encrypt` encrypted for this node. Raises MessageRejected (MALFORMED)."""
    key = PrivateKey(crypto_sign_ed25519_sk_to_curve25519(key_pair.secret_key))
    try:
        return SealedBox(key).decrypt(b64decode(hidden, validate=True)).decode()
    except (CryptoError, ValueError):
        raise MessageRejected(
            RejectReason.MALFORMED, "a secret in it is encrypted for another node, or damaged"
        ) from None
