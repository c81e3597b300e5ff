"""HPKE (RFC 9180), base mode, one message per encapsulation: X-Wing, HKDF-SHA256, AES-256-GCM.

A private key is X-Wing's 32-byte seed, a public key its 1,216 bytes (ML-KEM-768 ‖ X25519), an envelope 1,120 bytes
of encapsulation followed by the ciphertext and its tag. What an envelope is for enters through `info`; it says
nothing about who sealed it. The hybrid stays closed if either half does, which matters for envelopes that lie on
IPFS for ever. Sources: RFC 9180, draft-connolly-cfrg-xwing-kem (KEM id 0x647a).
"""

from __future__ import annotations

import hashlib
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from core.errors import Corrupted, InvalidInput

PRIVATE_KEY = 32
PUBLIC_KEY = 1216
ENVELOPE_OVERHEAD = 1120 + 16

_MLKEM_PUBLIC = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def hpke_generate() -> tuple[bytes, bytes]:
    """A new key pair: (private seed, 32 bytes; public key, 1,216 bytes)."""
    seed = secrets.token_bytes(PRIVATE_KEY)
    return seed, hpke_public(seed)


def hpke_public(private: bytes) -> bytes:
    """The public key of a private seed."""
    mlkem, x25519 = _halves(private)
    return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def hpke_seal(public: bytes, plain: bytes, info: bytes) -> bytes:
    """An envelope that only the holder of `public`'s seed opens, and only under the same `info`."""
    return _SUITE.encrypt(plain, _public(bytes(public)), info)


def hpke_open(private: bytes, envelope: bytes, info: bytes) -> bytes:
    """The content of an envelope; `Corrupted` if it was sealed to another key, for another `info`, or damaged."""
    mlkem, x25519 = _halves(private)
    try:
        return _SUITE.decrypt(envelope, MLKEM768X25519PrivateKey(mlkem, x25519), info)
    except (InvalidTag, ValueError):
        raise Corrupted(
            "An envelope does not open: it was sealed to another key or for another purpose.",
            hint="Ask its sender for a new one.",
        ) from None


def _halves(private: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(private) != PRIVATE_KEY:
        raise InvalidInput(f"A private HPKE key has {PRIVATE_KEY} bytes.")
    expanded = hashlib.shake_256(private).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])


@lru_cache(maxsize=64)
def _public(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_KEY:
        raise InvalidInput(f"A public HPKE key has {PUBLIC_KEY} bytes.")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC]),
            X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:]),
        )
    except ValueError:
        raise InvalidInput("The bytes are no public HPKE key.") from None
