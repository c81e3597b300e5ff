"""The open end of the log: what is appended gathers in memory and leaves for the disk in large steps, in order.

Promises. One thread writes the steps, one behind the other and around the page cache where the file system lets it,
while callers go on appending; memory stays at a few steps. So what a kill leaves in the files is a beginning of what
was appended, never a log with a hole. `settle` returns when all of it is in the files, where it can be read and
synced. After a step that failed none behind it is written, and whoever appends or settles next gets its OSError.
Nothing here is safe to share among threads: the store's lock guards it.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from vault.blocks import Data
from vault.carlog import PAGE, SegmentFile

STEP = 8 << 20  # bytes that leave in one write; whole pages
_BUFFERS = 3  # one being filled, one being written, one waiting its turn


@dataclass(frozen=True, slots=True)
class _Step:
    """A buffer on its way to segment number `segment`, whose file lacks what begins at byte `start` of it."""

    written: Future[None]
    segment: int
    start: int
    buffer: mmap.mmap


class Tail:
    """Appends to `segment` from byte `end`, the end of the file, on; later to the segments it is moved to."""

    def __init__(self, segment: SegmentFile, end: int) -> None:
        self._free: list[mmap.mmap] = []
        self._leaving: deque[_Step] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._buffer = _memory()
        self._segment = segment
        self._base = 0  # where in the segment the buffer begins, at a page's edge
        self._filled = self._settled = 0  # bytes in the buffer, and how many of them the file has already
        self._begin(segment, end)

    @property
    def segment(self) -> SegmentFile:
        """The segment that the next byte goes to."""
        return self._segment

    @property
    def end(self) -> int:
        """Where in it the next byte goes."""
        return self._base + self._filled

    def append(self, parts: Iterable[Data]) -> None:
        """Put `parts` one behind the other at the end; their memory may be used for something else afterwards."""
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:
                fits = min(len(rest), STEP - self._filled)
                self._buffer[self._filled : self._filled + fits] = rest[:fits]
                self._filled += fits
                rest = rest[fits:]
                if self._filled == STEP:
                    self._dispatch()

    def move_to(self, segment: SegmentFile, end: int) -> None:
        """Go on at byte `end` of another segment; what was appended before still goes where it was to go."""
        if self._filled > self._settled:
            self._dispatch()
        self._begin(segment, end)

    def holds(self, segment: int, end: int) -> bool:
        """Whether something before byte `end` of segment number `segment` may not be in its file yet."""
        if self._leaving:
            return (segment, end) > (self._leaving[0].segment, self._leaving[0].start)
        return (segment, end) > (self._segment.number, self._base + self._settled)

    def settle(self) -> None:
        """Return when everything appended is in the files, though not yet durable."""
        while self._leaving:
            self._reclaim()
        if self._filled == self._settled:
            return
        self._segment.write(self._base + self._settled, [memoryview(self._buffer)[self._settled : self._filled]])
        # A page that is not full stays, for the step to come begins with it.
        pages = self._filled - self._filled % PAGE
        self._settled = self._filled - pages
        self._buffer[: self._settled] = self._buffer[pages : self._filled]
        self._base, self._filled = self._base + pages, self._settled

    def crowd(self) -> Future[None] | None:
        """What to wait for before appending more, or None: the last buffer fills up while the disk is behind."""
        if len(self._leaving) < _BUFFERS - 1 or self._filled < STEP // 2 or self._leaving[0].written.done():
            return None
        return self._leaving[0].written

    def close(self) -> None:
        """Write nothing any more once this returned; of what did not settle a beginning may be in the files."""
        wait([step.written for step in self._leaving if not step.written.cancel()])
        self._leaving.clear()
        if self._thread is not None:
            self._thread.shutdown()

    def _begin(self, segment: SegmentFile, end: int) -> None:
        self._segment = segment
        self._base = end - end % PAGE
        self._filled = self._settled = end - self._base
        self._buffer[: self._filled] = segment.read(self._base, self._filled)

    def _dispatch(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "log")
        before = self._leaving[-1].written if self._leaving else None
        content = memoryview(self._buffer)[: self._filled]
        written = self._thread.submit(_write, before, self._segment, self._base, content)
        self._leaving.append(_Step(written, self._segment.number, self._base + self._settled, self._buffer))
        self._base, self._filled, self._settled = self._base + self._filled, 0, 0
        if len(self._leaving) == _BUFFERS:
            self._reclaim()
        self._buffer = self._free.pop() if self._free else _memory()

    def _reclaim(self) -> None:
        self._leaving[0].written.result()
        self._free.append(self._leaving.popleft().buffer)


def _memory() -> mmap.mmap:
    """Room for a step: pages of its own, as direct writes want them, of which none is taken before it is filled."""
    return mmap.mmap(-1, STEP, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _write(before: Future[None] | None, segment: SegmentFile, base: int, content: memoryview) -> None:
    if before is not None:
        before.result()  # done, as there is one thread; where it failed, this fails with it
    segment.write_step(base, content)
