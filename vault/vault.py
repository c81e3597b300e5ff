"""The vault: what an owner puts in, finds, opens, publishes from and takes out.

Everything in it is sealed under the root key, names and counts included; everything an owner needs comes back from the
24 words and the blocks. A change is in the vault when the call that makes it returns, and not before. Plaintext is
read from its source and streamed to the caller; nothing here writes it anywhere else.
"""

from __future__ import annotations

import errno
import io
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import encode_cbor
from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.ids import ObjectId, VaultId
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, Cid
from vault.datasets import member_cids, store_dataset
from vault.entry import Entry, read_entry, seal_description
from vault.heads import Heads, Noting, unnoted
from vault.manifest import DatasetHeader, ObjectManifest
from vault.ownrecords import OwnRecord, open_record, seal_record
from vault.payload import Progress, open_payload, open_to_file, seal_into
from vault.readers import BrokenRecord, Record, read_records
from vault.readers.detection import HEAD
from vault.readers.reading import media_type_of
from vault.readers.source import peek
from vault.restoring import find_vault, join_heads, salvage_vault
from vault.rootkey import RootKey
from vault.segments import dek_commitment
from vault.unixfs import inner_nodes, leaves
from vault.walking import Skipped, walk
from vault.wrapping import DEK_LABEL, unwrap, wrap

# Errors of one source; any other, such as a full disk, is not that file's fault and ends the whole.
_UNREADABLE = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENXIO, errno.ELOOP, errno.ESTALE, errno.ENAMETOOLONG}
_BATCH_OBJECTS = 256
_BATCH_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding a folder."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


