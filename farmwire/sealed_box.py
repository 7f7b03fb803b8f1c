"""What only its reader may see: a sealed box for the owner of an Ed25519 key, which is what node ids are.

Envelopes say who wrote something, not that nobody else has read it: the broker and whoever has its password
see every message.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519, crypto_sign_ed25519_sk_to_curve25519
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from hypercore.crypto import KeyPair

from .envelope import public_key_of
from .rejection import MessageRejected, Reason


def hide(text: str, *, reader: str) -> str:
    """`text`, for the node `reader` alone, in base64. Raises KeyFormatError."""
    key = PublicKey(crypto_sign_ed25519_pk_to_curve25519(public_key_of(reader)))
    return b64encode(SealedBox(key).encrypt(text.encode())).decode()


def reveal(hidden: str, key_pair: KeyPair) -> str:
    """The reverse, by that node. Raises Refused(MALFORMED) for what is not meant for it."""
    key = PrivateKey(crypto_sign_ed25519_sk_to_curve25519(key_pair.secret_key))
    try:
        return SealedBox(key).decrypt(b64decode(hidden, validate=True)).decode()
    except (CryptoError, ValueError):
        raise MessageRejected(
            Reason.MALFORMED, "a secret in it is hidden for somebody else, or damaged"
        ) from None
