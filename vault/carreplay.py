"""Bringing the index up to the log: after a crash, for a copied directory, or from nothing.

Replaying is the only way in which the segments' meaning is decided, so a rebuilt index equals the one that grew
with the writes. With `repair` (the lock must be held) torn tails are cut off;
without it not a byte of the directory changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from core.errors import Busy
from core.files import Lock
from vault.carindex import BadIndex, Index, Location, position
from vault.carlog import HEADER, SegmentFile, decode_tombstone, poses_as_tombstone, scan


def segment_path(directory: Path, number: int) -> Path:
    """The file of segment `number`."""
    return directory / f"{number:08d}.car"


def segment_sizes(directory: Path) -> dict[int, int]:
    """Bytes of each segment file, by number in rising order."""
    found = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            stem, _, kind = entry.name.partition(".")
            if kind == "car" and len(stem) == 8 and stem.isascii() and stem.isdecimal():
                with contextlib.suppress(FileNotFoundError):  # compacted away since it was listed
                    found[int(stem)] = entry.stat().st_size
    return dict(sorted(found.items()))


def open_index(directory: Path, lock: Lock) -> Index:
    """The index of a store that may be written, caught up with its segments unless somebody is writing them."""
    try:
        index = Index.open(_index_path(directory))
        if is_behind(index, directory):
            # A live writer's tail looks like a dead one's. If the lock is held, the tail is the holder's to finish.
            with contextlib.suppress(Busy), lock:
                replay(index, directory, repair=True)
        return index
    except BadIndex:
        with lock:
            return remake_index(directory, repair=True)


def open_index_read_only(directory: Path) -> Index:
    """The index, or a copy in memory that was caught up; nothing is written."""
    try:
        index = Index.open_read_only(_index_path(directory))
        # What is behind a live writer's index was not flushed yet, and is not for others to see.
        if not is_behind(index, directory) or _somebody_writes(directory):
            return index
        copy = Index.in_memory(index)
        index.close()
        replay(copy, directory, repair=False)
        return copy
    except (BadIndex, FileNotFoundError):  # or a segment was compacted away between listing and reading
        return remake_index_in_memory(directory)


def remake_index(directory: Path, *, repair: bool) -> Index:
    """Throw the index away and make it from the segments alone. The lock must be held."""
    path = _index_path(directory)
    # The main file goes last: a new one must never meet an old write-ahead log.
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")
    index = Index.open(path)
    replay(index, directory, repair=repair)
    return index


def remake_index_in_memory(directory: Path) -> Index:
    """The same without touching the directory, from segments that another process may be compacting."""
    while True:
        index = Index.in_memory()
        before = segment_sizes(directory)
        try:
            replay(index, directory, repair=False)
            return index
        except FileNotFoundError:
            index.close()
            if segment_sizes(directory) == before:
                raise


def is_behind(index: Index, directory: Path) -> bool:
    """Whether the segment files differ from what the index has seen of them."""
    return {number: mark.end for number, mark in index.marks().items()} != segment_sizes(directory)


def replay(index: Index, directory: Path, *, repair: bool) -> None:
    """Bring the index up to the log in one transaction; from the start if the log is not the one it knows."""
    index.begin()
    try:
        marks, sizes = index.marks(), segment_sizes(directory)
        newest = max(marks, default=-1)
        # An older segment that the index does not know may hold tombstones for what is in it: order is all.
        if any(sizes.get(number, -1) < mark.end for number, mark in marks.items()) or any(
            number < newest and number not in marks for number in sizes
        ):
            index.clear()
            marks = {}
        for number, size in sizes.items():
            known = marks[number].end if number in marks else 0
            if known < size or number not in marks:
                _replay_segment(index, directory, number, known, repair)
        index.commit()
    except BaseException:
        index.rollback()
        raise


def _replay_segment(index: Index, directory: Path, number: int, known: int, repair: bool) -> None:
    segment = SegmentFile(segment_path(directory, number), number, os.O_RDWR if repair else os.O_RDONLY)
    index.set_mark(number, known)
    end = known
    for record in scan(segment, known):
        end = record.end
        frame = record.offset - record.start
        # A tombstone behind damage is not believed: a stranger's block could contain one.
        tombstone = decode_tombstone(record.cid.codec, record.data) if record.in_step else None
        if tombstone is not None:
            index.kill(*tombstone)
            index.note(number, record.end - record.start)
        elif not poses_as_tombstone(record.cid.codec, record.data):
            index.insert(record.cid, Location(position(number, record.offset), len(record.data)), frame)
    if repair:
        if end < len(HEADER):
            segment.write(0, [HEADER])
            end = len(HEADER)
        segment.truncate(end)
        # The index must never be ahead of what the disk holds.
        segment.sync()
    index.set_mark(number, end)


def _somebody_writes(directory: Path) -> bool:
    try:
        fd = os.open(directory / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def _index_path(directory: Path) -> Path:
    return directory / "index.sqlite"
