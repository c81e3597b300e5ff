"""Where a vault is found: signed heads among the blocks, and the one way to change a vault.

The newest valid head of a key is the vault. A change is a function from contents to contents: it is applied to the
newest head that the store knows at the moment of writing, so two processes that add at once both get in, one after
the other (a store has one writer at a time, and its lock is held from the first block put until `flush`). Two heads
with the same number can only come from two copies of a vault that went separate ways; that is a `Conflict`, never
a silent choice. Old heads and pages are deleted in the same flush that makes the new ones durable.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.ids import VaultId
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, Cid
from vault.manifest import VaultHead, decode_page, encode_pages
from vault.rootkey import RootKey

# Deterministic dag-cbor puts v, sig and kind first, so a head is told apart by its first bytes; nothing else begins so.
HEAD_START = b"\xa9\x61v\x01\x63sig\x58\x40"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a vault holds: CIDs of object manifests, dataset headers and sealed records, in order of addition."""

    objects: tuple[Cid, ...] = ()
    datasets: tuple[Cid, ...] = ()
    records: tuple[Cid, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A valid head with its CID."""

    cid: Cid
    head: VaultHead


Noting = Callable[[Cid, int], AbstractContextManager[None]]
"""Entered with a new head and its number before anybody else can write to the store, left once the head is durable."""


def unnoted(_cid: Cid, _sequence: int) -> AbstractContextManager[None]:
    """Nobody wants to know."""
    return nullcontext()


class Heads:
    """The heads of one vault in one store. `contents` is what the newest one known lists."""

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
        """Find the newest head. `hint` saves reading what that head lists; `sequence` is the newest number ever seen.

        Raises `Conflict` if the newest head found is older than `sequence`, or if there are two newest ones.
        """
        self._root, self._vault_id, self._blocks, self._noting = root, vault_id, blocks, noting
        self._public = root.manifest_pk()
        self._seen: set[Cid] = set()
        self._rivals: set[Found] = set()  # all heads seen that have the highest number seen
        self._lock = threading.RLock()
        self.newest: Found | None = None
        self.contents = Contents()
        if hint is not None:
            self._try(hint)
        self.refresh()
        if self.sequence < sequence:
            raise Conflict(
                f"The blocks here know change {self.sequence} of this vault, but change {sequence} was seen before.",
                hint="They are an older copy, or a part is missing: bring in the newest block files."
                if self.newest
                else "If the files with its heads are lost for good: `allod vault restore --salvage`.",
            )

    @property
    def sequence(self) -> int:
        """The number of the newest head, 0 before the first."""
        return self.newest.head.sequence if self.newest else 0

    def refresh(self) -> bool:
        """Look for a newer head; whether there was one."""
        with self._lock:
            before = self.newest
            for found in scan(self._blocks, self._public, self._seen):
                if found.head.vault_id == self._vault_id:
                    self._rivals.add(found)
            # Rivals are remembered, or the conflict would show once and then be decided by who came first.
            last = max((found.head.sequence for found in self._rivals), default=0)
            self._rivals = {found for found in self._rivals if found.head.sequence == last}
            if len(self._rivals) > 1:
                raise Conflict(
                    f"This vault has two different newest heads (change {last}): two copies of it went separate ways.",
                    hint="Join them with the recovery words: `allod vault restore --join`.",
                    heads=sorted(str(found.cid) for found in self._rivals),
                )
            newest = next(iter(self._rivals), None)
            if newest is None or newest == before:
                return False
            self._adopt(newest)
            return True

    def commit(self, change: Callable[[Contents], Contents]) -> None:
        """Apply `change` to the newest contents and make the result the vault, durably."""
        with self._lock:
            try:
                self._commit(change)
            finally:
                self._blocks.flush()  # after an error too: it gives the store's lock back

    def _commit(self, change: Callable[[Contents], Contents]) -> None:
        self.refresh()
        while True:
            before, after = self.newest, change(self.contents)
            if after == self.contents and before is not None:
                return
            cid, head = write_head(self._root, self._vault_id, self._blocks, self.sequence + 1, after)
            self._seen.add(cid)
            # Whoever wrote before us is seen now, and nobody else can write until `flush` frees the store.
            try:
                if not self.refresh():
                    break
            except Conflict:
                self._blocks.delete(cid)
                raise
            self._blocks.delete(cid)
        if before is not None:
            kept = {*head.objects, *head.records}
            for old in (*before.head.objects, *before.head.records, before.cid):
                if old not in kept:
                    self._blocks.delete(old)
        self._blocks.begin()  # what a store has to note of what was put is noted now, and not within
        with self._noting(cid, head.sequence):
            self._blocks.flush()
        self.newest, self.contents = Found(cid, head), after
        self._rivals = {self.newest}
        self._seen |= {*head.objects, *head.records, *after.objects, *after.records}

    def _try(self, hint: Cid) -> None:
        try:
            head = VaultHead.decode(self._blocks.get(hint))
            if head.manifest_pk == self._public and head.vault_id == self._vault_id:
                self._adopt(Found(hint, head))
        except (NotFound, InvalidInput, Corrupted):
            return  # a hint may be stale; the scan decides

    def _adopt(self, found: Found) -> None:
        self.contents = read_contents(self._blocks, found.head)
        self.newest = found
        self._rivals.add(found)
        head = found.head
        self._seen |= {found.cid, *head.objects, *head.records, *self.contents.objects, *self.contents.records}


def write_head(
    root: RootKey, vault_id: VaultId, blocks: BlockStore, sequence: int, contents: Contents
) -> tuple[Cid, VaultHead]:
    """Put a signed head with its pages (not flushed)."""
    objects, records = (
        tuple(blocks.add(DAG_CBOR, page) for page in encode_pages(cids))
        for cids in (contents.objects, contents.records)
    )
    head = VaultHead(vault_id, root.manifest_pk(), sequence, objects, contents.datasets, records)
    head = head.sign(root.signing_key())
    return blocks.add(DAG_CBOR, head.encode()), head


def read_contents(blocks: BlockStore, head: VaultHead) -> Contents:
    """What a head lists."""
    objects = tuple(cid for page in head.objects for cid in decode_page(blocks.get(page)))
    records = tuple(cid for page in head.records for cid in decode_page(blocks.get(page)))
    return Contents(objects, head.datasets, records)


def scan(blocks: BlockStore, public: bytes, seen: set[Cid]) -> list[Found]:
    """All valid heads signed by `public` among the blocks not in `seen`, which grows. Damaged blocks are passed by."""
    found = []
    for cid in blocks.cids(DAG_CBOR):
        if cid in seen:
            continue
        try:
            data = blocks.get(cid)
            seen.add(cid)
            if data.startswith(HEAD_START):
                head = VaultHead.decode(data)
                if head.manifest_pk == public:
                    found.append(Found(cid, head))
        except (NotFound, Corrupted, InvalidInput):
            continue  # deleted meanwhile, damaged, or only looks like a head
    return found


def joined(heads: list[Contents]) -> Contents:
    """The union of several contents, each CID once, in order: joining copies loses nothing."""
    return Contents(
        tuple(dict.fromkeys(cid for contents in heads for cid in contents.objects)),
        tuple(dict.fromkeys(cid for contents in heads for cid in contents.datasets)),
        tuple(dict.fromkeys(cid for contents in heads for cid in contents.records)),
    )
