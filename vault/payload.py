"""Sealing files and opening objects, streaming: memory does not grow with the file.

`seal` and `seal_into` read a source once and encrypt it in segments (see `vault.segments`); `open_payload`,
`open_range` and `open_to_file` give plaintext back, each segment only after it was authenticated, in order. Two
threads share the work: hashing and AES-GCM leave Python's lock. A failed open leaves no file, and a source that
changes while it is read is an error, never a torn object.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.files import write_pieces
from core.ids import ObjectId, VaultId
from vault.blocks import BlockStore
from vault.cid import RAW, Cid
from vault.segments import (
    FIRST,
    HEADER,
    REST,
    SEGMENT,
    TAG,
    Opener,
    SegmentKey,
    associated_data,
    ciphertext_size,
    dek_commitment,
    plaintext_size,
    plaintext_start,
    segment_at,
    segment_count,
)
from vault.unixfs import FileBuilder, leaf, leaves, read_full

__all__ = [
    "SEGMENT",
    "Opener",
    "Progress",
    "Sealed",
    "SealedObject",
    "associated_data",
    "ciphertext_size",
    "dek_commitment",
    "open_payload",
    "open_range",
    "open_to_file",
    "plaintext_size",
    "seal",
    "seal_into",
    "segment_count",
]

Progress = Callable[[int], None]  # called in the caller's thread with plaintext bytes done since the last call
_Result = TypeVar("_Result")

_WORKERS = 2
_SLOTS = 4  # segments in flight: two at work, one being read, one waiting its turn


@dataclass(frozen=True, slots=True)
class Sealed:
    """Sizes of a finished encryption, in bytes."""

    plaintext_size: int
    size: int


@dataclass(frozen=True, slots=True)
class SealedObject:
    """A payload in a block store: its root, and its sizes in bytes (`size` is the ciphertext's)."""

    payload: Cid
    size: int
    plaintext_size: int


def seal(
    source: BinaryIO | Path,
    dek: bytes,
    vault_id: VaultId,
    object_id: ObjectId,
    sink: Callable[[int, memoryview], None],
) -> Sealed:
    """Encrypt `source` in one pass; `sink(index, segment)` gets each segment in order, valid during the call.

    `dek` must be fresh random bytes for this object. Raises `Conflict` if the source changes meanwhile.
    """
    key = _fresh_key(dek, vault_id, object_id)
    return _seal(source, key, lambda _segment: None, lambda index, segment, _: sink(index, segment))


def seal_into(
    source: BinaryIO | Path,
    dek: bytes,
    vault_id: VaultId,
    object_id: ObjectId,
    store: BlockStore,
    progress: Progress | None = None,
) -> SealedObject:
    """Encrypt `source` into `store` as a UnixFS file whose leaves are the segments.

    The blocks are durable after the caller's `store.flush()`. After an error, blocks already stored stay behind
    unreferenced; they are ciphertext under a key that nobody keeps.
    """
    key = _fresh_key(dek, vault_id, object_id)
    builder = FileBuilder(store.put)

    def collect(index: int, segment: memoryview, cid: Cid) -> None:
        builder.add(cid, len(segment))
        if progress is not None:
            progress(len(segment) - TAG - (HEADER if index == 0 else 0))

    sealed = _seal(source, key, lambda segment: store.add(RAW, segment), collect)
    root, size = builder.finish()
    if size != sealed.size:
        raise AssertionError("the tree and the ciphertext differ in size")
    return SealedObject(root, size, sealed.plaintext_size)


def open_payload(
    store: BlockStore,
    payload: Cid,
    size: int,
    dek: bytes,
    dek_commit: bytes,
    vault_id: VaultId,
    object_id: ObjectId,
    progress: Progress | None = None,
) -> Iterator[bytes]:
    """The object's plaintext, piece by piece in order. `size` and `dek_commit` come from its manifest.

    Raises `Corrupted` or `NotFound` at the first segment that is wrong or missing; the pieces before it are true.
    """
    opener = Opener(dek, vault_id, object_id, size, dek_commit)
    return _open(store, payload, opener, 0, opener.plaintext_size, progress)


def open_range(
    store: BlockStore,
    payload: Cid,
    size: int,
    dek: bytes,
    dek_commit: bytes,
    vault_id: VaultId,
    object_id: ObjectId,
    start: int,
    stop: int,
) -> Iterator[bytes]:
    """Plaintext bytes [start, stop), fetching only the leaves that hold them and the first, which has the salt."""
    opener = Opener(dek, vault_id, object_id, size, dek_commit)
    if not 0 <= start <= stop <= opener.plaintext_size:
        raise InvalidInput(f"The object has {opener.plaintext_size} bytes; {start} to {stop} is no range of it.")
    return _open(store, payload, opener, start, stop, None)


def open_to_file(
    store: BlockStore,
    payload: Cid,
    size: int,
    dek: bytes,
    dek_commit: bytes,
    vault_id: VaultId,
    object_id: ObjectId,
    path: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write the plaintext to `path` (mode 0600) and return its size; the file appears whole or not at all.

    Raises `Conflict` if `path` exists, unless `overwrite`.
    """
    pieces = open_payload(store, payload, size, dek, dek_commit, vault_id, object_id, progress)
    return write_pieces(path, pieces, overwrite=overwrite)


def _fresh_key(dek: bytes, vault_id: VaultId, object_id: ObjectId) -> SegmentKey:
    header = bytes((HEADER,)) + secrets.token_bytes(HEADER - 1)
    return SegmentKey(dek, header, associated_data(vault_id, object_id))


class _Pieces:
    """Cuts a source into the plaintext pieces of segments, knowing of each whether it is the last."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._carry = b""
        self._index = 0
        self.total = 0

    def next_into(self, buffer: memoryview) -> tuple[int, int, bool]:
        """(index, length, last) of the next piece, now at the start of `buffer`, which has room for REST + 1."""
        # One byte more than the piece tells whether another follows; it opens the next piece.
        capacity = FIRST if self._index == 0 else REST
        buffer[: len(self._carry)] = self._carry
        filled = len(self._carry) + read_full(self._stream, buffer[len(self._carry) : capacity + 1])
        last = filled <= capacity
        length = min(filled, capacity)
        self._carry = bytes(buffer[length:filled])
        index, self._index = self._index, self._index + 1
        self.total += length
        return index, length, last


def _seal(
    source: BinaryIO | Path,
    key: SegmentKey,
    work: Callable[[memoryview], _Result],
    done: Callable[[int, memoryview, _Result], None],
) -> Sealed:
    """`work` runs on each sealed segment in a worker thread, `done` in order in this one."""

    def run(index: int, last: bool, plain: memoryview, cipher: memoryview) -> tuple[memoryview, _Result]:
        segment = cipher[: key.seal(index, last, plain, cipher)]
        return segment, work(segment)

    with _unchanging(source) as (stream, expected), ThreadPoolExecutor(_WORKERS, "seal") as pool:
        pieces = _Pieces(stream)
        free = [(memoryview(bytearray(REST + 1)), memoryview(bytearray(SEGMENT))) for _ in range(_SLOTS)]
        flying: deque[tuple[int, tuple[memoryview, memoryview], Future[tuple[memoryview, _Result]]]] = deque()
        size = 0

        def land() -> int:
            index, slot, future = flying.popleft()
            segment, result = future.result()
            done(index, segment, result)
            free.append(slot)
            return len(segment)

        try:
            last = False
            while not last:
                if not free:
                    size += land()
                slot = free.pop()
                index, length, last = pieces.next_into(slot[0])
                if expected is not None and pieces.total > expected:
                    raise _changed()
                flying.append((index, slot, pool.submit(run, index, last, slot[0][:length], slot[1])))
            while flying:
                size += land()
        finally:
            for _, _, future in flying:
                future.cancel()
        if expected is not None and pieces.total < expected:
            raise _changed()
    if size != ciphertext_size(pieces.total):
        raise AssertionError("the segments do not add up")
    return Sealed(pieces.total, size)


@contextlib.contextmanager
def _unchanging(source: BinaryIO | Path) -> Generator[tuple[BinaryIO, int | None]]:
    """A stream over `source` and how many bytes it must yield (None for pipes); `Conflict` if a file changed."""
    with contextlib.ExitStack() as stack:
        if isinstance(source, Path) and not source.is_file():
            if not source.exists():
                raise NotFound(f"There is no file {source.name} here.", hint="Check the path.")
            raise InvalidInput(f"{source.name} is not a regular file.", hint="Give a file, or a stream of its bytes.")
        stream = stack.enter_context(open(source, "rb", buffering=0)) if isinstance(source, Path) else source
        before = _regular(stream)
        expected = None if before is None else max(0, before.st_size - stream.tell())
        yield stream, expected
        after = _regular(stream)
        if before is not None and (after is None or _state(before) != _state(after)):
            raise _changed()


def _regular(stream: BinaryIO) -> os.stat_result | None:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _changed() -> Conflict:
    return Conflict(
        "The file changed while it was being sealed, so nothing of it was kept.",
        hint="Close the program that writes it, then add it again.",
    )


def _open(
    store: BlockStore, payload: Cid, opener: Opener, start: int, stop: int, progress: Progress | None
) -> Iterator[bytes]:
    first, last = segment_at(start), segment_at(max(start, stop - 1))
    # An empty range at the very end may fall behind the last segment.
    first, last = min(first, opener.segments - 1), min(last, opener.segments - 1)

    def fetch(cid: Cid, offset: int, size: int) -> bytes:
        if offset % SEGMENT:
            raise Corrupted(f"Leaf {cid} is not one segment of the object.")
        index = offset // SEGMENT
        piece = opener.open_segment(index, leaf(store, cid, size))
        begin = plaintext_start(index)
        return piece[max(0, start - begin) : max(0, stop - begin)]

    wanted = leaves(payload, store, opener.size, first * SEGMENT, min(opener.size, (last + 1) * SEGMENT))
    with ThreadPoolExecutor(_WORKERS, "open") as pool:
        if first > 0:
            head, _offset, size = next(leaves(payload, store, opener.size, 0, 1))
            opener.begin(leaf(store, head, size))
        flying: deque[Future[bytes]] = deque()
        try:
            for cid, offset, size in wanted:
                flying.append(pool.submit(fetch, cid, offset, size))
                # The salt lies in segment 0: the others wait for it.
                if offset == 0 or len(flying) == _SLOTS:
                    yield _landed(flying, progress)
            while flying:
                yield _landed(flying, progress)
        finally:
            for future in flying:
                future.cancel()


def _landed(flying: deque[Future[bytes]], progress: Progress | None) -> bytes:
    piece = flying.popleft().result()
    if progress is not None:
        progress(len(piece))
    return piece
