"""Finding a vault again from its words and the blocks alone, also where heads differ or none is left."""

from __future__ import annotations

from contextlib import suppress

from core.errors import AllodError, Conflict, InvalidInput, NotFound
from core.ids import VaultId
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, Cid
from vault.datasets import read_manifests
from vault.entry import read_entry
from vault.heads import Contents, joined, read_contents, scan, write_head
from vault.manifest import DatasetHeader, ObjectManifest
from vault.ownrecords import open_record
from vault.rootkey import RootKey


def find_vault(root: RootKey, blocks: BlockStore) -> VaultId:
    """The id of the one vault whose heads this key signed; `NotFound` if there is none."""
    ids = {found.head.vault_id for found in scan(blocks, root.manifest_pk(), set())}
    if not ids:
        raise NotFound(
            "These blocks hold no vault of these words.",
            hint="Check the words and the folder; if its newest files are lost: `allod vault restore --salvage`.",
        )
    if len(ids) > 1:
        raise Conflict("These words signed for more than one vault.", hint="Open each with its own key file.")
    return ids.pop()


def join_heads(root: RootKey, vault_id: VaultId, blocks: BlockStore) -> None:
    """Where several newest heads differ, write one that follows them all and holds what any of them holds."""
    found = [item for item in scan(blocks, root.manifest_pk(), set()) if item.head.vault_id == vault_id]
    newest = max(item.head.sequence for item in found)
    rivals = sorted((item for item in found if item.head.sequence == newest), key=lambda item: item.cid)
    if len(rivals) > 1:
        union = joined([read_contents(blocks, item.head) for item in rivals])
        write_head(root, vault_id, blocks, newest + 1, union)
        blocks.flush()


def salvage_vault(root: RootKey, blocks: BlockStore, sequence: int = 0) -> VaultId:
    """List again, in a head of its own, every manifest, record and dataset header of this key; the vault's id.

    The head comes after `sequence`, the newest number ever seen, so that no memory of the lost one outranks it.
    """
    ids: set[VaultId] = set()
    parts: list[tuple[int, Contents]] = []
    headers: list[tuple[VaultId, Cid]] = []
    for cid in sorted(blocks.cids(DAG_CBOR)):
        with suppress(AllodError):  # damaged, somebody else's, or a block of another kind
            data = blocks.get(cid)
            header = _own_header(root, blocks, data)
            if header is not None:
                headers.append((header.vault_id, cid))
                continue
            vault_id, order, part = _salvaged(root, cid, data)
            ids.add(vault_id)
            parts.append((order, part))
    if len(ids) != 1:
        raise NotFound("These blocks hold no one vault that these words open.", hint="Check the words and the folder.")
    vault_id = ids.pop()
    parts += [(0, Contents(datasets=(cid,))) for whose, cid in headers if whose == vault_id]
    union = joined([part for _, part in sorted(parts, key=lambda item: item[0])])
    heads = scan(blocks, root.manifest_pk(), set())
    last = max((found.head.sequence for found in heads if found.head.vault_id == vault_id), default=0)
    write_head(root, vault_id, blocks, max(last, sequence) + 1, union)
    blocks.flush()
    return vault_id


def _salvaged(root: RootKey, cid: Cid, data: bytes) -> tuple[VaultId, int, Contents]:
    """Whose block this is, when it was added (objects only), and where it belongs; an error if it is not this key's."""
    with suppress(AllodError):
        return _as_object(root, cid, data)
    record = open_record(root, data)
    return record.vault_id, 0, Contents(records=(cid,))


def _as_object(root: RootKey, cid: Cid, data: bytes) -> tuple[VaultId, int, Contents]:
    manifest = ObjectManifest.decode(data)
    entry = read_entry(root, manifest, cid, ())
    return manifest.vault_id, int(entry.added.timestamp()), Contents(objects=(cid,))


def _own_header(root: RootKey, blocks: BlockStore, data: bytes) -> DatasetHeader | None:
    """The header, if it is one over this key's own objects; None for another kind of block.

    A header bears no signature, so a stranger can write one that names our key: it says nothing about which vault is
    ours, and counts only where everything that it lists is here and opens.
    """
    try:
        header = DatasetHeader.decode(data)
    except InvalidInput:
        return None
    if header.manifest_pk != root.manifest_pk():
        raise NotFound("Another vault's dataset.")
    for member in read_manifests(blocks, header):
        manifest = ObjectManifest.decode(member)
        read_entry(root, manifest, manifest.cid, ())
    return header
