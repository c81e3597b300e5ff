"""One segment file of the embedded store: a CARv1 file with no roots, appended to and replayed.

A deletion is a record too: a *tombstone*, a dag-cbor block that names a CID and a position and says that copies
before that position are dead. It travels with the file, so a copy of the segments is a copy of the store, and it
means the same wherever compaction moves it. Replaying accepts only what hashes to its CID. After damage it looks
for the next record that does, so that a flipped bit costs one block; tombstones behind damage are not believed,
because there a stranger's block could pose as one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.encoding import decode_cbor, decode_uvarint, encode_cbor
from core.errors import InvalidInput
from vault.blocks import MAX_BLOCK, Data
from vault.car import MAX_FRAME, encode_header
from vault.cid import CID_SIZE, DAG_CBOR, Cid

HEADER = encode_header()
_TOMBSTONE_MARK = "allod/tombstone/1"
_TOMBSTONE_HEAD = b"\xa3aTq" + _TOMBSTONE_MARK.encode()  # map of three, its first key "T", in deterministic dag-cbor
_CID_HEAD = re.compile(rb"\x01[\x55\x70\x71]\x12\x20")
_WINDOW = 1 << 20
PAGE = 4096  # bytes; where direct writes begin, and how long they are, is a multiple of it


class SegmentFile:
    """An open segment; the descriptor lives as long as anybody reads through this object."""

    def __init__(self, path: Path, number: int, flags: int = os.O_RDONLY) -> None:
        self._fd = -1
        self._fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
        self.number = number

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`; fewer only at the end."""
        data = os.pread(self._fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def write(self, offset: int, parts: list[Data]) -> None:
        """Write `parts` one behind the other at `offset`; raises OSError if the disk will not take all."""
        views = [memoryview(part).cast("B") for part in parts]
        while views:
            done = os.pwritev(self._fd, views, offset)
            offset += done
            while views and done >= len(views[0]):
                done -= len(views.pop(0))
            if views:
                views[0] = views[0][done:]

    def write_step(self, offset: int, data: memoryview) -> None:
        """Write much at once, around the page cache if this file system does that and `data` lies on whole pages.

        Copying into the page cache, writing from it and dropping it again costs half as much time as the cryptography
        of what is written. Where it has to be, what was written is dropped at least, so that sealing a large file does
        not push everything else out.
        """
        try:
            fd = os.open(f"/proc/self/fd/{self._fd}", os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        except OSError:
            done = 0
        else:
            try:
                done = _write_pages(fd, offset, data)
            finally:
                os.close(fd)
        if done < len(data):
            self.write(offset + done, [data[done:]])
            with contextlib.suppress(OSError):  # only a hint
                os.posix_fadvise(self._fd, 0, offset + len(data), os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)


def _write_pages(fd: int, offset: int, data: memoryview) -> int:
    """Write the whole pages of `data` directly; returns how many bytes that were, or fewer where they are refused."""
    done = 0
    while done + PAGE <= len(data):
        try:
            done += os.pwritev(fd, [data[done : len(data) - len(data) % PAGE]], offset + done)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    return done


@dataclass(frozen=True, slots=True)
class Record:
    """A block found in a segment: its frame begins at `start`, its `data` at `offset`."""

    cid: Cid
    start: int
    offset: int
    data: bytes
    in_step: bool  # reached from record to record, not by searching behind damage

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


def scan(segment: SegmentFile, start: int) -> Iterator[Record]:
    """Every whole record from byte `start` on that hashes to its CID, in order."""
    at = start
    in_step = True
    size = segment.size
    if at < len(HEADER):
        at = len(HEADER)
        in_step = segment.read(0, len(HEADER)) == HEADER
    while at < size:
        record = _record(segment, at, size, in_step)
        if record is None:
            found = _skip_damage(segment, at, size)
            if found is None:
                return
            in_step = in_step and found.in_step
            record = found
        yield record
        at = record.end


def _record(segment: SegmentFile, at: int, size: int, in_step: bool) -> Record | None:
    framed = _frame(segment, at, size)
    if framed is None:
        return None
    cid, offset, length = framed
    data = segment.read(offset, length)
    if len(data) < length or Cid.of(cid.codec, data) != cid:
        return None
    return Record(cid, at, offset, data, in_step)


def _frame(segment: SegmentFile, at: int, size: int) -> tuple[Cid, int, int] | None:
    """(CID, data offset, data length) of what claims to be a record that fits into the file."""
    head = segment.read(at, MAX_FRAME)
    try:
        length, behind = decode_uvarint(head)
        cid = Cid.parse(head[behind : behind + CID_SIZE])
    except InvalidInput:
        return None
    length -= CID_SIZE
    offset = at + behind + CID_SIZE
    return (cid, offset, length) if 0 <= length <= MAX_BLOCK and offset + length <= size else None


def _skip_damage(segment: SegmentFile, at: int, size: int) -> Record | None:
    framed = _frame(segment, at, size)
    if framed is not None:
        following = _record(segment, framed[1] + framed[2], size, in_step=True)
        if following is not None:
            return following
    window = at
    while window < size:
        data = segment.read(window, _WINDOW + CID_SIZE)
        for match in _CID_HEAD.finditer(data):
            if match.start() >= _WINDOW:
                break
            for back in range(1, 5):
                start = window + match.start() - back
                if start <= at:
                    continue
                framed = _frame(segment, start, size)
                if framed is not None and framed[1] == window + match.start() + CID_SIZE:
                    record = _record(segment, start, size, in_step=False)
                    if record is not None:
                        return record
        window += _WINDOW
    return None


def encode_tombstone(cid: Cid, before: int) -> bytes:
    """The record that says: copies of `cid` before position `before` are dead."""
    return encode_cbor({"T": _TOMBSTONE_MARK, "cid": cid.bytes, "before": before})


def poses_as_tombstone(codec: int, data: Data) -> bool:
    """Whether a replay might take the block for a deletion; such a block is never stored as content."""
    return codec == DAG_CBOR and bytes(memoryview(data)[: len(_TOMBSTONE_HEAD)]) == _TOMBSTONE_HEAD


def decode_tombstone(codec: int, data: bytes) -> tuple[Cid, int] | None:
    """(CID, position) if the block is a tombstone."""
    if not poses_as_tombstone(codec, data):
        return None
    try:
        value = decode_cbor(data)
        cid, before = Cid.parse(value["cid"]), value["before"]
    except (InvalidInput, KeyError, TypeError):
        return None
    return (cid, before) if type(before) is int and before >= 0 else None
