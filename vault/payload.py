"""Sealing files and opening objects, streaming: memory does not grow with the file.

`seal` and `seal_into` read a source once and encrypt it in segments (see `vault.segments`); `open_payload`,
`open_range` and `open_to_file` give plaintext back, each segment only after it was authenticated, in order. Two
threads share the work: reading, hashing and AES-GCM leave Python's lock. A failed open leaves no file, and a source
that changes while it is read is an error, never a torn object.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
_SLOTS = 4  # segments in flight: two at work, two waiting their turn


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
    return _seal(source, key, bytes, lambda piece, segment: sink(piece.index, memoryview(segment)))


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

    def collect(piece: _Piece, cid: Cid) -> None:
        builder.add(cid, piece.sealed_size)
        if progress is not None:
            progress(piece.size)

    sealed = _seal(source, key, lambda segment: store.add(RAW, segment), collect, store.room)
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


@dataclass(frozen=True, slots=True)
class _Piece:
    """A segment's plaintext to come. `read(buffer)` gives it, in `buffer` or elsewhere; once, in any thread."""

    index: int
    size: int
    last: bool
    read: Callable[[memoryview], memoryview]

    @property
    def sealed_size(self) -> int:
        return self.size + TAG + (HEADER if self.index == 0 else 0)


def _pieces(source: BinaryIO | Path, stream: BinaryIO, expected: int | None) -> Iterator[_Piece]:
    # A stream from elsewhere may give other bytes than its descriptor does, such as a gzip file's.
    if isinstance(source, Path) and expected is not None:
        return _pieces_of_file(stream.fileno(), expected)
    return _pieces_of_stream(stream)


def _pieces_of_file(fd: int, size: int) -> Iterator[_Piece]:
    """Each is read where it is sealed, by the same thread: what lies in its processor's cache need not move."""
    for index in range(segment_count(ciphertext_size(size))):
        start, stop = plaintext_start(index), min(size, plaintext_start(index + 1))
        yield _Piece(index, stop - start, stop == size, partial(_read_at, fd, start, stop - start))
    if os.pread(fd, 1, size):  # it grows, or its size was never true, as below /proc
        raise _changed()


def _read_at(fd: int, offset: int, size: int, buffer: memoryview) -> memoryview:
    rest = buffer[:size]
    while rest:
        got = os.preadv(fd, [rest], offset)
        if got == 0:
            raise _changed()
        offset, rest = offset + got, rest[got:]
    return buffer[:size]


def _pieces_of_stream(stream: BinaryIO) -> Iterator[_Piece]:
    """Read in order, in the thread that iterates: there Ctrl-C ends the waiting for a pipe."""
    index, carry, last = 0, b"", False
    while not last:
        # One byte more than the piece tells whether another follows; it opens the next piece.
        capacity = FIRST if index == 0 else REST
        buffer = memoryview(bytearray(capacity + 1))
        buffer[: len(carry)] = carry
        filled = len(carry) + read_full(stream, buffer[len(carry) :])
        last, size = filled <= capacity, min(filled, capacity)
        carry = bytes(buffer[size:filled])
        yield _Piece(index, size, last, partial(_as_read, buffer[:size]))
        index += 1


def _as_read(plain: memoryview, _buffer: memoryview) -> memoryview:
    return plain


def _seal(
    source: BinaryIO | Path,
    key: SegmentKey,
    work: Callable[[memoryview], _Result],
    done: Callable[[_Piece, _Result], None],
    room: Callable[[], memoryview | None] = lambda: None,
) -> Sealed:
    """`work` runs on each sealed segment, in a worker thread; `done` in order in this one.

    A segment lies in what `room` gives, for `work` to keep, or else in memory that is valid during the call.
    """
    mine = threading.local()  # each worker's own memory, so that it stays in the cache of one processor

    def prepare() -> None:
        mine.plain, mine.cipher = memoryview(bytearray(REST)), memoryview(bytearray(SEGMENT))

    def run(piece: _Piece) -> _Result:
        plain = piece.read(mine.plain)
        cipher = room() or mine.cipher
        return work(cipher[: key.seal(piece.index, piece.last, plain, cipher)])

    flying: deque[tuple[_Piece, Future[_Result]]] = deque()
    total = size = 0

    def land() -> int:
        piece, future = flying.popleft()
        done(piece, future.result())
        return piece.sealed_size

    with _unchanging(source) as (stream, expected), ThreadPoolExecutor(_WORKERS, "seal", prepare) as pool:
        try:
            for piece in _pieces(source, stream, expected):
                total += piece.size
                if expected is not None and total > expected:
                    raise _changed()
                if len(flying) == _SLOTS:
                    size += land()
                flying.append((piece, pool.submit(run, piece)))
            while flying:
                size += land()
        finally:
            for _, future in flying:
                future.cancel()
        if expected is not None and total < expected:
            raise _changed()
    if size != ciphertext_size(total):
        raise AssertionError("the segments do not add up")
    return Sealed(total, size)


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
