"""Verifying finished jobs for anyone who asks: a few at a time, and each once for what chain and bundle are now.

The report is `finetune.verify`'s, against this home's chain, block store and trust. It needs no torch, no key and no
job folder: only the published bundle.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from allod.jobs import own_trust, published_bundle
from allod.world import World
from core.errors import Unavailable
from finetune.verify import Report, verify

AT_ONCE = 2  # each reads a bundle and asks the chain for seconds
KEPT = 64
WAITING = 4  # more who may wait for a turn; the rest are told to come back
WAIT = 20.0  # seconds for a turn


class Verified(NamedTuple):
    """A report, the newest block and the Unix time when it was made, and the trust file that it was made with."""

    report: Report
    block: int
    at: int
    trust: str


class Verifier:
    """Makes reports; safe to share between threads."""

    def __init__(self, *, at_once: int = AT_ONCE, wait: float = WAIT, clock: Callable[[], float] = time.time) -> None:
        self._turns = threading.Semaphore(at_once)
        self._room = threading.Semaphore(at_once + WAITING)
        self._wait = wait
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[Path, bytes, int], Verified] = OrderedDict()

    def verify(self, world: World, folder: str) -> Verified:
        """The report about the job of that folder's name; `NotFound` while its bundle is not published."""
        bundle = published_bundle(world.home, folder)
        head = world.chain.block()
        key = (bundle.folder, head.hash, _mark(bundle.folder))
        known = self._known(key)
        if known is not None:
            return known
        with _taking(self._room, 0), _taking(self._turns, self._wait):
            known = self._known(key)  # somebody may have asked the same meanwhile
            if known is not None:
                return known
            trust = own_trust(world)
            report = verify(bundle.folder, world.chain, trust, world.blocks)
            found = Verified(report, head.number, int(self._clock()), trust.encode().decode())
            with self._guard:
                self._kept[key] = found
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return found

    def _known(self, key: tuple[Path, bytes, int]) -> Verified | None:
        with self._guard:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)


@contextmanager
def _taking(turns: threading.Semaphore, seconds: float) -> Iterator[None]:
    if not turns.acquire(timeout=seconds):
        raise Unavailable("Others are verifying.", hint="Ask again in a few seconds.", retry_after=5)
    try:
        yield
    finally:
        turns.release()


def _mark(folder: Path) -> int:
    """Another number once any file of the bundle is another."""
    marks = []
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        marks.append((str(path), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return hash(tuple(marks))
