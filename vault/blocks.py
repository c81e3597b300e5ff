"""What a block store is: verified bytes under their CIDs, durable after `flush`.

Every store passes the suite in tests/vault/test_blockstore_conformance.py. Its promises: nothing enters under
a CID that its bytes do not hash to, nothing leaves unverified, and what a returned `flush` covers survives a
crash. A store holds ciphertext and manifests only; it never sees a key.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from typing import Protocol

from core.errors import Corrupted, InvalidInput, NotFound
from vault.cid import Cid

MAX_BLOCK = 2 << 20  # bytes; what bitswap and kubo move at most

Data = bytes | bytearray | memoryview


class BlockStore(Protocol):
    """Blocks by CID. All methods may be called from several threads at once."""

    def room(self) -> memoryview | None:
        """Memory for one segment: given to `add`, whole or its beginning, it is the store's, which then copies nothing.
        None where it copies in any case."""
        ...

    def add(self, codec: int, data: Data) -> Cid:
        """Store a block under the CID computed here, once; the caller may reuse `data`'s memory afterwards."""
        ...

    def put(self, cid: Cid, data: Data) -> None:
        """Store a block under a CID named by somebody else; `Corrupted` if it is not that block's."""
        ...

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        """`put` each in turn; at an error those before it stay."""
        ...

    def get(self, cid: Cid) -> bytes:
        """The block, its hash checked now. `NotFound` if absent, `Corrupted` if the bytes kept are not it."""
        ...

    def has(self, cid: Cid) -> bool:
        """Whether the store knows the block; says nothing about its bytes."""
        ...

    def missing(self, cids: Iterable[Cid]) -> list[Cid]:
        """Those of `cids` that the store does not have, in the order given."""
        ...

    def cids(self, codec: int | None = None) -> Iterator[Cid]:
        """All blocks held, each once, in no promised order; only those of one codec if given."""
        ...

    def begin(self) -> None:
        """Take this store's turn to write, as the first change does: until `flush` nobody else changes a thing."""
        ...

    def delete(self, cid: Cid) -> None:
        """Forget a block; nothing happens if it is absent. Durable with the next `flush`."""
        ...

    def flush(self) -> None:
        """Return when everything put or deleted before survives a crash of the machine."""
        ...

    def close(self) -> None:
        """`flush`, then free what the store holds. Doing it twice is harmless."""
        ...


def check_size(data: Data) -> int:
    """The length of a block in bytes, or `InvalidInput` above 2 MiB."""
    length = memoryview(data).nbytes
    if length > MAX_BLOCK:
        raise InvalidInput(
            f"A block of {length} bytes; at most {MAX_BLOCK} are accepted.", hint="Split it into a UnixFS file first."
        )
    return length


def verify_block(cid: Cid, data: Data) -> None:
    """Return if `data` is the block that `cid` names, else raise `Corrupted`."""
    if memoryview(data).nbytes > MAX_BLOCK or hashlib.sha256(data).digest() != cid.digest:
        raise Corrupted(
            f"The bytes under {cid} are not that block.",
            hint="Fetch it again from another copy; nothing of it was used.",
            cid=str(cid),
        )


def absent(cid: Cid) -> NotFound:
    """The error for a block that a store does not have."""
    return NotFound(
        f"Block {cid} is not here.", hint="Bring it in from a replica or a backup of the block files.", cid=str(cid)
    )


class MemoryBlocks:
    """A block store in this process's memory: for tests, and for blocks that nobody keeps."""

    def __init__(self) -> None:
        self._blocks: dict[Cid, bytes] = {}
        self._lock = threading.Lock()

    def room(self) -> None:
        """It copies what it is given."""

    def add(self, codec: int, data: Data) -> Cid:
        check_size(data)
        kept = bytes(data)
        cid = Cid.of(codec, kept)
        with self._lock:
            self._blocks[cid] = kept
        return cid

    def put(self, cid: Cid, data: Data) -> None:
        check_size(data)
        kept = bytes(data)
        verify_block(cid, kept)
        with self._lock:
            self._blocks[cid] = kept

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        for cid, data in blocks:
            self.put(cid, data)

    def get(self, cid: Cid) -> bytes:
        data = self._blocks.get(cid)
        if data is None:
            raise absent(cid)
        verify_block(cid, data)
        return data

    def has(self, cid: Cid) -> bool:
        return cid in self._blocks

    def missing(self, cids: Iterable[Cid]) -> list[Cid]:
        return [cid for cid in cids if cid not in self._blocks]

    def cids(self, codec: int | None = None) -> Iterator[Cid]:
        with self._lock:
            held = list(self._blocks)
        return (cid for cid in held if codec is None or cid.codec == codec)

    def begin(self) -> None:
        """Nobody else can write to this memory."""

    def delete(self, cid: Cid) -> None:
        with self._lock:
            self._blocks.pop(cid, None)

    def flush(self) -> None:
        """Memory is as durable as it gets."""

    def close(self) -> None:
        """The blocks stay readable until the object itself goes."""