class Vault:
    """One owner's vault, unlocked. Safe to use from several threads."""

    def __init__(
        self,
        root: RootKey,
        vault_id: VaultId,
        blocks: BlockStore,
        *,
        hint: Cid | None = None,
        sequence: int = 0,
        noting: Noting = unnoted,
    ) -> None:
        """Find the vault's newest head in `blocks`, or begin an empty vault.

        `hint` and `sequence` are the newest head and number ever seen (`head_cid`, `sequence`): with them, blocks
        that are an older copy are a `Conflict` instead of an older vault. `noting` hears of each new head.
        """
        self.vault_id = vault_id
        self.signing_key: Ed25519PrivateKey = root.signing_key()
        self._root = root
        self._blocks = blocks
        self._heads = Heads(root, vault_id, blocks, hint=hint, sequence=sequence, noting=noting)
        # Blocks never change under their CID, so what was read of one is kept for as long as the vault is unlocked.
        self._manifests: dict[Cid, ObjectManifest] = {}
        self._entries: dict[Cid, Entry] = {}
        self._records: dict[Cid, OwnRecord] = {}
        self._members: dict[Cid, tuple[Cid, ...]] = {}
        self._index: tuple[tuple[Cid, ...], dict[ObjectId, Cid]] | None = None

    @classmethod
    def restore(cls, words: str, blocks: BlockStore, *, join: bool = False) -> Self:
        """The vault of these 24 words, found among the blocks alone; `NotFound` if none is signed by their key.

        `join` unites two copies that went separate ways into one: nothing that either holds is lost, so what one
        of them removed may be back.
        """
        root = RootKey.from_words(words)
        vault_id = find_vault(root, blocks)
        if join:
            join_heads(root, vault_id, blocks)
        return cls(root, vault_id, blocks)

    @classmethod
    def salvage(cls, words: str, blocks: BlockStore, *, sequence: int = 0) -> Self:
        """A vault without a readable head, put together again from every manifest and record that the words open.

        What was removed comes back too where its blocks are still there. `sequence` is the newest number ever seen.
        """
        root = RootKey.from_words(words)
        return cls(root, salvage_vault(root, blocks, sequence), blocks)

    @property
    def head_cid(self) -> Cid | None:
        """The newest head; None before the first change."""
        newest = self._heads.newest
        return newest.cid if newest else None

    @property
    def sequence(self) -> int:
        """The number of the newest head; every change raises it."""
        return self._heads.sequence

    @property
    def manifest_pk(self) -> bytes:
        """The public key that signs this vault's heads and share tables."""
        return self.signing_key.public_key().public_bytes_raw()

    def refresh(self) -> bool:
        """Take notice of what other processes changed; whether they did."""
        return self._heads.refresh()

    # What is in it.

    def entries(self) -> list[Entry]:
        """All objects whose description can be read, in the order they were added; `unreadable` has the others."""
        datasets = self._datasets_of()
        listed = (cid for cid in self._heads.contents.objects if self._is_readable(cid))
        return [self._entry(cid, datasets.get(cid, ())) for cid in listed]

    def unreadable(self) -> list[Cid]:
        """Manifests and dataset headers that the vault lists and whose blocks are lost or damaged here."""
        objects = [cid for cid in self._heads.contents.objects if not self._is_readable(cid)]
        return objects + [cid for cid in self._heads.contents.datasets if self._members_of(cid) is None]

    def entry(self, object_id: ObjectId) -> Entry:
        """One object; `NotFound` if the vault has none of that id."""
        cid, _ = self._find(object_id)
        return self._entry(cid, self._datasets_of().get(cid, ()))

    def manifest(self, object_id: ObjectId) -> ObjectManifest:
        """The object's manifest."""
        return self._find(object_id)[1]

    def manifests(self, object_ids: Iterable[ObjectId]) -> list[bytes]:
        """The encoded manifests of these objects in object_id order, each once."""
        return [self._find(object_id)[1].encode() for object_id in sorted(set(object_ids))]

    def dek(self, object_id: ObjectId) -> bytes:
        """The object's data key. Who has it can open the object for ever."""
        manifest = self._find(object_id)[1]
        dek = unwrap(self._root, DEK_LABEL, self.vault_id, object_id, manifest.wrap)
        if dek_commitment(dek, self.vault_id, object_id) != manifest.dek_commit:
            raise Corrupted("The manifest's key and its commitment differ.", hint="Fetch it again from another copy.")
        return dek

    def open(self, object_id: ObjectId, progress: Progress | None = None) -> Iterator[bytes]:
        """The object's plaintext in pieces, each authenticated before it is given out."""
        manifest = self._find(object_id)[1]
        return self._opened(manifest, self.dek(object_id), progress)

    def write(
        self, object_id: ObjectId, path: Path, *, overwrite: bool = False, progress: Progress | None = None
    ) -> int:
        """Write the plaintext to `path`, whole or not at all; its size in bytes."""
        manifest = self._find(object_id)[1]
        return open_to_file(
            self._blocks,
            manifest.payload,
            manifest.size,
            self.dek(object_id),
            manifest.dek_commit,
            self.vault_id,
            object_id,
            path,
            overwrite=overwrite,
            progress=progress,
        )

    def preview(self, object_id: ObjectId) -> Iterator[Record | BrokenRecord]:
        """The object's records, exactly as a job with a consent would read them."""
        return read_records(self.entry(object_id).name, None, self.open(object_id))

    # What goes in and out.

    def add(self, path: Path, progress: Progress | None = None, *, name: str | None = None, notes: str = "") -> Entry:
        """Seal one file. Memory does not grow with it; a file that changes meanwhile is a `Conflict`."""
        return self._add(name or path.name, path, notes, progress)

    def add_bytes(self, name: str, data: bytes | BinaryIO, *, notes: str = "") -> Entry:
        """Seal bytes, or a stream to its end, under a name."""
        return self._add(name, io.BytesIO(data) if isinstance(data, bytes) else data, notes, None)

    def add_tree(self, path: Path, progress: Progress | None = None) -> Added:
        """Seal a file, or the files below a folder in sorted order; what is left out is listed with its reason.

        Files are in the vault in batches: after an interruption those of finished batches stay.
        """
        entries: list[Entry] = []
        skipped: list[Skipped] = []
        pending: list[Entry] = []
        try:
            for item in walk(path):
                if isinstance(item, Skipped):
                    skipped.append(item)
                    continue
                try:
                    pending.append(self._seal(item.name, item.path, "", progress))
                except OSError as error:
                    if error.errno not in _UNREADABLE:
                        raise
                    skipped.append(Skipped(item.name, f"{error.strerror}."))
                except (Conflict, InvalidInput) as error:  # it changed while being read, or is no file any more
                    skipped.append(Skipped(item.name, error.message))
                if len(pending) >= _BATCH_OBJECTS or sum(entry.size for entry in pending) >= _BATCH_BYTES:
                    self._append(pending)
                    entries, pending = entries + pending, []
            self._append(pending)
        finally:
            self._blocks.flush()
        return Added((*entries, *pending), tuple(skipped))

    def remove(self, object_id: ObjectId, *, even_if_published: bool = False) -> None:
        """Take an object out and delete its blocks here. Keys that keepers hold or released are not recalled.

        Raises `Conflict` if it is in a dataset of this vault, unless `even_if_published`.
        """
        entry = self.entry(object_id)
        if entry.datasets and not even_if_published:
            raise Conflict(
                f"The object is in {len(entry.datasets)} published dataset(s) of yours.",
                hint="Revoke their consents first; trainers who were granted one can no longer fetch it afterwards.",
                datasets=[digest.hex() for digest in entry.datasets],
            )
        unknown = [cid for cid in self._heads.contents.datasets if self._members_of(cid) is None]
        if unknown and not even_if_published:
            raise Conflict(
                f"{len(unknown)} dataset(s) of yours cannot be read here, so this object may be published.",
                hint="Bring their blocks back from a backup, or revoke their consents first.",
                datasets=[cid.digest.hex() for cid in unknown],
            )
        manifest = self._find(object_id)[1]
        self._heads.commit(lambda now: replace(now, objects=tuple(cid for cid in now.objects if cid != entry.manifest)))
        self._delete_payload(manifest)
        self._blocks.delete(entry.manifest)
        self._blocks.flush()

    # What is public of it, and what its owner keeps.

    def build_dataset(
        self, object_ids: Iterable[ObjectId], card: Mapping[str, Any]
    ) -> tuple[DatasetHeader, list[bytes]]:
        """The header over these objects and their manifests in object_id order, stored and listed in the vault.

        The same objects and card make the same dataset again.
        """
        chosen = sorted(set(object_ids))
        manifests = self.manifests(chosen)
        records = sum(self._entry(self._find(object_id)[0], ()).records for object_id in chosen)
        header = store_dataset(self._blocks, self.vault_id, self.manifest_pk, manifests, records, card)
        self._heads.commit(
            lambda now: now if header.cid in now.datasets else replace(now, datasets=(*now.datasets, header.cid))
        )
        return header, manifests

    def datasets(self) -> list[DatasetHeader]:
        """The headers of all datasets built from this vault, oldest first."""
        return [DatasetHeader.decode(self._blocks.get(cid)) for cid in self._heads.contents.datasets]

    def forget_dataset(self, digest: bytes) -> None:
        """Take a dataset off the vault's list, once it was never registered or all its consents have ended."""
        cid = Cid(DAG_CBOR, digest)
        if cid not in self._heads.contents.datasets:
            raise NotFound("The vault lists no such dataset.", hint="`allod dataset list` shows those it lists.")
        self._heads.commit(lambda now: replace(now, datasets=tuple(kept for kept in now.datasets if kept != cid)))

    def save_record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep a document of the owner's (terms, a signed consent, …) sealed in the vault; again changes nothing."""
        wanted = encode_cbor(dict(body))  # as bytes: Python takes 1 and True for the same
        if any(encode_cbor(kept) == wanted for kept in self.records(kind)):
            return
        cid = self._blocks.add(DAG_CBOR, seal_record(self._root, self.vault_id, kind, body))
        self._heads.commit(lambda now: replace(now, records=(*now.records, cid)))

    def records(self, kind: str) -> list[dict[str, Any]]:
        """The owner's documents of one kind, in the order they were saved."""
        return [record.body for record in map(self._record, self._heads.contents.records) if record.kind == kind]

    def _find(self, object_id: ObjectId) -> tuple[Cid, ObjectManifest]:
        listed = self._heads.contents.objects
        if self._index is None or self._index[0] is not listed:
            readable = (cid for cid in listed if self._is_readable(cid))
            self._index = (listed, {self._manifest(cid).object_id: cid for cid in readable})
        cid = self._index[1].get(object_id)
        if cid is None:
            raise NotFound("The vault has no object with that id.", hint="`allod vault list` shows what it has.")
        return cid, self._manifest(cid)

    def _manifest(self, cid: Cid) -> ObjectManifest:
        kept = self._manifests.get(cid)
        if kept is None:
            kept = ObjectManifest.decode(self._blocks.get(cid))
            if kept.vault_id != self.vault_id:
                raise Corrupted("The vault lists another vault's object.", hint="Restore it from the recovery words.")
            self._manifests[cid] = kept
        return kept

    def _is_readable(self, cid: Cid) -> bool:
        try:
            return cid in self._manifests or bool(self._blocks.get(cid))
        except (NotFound, Corrupted):
            return False

    def _entry(self, cid: Cid, datasets: tuple[bytes, ...]) -> Entry:
        kept = self._entries.get(cid)
        if kept is None:
            kept = self._entries[cid] = read_entry(self._root, self._manifest(cid), cid, ())
        return replace(kept, datasets=datasets)

    def _record(self, cid: Cid) -> OwnRecord:
        kept = self._records.get(cid)
        if kept is None:
            kept = self._records[cid] = open_record(self._root, self._blocks.get(cid))
        return kept

    def _datasets_of(self) -> dict[Cid, tuple[bytes, ...]]:
        """For each manifest the digests of the datasets that list it."""
        out: dict[Cid, tuple[bytes, ...]] = {}
        for dataset in self._heads.contents.datasets:
            for cid in self._members_of(dataset) or ():
                out[cid] = (*out.get(cid, ()), dataset.digest)
        return out

    def _members_of(self, dataset: Cid) -> tuple[Cid, ...] | None:
        """The manifests that a dataset lists; None if its blocks are lost or damaged."""
        members = self._members.get(dataset)
        if members is None:
            try:
                header = DatasetHeader.decode(self._blocks.get(dataset))
                members = self._members[dataset] = tuple(member_cids(self._blocks, header))
            except (NotFound, Corrupted, InvalidInput):
                return None
        return members

    def _opened(self, manifest: ObjectManifest, dek: bytes, progress: Progress | None) -> Iterator[bytes]:
        return open_payload(
            self._blocks,
            manifest.payload,
            manifest.size,
            dek,
            manifest.dek_commit,
            self.vault_id,
            manifest.object_id,
            progress,
        )

    def _add(self, name: str, source: Path | BinaryIO, notes: str, progress: Progress | None) -> Entry:
        try:
            entry = self._seal(name, source, notes, progress)
            self._append([entry])
        finally:
            self._blocks.flush()  # a failed sealing must not keep the store locked
        return entry

    def _append(self, entries: Sequence[Entry]) -> None:
        fresh = tuple(entry.manifest for entry in entries)
        if not fresh:
            return
        self._heads.commit(lambda now: replace(now, objects=(*now.objects, *fresh)))

    def _seal(self, name: str, source: Path | BinaryIO, notes: str, progress: Progress | None) -> Entry:
        """Seal one source and put its manifest; it is not in the vault before `_append`."""
        object_id, dek = ObjectId(secrets.token_bytes(32)), secrets.token_bytes(32)
        halves = _Halves(progress)
        sealed = seal_into(source, dek, self.vault_id, object_id, self._blocks, halves.sealed)
        manifest = ObjectManifest(
            self.vault_id,
            object_id,
            sealed.payload,
            sealed.size,
            dek_commitment(dek, self.vault_id, object_id),
            wrap(self._root, DEK_LABEL, self.vault_id, object_id, dek),
            b"",
        )
        # Counting reads what was sealed, not the source again: so the count is of what a job will get, and an
        # object is only listed after it was opened once.
        with closing(piece for piece in self._opened(manifest, dek, halves.read)) as plain:
            head, stream = peek(plain, HEAD)
            records = broken = 0
            for item in read_records(name, None, stream):
                records += isinstance(item, Record)
                broken += isinstance(item, BrokenRecord)
        halves.finish(sealed.plaintext_size)
        meta = seal_description(
            self._root,
            self.vault_id,
            object_id,
            name=name,
            media_type=media_type_of(name, head),
            size=sealed.plaintext_size,
            added=datetime.now(UTC),
            records=records,
            broken=broken,
            notes=notes,
        )
        manifest = replace(manifest, meta=meta)
        cid = self._blocks.add(DAG_CBOR, manifest.encode())
        self._manifests[cid] = manifest
        return self._entry(cid, ())

    def _delete_payload(self, manifest: ObjectManifest) -> None:
        doomed = {manifest.payload}
        try:
            doomed.update(inner_nodes(manifest.payload, self._blocks, manifest.size))
            doomed.update(cid for cid, _, _ in leaves(manifest.payload, self._blocks, manifest.size))
        except (NotFound, Corrupted):
            pass  # a damaged payload is removed as far as it can be walked
        for cid in doomed:
            self._blocks.delete(cid)


class _Halves:
    """Progress over two passes, sealing and reading back, that adds up to the plaintext's size."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._passed = self._told = 0

    def sealed(self, count: int) -> None:
        self._passed += count
        self._tell(self._passed // 2)

    read = sealed

    def finish(self, size: int) -> None:
        self._tell(size)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._told:
            self._progress(done - self._told)
            self._told = done
