"""Documents that an owner keeps for themselves in the vault: terms, signed consents, what was published where.

Each is a block of its own, sealed under the root key and its own random id; the head lists them. So the 24 words bring
back consents and publications as well as files.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.encoding import encode_cbor
from core.ids import VaultId
from vault.documents import read_document, read_map
from vault.rootkey import RootKey
from vault.wrapping import RECORD_LABEL, open_document, seal_document


@dataclass(frozen=True)
class OwnRecord:
    """One document: what kind it is, and its members (dag-cbor values)."""

    vault_id: VaultId
    kind: str
    body: dict[str, Any]


def seal_record(root: RootKey, vault_id: VaultId, kind: str, body: Mapping[str, Any]) -> bytes:
    """The block of a document; a new one each time."""
    record_id = secrets.token_bytes(32)
    sealed = seal_document(root, RECORD_LABEL, vault_id, record_id, {"kind": kind, "body": dict(body)})
    return encode_cbor({"v": 1, "kind": "record", "vault": vault_id, "record": record_id, "sealed": sealed})


def open_record(root: RootKey, data: bytes) -> OwnRecord:
    """The document of a block: `InvalidInput` if it is no such block, `Corrupted` if it does not open."""
    block = read_document(data, "record", ("vault", "record", "sealed"))
    vault_id = VaultId(block.octets("vault", 32))
    value = open_document(root, RECORD_LABEL, vault_id, block.octets("record", 32), block.octets("sealed"))
    members = read_map(value, "owner's record", ("kind", "body"))
    return OwnRecord(vault_id, members.text("kind"), members.document("body"))
