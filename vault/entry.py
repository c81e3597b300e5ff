"""What an owner sees of a sealed object, and its sealed form in the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.errors import InvalidInput
from core.ids import ObjectId, VaultId
from vault.cid import Cid
from vault.documents import read_map
from vault.manifest import ObjectManifest
from vault.rootkey import RootKey
from vault.wrapping import META_LABEL, open_document, seal_document

MAX_NAME = 4096  # characters
MAX_NOTES = 16 << 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the vault. `size` is the plaintext's, in bytes; `datasets` the digests of headers it is in."""

    object_id: ObjectId
    name: str
    media_type: str
    size: int
    added: datetime
    records: int
    broken: int
    notes: str
    manifest: Cid
    payload: Cid
    datasets: tuple[bytes, ...]


def seal_description(
    root: RootKey,
    vault_id: VaultId,
    object_id: ObjectId,
    *,
    name: str,
    media_type: str,
    size: int,
    added: datetime,
    records: int,
    broken: int,
    notes: str,
) -> bytes:
    """The manifest's `meta`: everything about an object that only its owner reads."""
    if not name or len(name) > MAX_NAME or len(notes) > MAX_NOTES:
        raise InvalidInput(f"A name has 1 to {MAX_NAME} characters, notes up to {MAX_NOTES}.")
    value: dict[str, Any] = {
        "name": name,
        "type": media_type,
        "size": size,
        "added": int(added.timestamp()),
        "records": records,
        "broken": broken,
        "notes": notes,
    }
    return seal_document(root, META_LABEL, vault_id, object_id, value)


def read_entry(root: RootKey, manifest: ObjectManifest, cid: Cid, datasets: tuple[bytes, ...]) -> Entry:
    """The entry of a manifest of this root key's vault; `Corrupted` if its description does not open."""
    value = open_document(root, META_LABEL, manifest.vault_id, manifest.object_id, manifest.meta)
    names = ("name", "type", "size", "added", "records", "broken", "notes")
    members = read_map(value, "object description", names)
    return Entry(
        object_id=manifest.object_id,
        name=members.text("name"),
        media_type=members.text("type"),
        size=members.number("size"),
        added=datetime.fromtimestamp(members.number("added", 0, 253402300799), UTC),
        records=members.number("records"),
        broken=members.number("broken"),
        notes=members.text("notes"),
        manifest=cid,
        payload=manifest.payload,
        datasets=datasets,
    )
