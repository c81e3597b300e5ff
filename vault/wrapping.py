"""Wraps: small secrets sealed under a key that is used for one label, one vault and one thing.

    wrap = nonce[12] ‖ AES-256-GCM(HKDF(root key, label ‖ 0 ‖ vault_id ‖ id), nonce, plain, no AAD)

The binding is in the key: a wrap moved to another label, vault or id does not open. Nonces are random; each key
seals a handful of messages in its life, far below the 2^32 at which random nonces become a worry.
"""

from __future__ import annotations

import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted
from core.ids import VaultId
from vault.rootkey import RootKey

NONCE = 12
OVERHEAD = NONCE + 16
PADDING = 256

DEK_LABEL = "allod/wrap/v1"
META_LABEL = "allod/meta/v1"
RECORD_LABEL = "allod/record/v1"


def wrap(root: RootKey, label: str, vault_id: VaultId, thing: bytes, plain: bytes) -> bytes:
    """Seal `plain` for `thing` (an object's or a record's 32-byte id) in this vault; 28 bytes longer."""
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(root.derive(label, vault_id, thing)).encrypt(nonce, plain, None)


def unwrap(root: RootKey, label: str, vault_id: VaultId, thing: bytes, sealed: bytes) -> bytes:
    """Open a wrap; `Corrupted` if it was made by another root key or for another label, vault or thing."""
    if len(sealed) < OVERHEAD:
        raise _closed()
    try:
        return AESGCM(root.derive(label, vault_id, thing)).decrypt(sealed[:NONCE], sealed[NONCE:], None)
    except InvalidTag:
        raise _closed() from None


def seal_document(root: RootKey, label: str, vault_id: VaultId, thing: bytes, value: dict[str, Any]) -> bytes:
    """Wrap a map as dag-cbor, padded to whole 256 bytes so that its length tells little about a name in it."""
    data = encode_cbor(value)
    padded = len(data).to_bytes(4, "big") + data
    return wrap(root, label, vault_id, thing, padded + bytes(-len(padded) % PADDING))


def open_document(root: RootKey, label: str, vault_id: VaultId, thing: bytes, sealed: bytes) -> dict[str, Any]:
    """Open what `seal_document` made; `Corrupted` if it belongs elsewhere or is none."""
    padded = unwrap(root, label, vault_id, thing, sealed)
    length = int.from_bytes(padded[:4], "big")
    value = decode_cbor(padded[4 : 4 + length])
    if len(padded) % PADDING or len(padded) - length - 4 not in range(PADDING) or any(padded[4 + length :]):
        raise Corrupted("A sealed description has a wrong form.", hint="Fetch it again from another copy.")
    if not isinstance(value, dict):
        raise Corrupted("A sealed description is no map.", hint="Fetch it again from another copy.")
    return value


def _closed() -> Corrupted:
    return Corrupted(
        "A wrap does not open with this vault's key.",
        hint="It was damaged or belongs elsewhere; fetch the manifest again from another copy.",
    )
