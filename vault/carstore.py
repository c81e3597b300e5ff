"""The embedded block store: append-only CARv1 segment files and an index that can be made again.

Promises. Every block is hashed on its way in and again on its way out. When `flush` returned, what was put or
deleted before survives a kill or a power cut; what was not flushed may be lost but is never seen half-written.
The segment files alone are the store: the index beside them is rebuilt when it is missing, behind or damaged.
One process writes at a time: the lock is taken at the first put and freed by `flush`; a second writer waits for it
(`patience`, in seconds), then gets `Busy` with the holder's name. A deleted block's bytes leave the disk when half of
its segment is dead, or at `compact`. Several threads may use one store.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from core.errors import AllodError, Conflict, Corrupted, Denied, InvalidInput, NotFound, Unavailable
from core.files import Lock, sync_directory
from vault.blocks import Data, absent, check_size, verify_block
from vault.car import encode_frame
from vault.carindex import BadIndex, Index, Location, Mark, position
from vault.carlog import HEADER, SegmentFile, decode_tombstone, encode_tombstone, poses_as_tombstone, scan
from vault.carreplay import (
    is_behind,
    open_index,
    open_index_read_only,
    remake_index,
    remake_index_in_memory,
    replay,
    segment_path,
    segment_sizes,
)
from vault.cartail import Tail
from vault.cid import CID_SIZE, DAG_CBOR, Cid

ROLL_AT = 256 << 20  # bytes; a segment is closed before it grows past this
_OPEN_FILES = 64

_Result = TypeVar("_Result")


class CarStore:
    """A `BlockStore` in the directory `path`. With `read_only` nothing there is changed, not even repaired."""

    def __init__(self, path: Path, *, read_only: bool = False, roll_at: int = ROLL_AT, patience: float = 0.0) -> None:
        self._path = path
        self._read_only = read_only
        self._roll_at = roll_at
        self._mutex = threading.RLock()
        self._lock = Lock(path / "LOCK", what="The block store", patience=patience)
        self._files: OrderedDict[int, SegmentFile] = OrderedDict()
        self._tail: Tail | None = None  # the log's end being appended to, while the lock is held
        self._unsynced: list[SegmentFile] = []
        self._dirty = False  # something was put or deleted since the last flush
        self._damaged: set[Cid] = set()
        self._lost = False
        self._closed = False
        if read_only:
            if not path.is_dir():
                raise NotFound(f"There is no block store at {path}.", hint="Check the directory.")
        else:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._seen: dict[int, int] = {}  # the segment files when the index was opened
        self._index = self._open_index()

    def room(self) -> None:
        """Blocks are gathered in the order of the file, which takes a copy."""

    def add(self, codec: int, data: Data) -> Cid:
        check_size(data)
        cid = Cid.of(codec, data)
        self._keep(cid, data)
        return cid

    def put(self, cid: Cid, data: Data) -> None:
        check_size(data)
        verify_block(cid, data)
        self._keep(cid, data)

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        for cid, data in blocks:
            self.put(cid, data)

    def get(self, cid: Cid) -> bytes:
        rebuilt = False
        for _ in range(4):
            with self._mutex:
                at = self._lookup(cid)
                if at is None:
                    raise absent(cid)
                if self._tail is not None and self._tail.holds(at.segment, at.offset + at.length):
                    with self._all_or_nothing():
                        self._tail.settle()
                try:
                    segment = self._segment(at.segment)
                except FileNotFoundError:  # compacted away by another process since the look-up
                    self._follow()
                    continue
            block = segment.read(at.offset, at.length)
            try:
                verify_block(cid, block)
            except Corrupted:
                with self._mutex:
                    if not rebuilt and segment.read(at.offset - CID_SIZE, CID_SIZE) != cid.bytes:
                        self._rebuild()  # the block may be sound: the index pointed at another place
                        rebuilt = True
                        continue
                    self._damaged.add(cid)  # so that a good copy may be put
                raise
            return block
        raise Corrupted(f"The segment file that holds {cid} is gone.", hint="Restore it from a backup.", cid=str(cid))

    def has(self, cid: Cid) -> bool:
        with self._mutex:
            return self._lookup(cid) is not None

    def missing(self, cids: Iterable[Cid]) -> list[Cid]:
        return [cid for cid in cids if not self.has(cid)]

    def cids(self, codec: int | None = None) -> Iterator[Cid]:
        after: Cid | None = None
        while True:
            with self._mutex:
                page = self._mending(partial(self._page, codec, after))
            if not page:
                return
            yield from page
            after = page[-1]

    def begin(self) -> None:
        with self._mutex:
            self._begin()

    def delete(self, cid: Cid) -> None:
        with self._mutex:
            if self._lookup(cid) is None:
                return
            self._begin()
            self._dirty = True
            self._mending(lambda: self._bury(cid))

    def flush(self) -> None:
        with self._mutex:
            self._own_up()
            if self._tail is not None:
                self._commit()
                with contextlib.suppress(Unavailable):  # no room to tidy up in; what was put is durable
                    self._mending(lambda: self._compact(lambda mark: mark.dead > mark.end / 2))
                self._release()

    def compact(self) -> None:
        """Rewrite every segment that holds dead bytes, so that deleted blocks leave the disk now. Flushes."""
        with self._mutex:
            self._own_up()
            self._begin()
            self._commit()
            self._mending(lambda: self._compact(lambda mark: mark.dead + mark.notes > 0))
            self._release()

    def close(self) -> None:
        with self._mutex:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                self._index.close()
                self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Reading. All of it under the mutex.

    def _opened(self) -> Index:
        if self._closed:
            raise Conflict("The block store is closed already.", hint="Open it again.")
        return self._index

    def _lookup(self, cid: Cid) -> Location | None:
        at = self._mending(lambda: self._opened().lookup(cid))
        if at is None and self._follow():
            at = self._index.lookup(cid)
        return at

    def _page(self, codec: int | None, after: Cid | None) -> list[Cid]:
        self._opened()
        if after is None:
            self._follow()
        return self._index.cids(codec, after)

    def _open_index(self) -> Index:
        self._seen = segment_sizes(self._path)
        return open_index_read_only(self._path) if self._read_only else open_index(self._path, self._lock)

    def _follow(self) -> bool:
        """Open the index anew if other processes have left ours behind; whether they had."""
        if self._tail is not None:
            return False
        # An index file follows the commits of others by itself; a copy in memory does not.
        outdated = segment_sizes(self._path) != self._seen if self._index.is_copy else self._index.replaced
        if outdated:
            self._index.close()
            self._index = self._open_index()
        return outdated

    def _segment(self, number: int) -> SegmentFile:
        if self._tail is not None and self._tail.segment.number == number:
            return self._tail.segment
        segment = self._files.get(number)
        if segment is None:
            segment = SegmentFile(segment_path(self._path, number), number)
            self._files[number] = segment
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        else:
            self._files.move_to_end(number)
        return segment

    def _mending(self, action: Callable[[], _Result]) -> _Result:
        """`action`, done again on a new index if the present one turns out to be broken."""
        try:
            return action()
        except BadIndex:
            self._rebuild()
            return action()

    def _rebuild(self) -> None:
        """The index has lied or broken: make it again from the segments alone."""
        if self._read_only:
            self._index.close()
            self._index = remake_index_in_memory(self._path)
        elif self._tail is None:
            with self._lock:
                self._index.close()
                self._index = remake_index(self._path, repair=True)
        else:
            with self._all_or_nothing():
                # What was put since the last flush is in the log; it must be durable before the index says so.
                self._sync()
                self._index.close()
                self._index = remake_index(self._path, repair=False)
                self._index.begin()

    # Writing. All of it under the mutex, and between `_begin` and `_release` under the lock file too.

    def _keep(self, cid: Cid, data: Data) -> None:
        if poses_as_tombstone(cid.codec, data):
            raise InvalidInput("A block that reads as the store's own note of a deletion is not stored.")
        with self._mutex:
            if self._has(cid):
                return
            self._begin()
            self._dirty = True
            self._mending(lambda: self._insert(cid, data))
            self._damaged.discard(cid)
            crowd = self._tail.crowd() if self._tail is not None else None
        if crowd is not None:
            wait([crowd])  # for the disk, so not under the mutex; whether it went well is seen when its buffer is due

    def _has(self, cid: Cid) -> bool:
        return cid not in self._damaged and self._lookup(cid) is not None

    def _begin(self) -> None:
        """Take the lock and find the end of the log, unless this store is writing already."""
        if self._read_only:
            raise Denied("This block store was opened for reading only.", hint="Open it for writing.")
        self._opened()
        if self._tail is not None:
            return
        self._lock.acquire()
        with self._all_or_nothing():
            self._catch_up()
            self._files.clear()
            sizes = segment_sizes(self._path)
            last = max(sizes, default=0)
            self._index.begin()
            if last in sizes:
                segment = SegmentFile(segment_path(self._path, last), last, os.O_RDWR)
                self._unsynced = [segment]
                self._tail = Tail(segment, sizes[last])
            else:
                self._tail = Tail(self._new_segment(0), len(HEADER))

    def _catch_up(self) -> None:
        try:
            if not self._index.replaced:
                if is_behind(self._index, self._path):
                    replay(self._index, self._path, repair=True)
                return
        except BadIndex:
            pass
        self._index.close()
        self._index = remake_index(self._path, repair=True)

    def _new_segment(self, number: int) -> SegmentFile:
        segment = SegmentFile(segment_path(self._path, number), number, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._unsynced.append(segment)
        segment.write(0, [HEADER])
        sync_directory(self._path)
        self._index.set_mark(number, len(HEADER))
        return segment

    def _roll(self, tail: Tail) -> None:
        """Go on in a new segment."""
        self._index.set_mark(tail.segment.number, tail.end)
        tail.move_to(self._new_segment(tail.segment.number + 1), len(HEADER))

    def _insert(self, cid: Cid, data: Data) -> None:
        with self._all_or_nothing():
            at, frame = self._append(cid, data)
            self._index.insert(cid, at, frame)

    def _bury(self, cid: Cid) -> None:
        assert self._tail is not None
        # The position decides, not the name: a copy put later lives.
        before = position(self._tail.segment.number, self._tail.end)
        note = encode_tombstone(cid, before)
        with self._all_or_nothing():
            self._write_note(note)
            self._index.kill(cid, before)

    def _write_note(self, note: bytes) -> None:
        at, frame = self._append(Cid.of(DAG_CBOR, note), note)
        self._index.note(at.segment, frame + at.length)

    def _append(self, cid: Cid, data: Data) -> tuple[Location, int]:
        """Write one record at the end of the log: where its data lies, and how long its frame is."""
        assert self._tail is not None
        length = memoryview(data).nbytes
        frame = encode_frame(cid, length)
        if self._tail.end + len(frame) + length > self._roll_at and self._tail.end > len(HEADER):
            self._roll(self._tail)
        at = Location(position(self._tail.segment.number, self._tail.end + len(frame)), length)
        self._tail.append([frame, data])
        return at, len(frame)

    def _commit(self) -> None:
        """Make all that was written durable, then visible to others, in this order."""
        assert self._tail is not None
        segment, end = self._tail.segment, self._tail.end

        def publish() -> None:
            self._index.set_mark(segment.number, end)
            self._index.commit()
            self._index.begin()

        with self._all_or_nothing():
            self._sync()
            self._mending(publish)
        self._dirty = False
        self._unsynced = [segment]

    def _sync(self) -> None:
        if self._tail is not None:
            self._tail.settle()
        for segment in self._unsynced:
            segment.sync()

    def _release(self) -> None:
        self._index.rollback()
        self._stop()
        self._lock.release()

    def _stop(self) -> None:
        tail, self._tail, self._unsynced = self._tail, None, []
        if tail is not None:
            tail.close()

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Generator[None]:
        """After a failure give up everything since the last flush: nobody knows what of it the disk holds."""
        try:
            yield
        except BadIndex:
            raise  # the log is sound, and the index can be made again
        except OSError as error:
            self._abandon()
            raise Unavailable(
                f"The block store cannot write: {error.strerror}.", hint="Make room on the disk, then do it again."
            ) from None
        except BaseException:
            self._abandon()
            raise

    def _own_up(self) -> None:
        if self._lost:
            self._lost = False
            raise Unavailable(
                "Blocks put before an earlier failure of the disk are not stored.", hint="Put them again."
            )

    def _abandon(self) -> None:
        self._lost = self._lost or self._dirty
        unsynced = self._unsynced
        self._stop()  # nobody writes any more when the log is cut
        with contextlib.suppress(AllodError, OSError, BadIndex):
            self._index.rollback()
            marks = self._index.marks()
            for segment in unsynced:
                if segment.number in marks:
                    segment.truncate(marks[segment.number].end)
                else:
                    segment_path(self._path, segment.number).unlink()
        self._dirty = False
        self._lock.release()

    def _compact(self, chosen: Callable[[Mark], bool]) -> None:
        """Move the living out of the chosen segments, oldest first, then remove those files."""
        with self._all_or_nothing():
            for number, mark in self._index.marks().items():
                if chosen(mark) and self._evacuate(number):
                    self._index.drop(number)
                    self._commit()
                    segment_path(self._path, number).unlink()
                    sync_directory(self._path)
                    self._files.pop(number, None)

    def _evacuate(self, number: int) -> bool:
        """Append what lives in the segment to the log's end; False if something there cannot be read."""
        assert self._tail is not None
        if number == self._tail.segment.number:
            self._roll(self._tail)
        source = self._segment(number)
        # A tombstone is still needed while another segment before it holds dead blocks.
        graves = [position(n, 0) for n, mark in self._index.marks().items() if n != number and mark.dead]
        for record in scan(source, 0):
            at = position(number, record.offset)
            tombstone = decode_tombstone(record.cid.codec, record.data) if record.in_step else None
            if tombstone is not None:
                if any(grave < tombstone[1] for grave in graves):
                    self._write_note(record.data)
            else:
                known = self._index.lookup(record.cid)
                if known is not None and known.position == at:
                    self._insert(record.cid, record.data)
        return not self._index.lives_in(number)
