"""A block store on a kubo node, for those who keep their vault on a server of their own.

Promises, besides those of every `BlockStore`. When `flush` returned, what was put before lies on the node's disk, is
pinned, and stays through the node's restarts and garbage collections. Memory holds a few batches and a note of some 250
bytes for each block held, whatever the files' size. A node that is away for less than `patience` costs that time and
nothing else; after that what was not flushed is given up, and the next `flush` says so. One process of a machine writes
at a time (the lock file); where several machines write to one node, none undoes what another one stored.
"""

from __future__ import annotations

import contextlib
import io
import logging
import secrets
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from core.errors import AllodError, Conflict, Corrupted, Unavailable
from core.files import Lock
from vault.arena import Arena
from vault.blocklist import FULL
from vault.blocks import MAX_BLOCK, Data, absent, check_size, verify_block
from vault.car import Car
from vault.cid import Cid
from vault.ipfs import NEWEST, OLDEST, PATIENCE, TIMEOUT, Kubo
from vault.pinnedlists import PinnedLists, read_back
from vault.wire import Away, KuboError, Stream

BATCH = 32 << 20  # bytes sent to the node at once
_FLYING = 2  # batches under way, besides the one being filled
_READ = 256 << 10

_LOG = logging.getLogger(__name__)


class KuboStore:
    """The blocks that Allod keeps on the node whose RPC is at the multiaddress `address`; asked when first used."""

    def __init__(
        self,
        address: str,
        *,
        lock: Path,
        authorization: str | None = None,
        gateway: str | None = None,
        patience: float = PATIENCE,
        timeout: float = TIMEOUT,
        turn: float = 0.0,
    ) -> None:
        """`lock` is a file that all writers of this machine share; another one is waited for as long as `turn`, in
        seconds. The rest is as for `vault.ipfs.Kubo`."""
        self._kubo = Kubo(address, authorization=authorization, gateway=gateway, patience=patience, timeout=timeout)
        self._lock = Lock(lock, what="The block store on kubo", patience=turn)
        # Held by callers, also while they wait for a batch to land; workers never take it.
        self._mutex = threading.RLock()
        self._lists = PinnedLists(self._kubo)
        self._arena = Arena()
        self._buffer: dict[Cid, Data] = {}
        self._size = 0
        self._flights: deque[tuple[dict[Cid, Data], Future[Cid]]] = deque()
        self._arrived: set[Cid] = set()  # on the node, and on no list yet
        self._announced: list[Cid] = []  # what keeps them there
        self._workers: ThreadPoolExecutor | None = None
        self._sweeping: Future[None] | None = None
        self._doomed: set[Cid] = set()
        self._damaged: set[Cid] = set()
        self._given_up, self._at_once = threading.Event(), threading.Event()
        self._at_once.set()
        self._writing = self._lost = self._closed = self._met = False

    # What every block store does.

    def room(self) -> memoryview:
        return self._arena.room()

    def add(self, codec: int, data: Data) -> Cid:
        check_size(data)
        kept = self._arena.keep(data)
        cid = Cid.of(codec, kept)
        self._keep(cid, kept)
        return cid

    def put(self, cid: Cid, data: Data) -> None:
        check_size(data)
        kept = self._arena.keep(data)
        verify_block(cid, kept)
        self._keep(cid, kept)

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        for cid, data in blocks:
            self.put(cid, data)

    def get(self, cid: Cid) -> bytes:
        with self._mutex:
            kept = self._unsent(cid)
            if kept is not None:
                return bytes(kept)
        if not self.has(cid):
            raise absent(cid)
        for attempt in (1, 2):
            try:
                block = self._kubo.block(cid)
                verify_block(cid, block)
            except KuboError as error:
                if error.means_absent:
                    raise absent(cid) from None
                raise _failed("give out a block", error) from None
            except Corrupted:
                if attempt == 2:
                    self._damaged.add(cid)  # so that a good copy may be put
                    raise
            else:
                return block
        raise AssertionError("unreachable")

    def has(self, cid: Cid) -> bool:
        return not self.missing([cid])

    def missing(self, cids: Iterable[Cid]) -> list[Cid]:
        with self._mutex:
            self._begin_reading()
            away = [cid for cid in cids if not self._knows(cid)]
            if any(cid not in self._doomed for cid in away):
                self._refresh()
                away = [cid for cid in away if not self._knows(cid)]
        return away

    def cids(self, codec: int | None = None) -> Iterator[Cid]:
        with self._mutex:
            self._begin_reading()
            self._refresh()
            held = dict.fromkeys(cid for cid in self._lists.where if cid not in self._doomed)
            for batch in (self._arrived, self._buffer, *(batch for batch, _ in self._flights)):
                held.update(dict.fromkeys(batch))
        return (cid for cid in held if codec is None or cid.codec == codec)

    def begin(self) -> None:
        with self._mutex, self._all_or_nothing():
            self._begin_writing()

    def delete(self, cid: Cid) -> None:
        if not self.has(cid):
            return
        with self._mutex, self._all_or_nothing():
            self._begin_writing()
            self._land_all()
            dropped = self._buffer.pop(cid, None)
            self._size -= len(dropped or b"")
            if cid in self._arrived:
                self._arrived.discard(cid)
                self._lists.leave(cid)
            if cid in self._lists.where:
                self._doomed.add(cid)

    def flush(self) -> None:
        with self._mutex:
            self._own_up()
            if not self._writing:
                return
            with self._all_or_nothing(told=True):
                self._ship()
                self._enlist()
                self._lists.strike(self._doomed)
                self._lists.read_back()
            self._release()
            with contextlib.suppress(RuntimeError):  # Python itself is ending, and starts no thread
                self._sweeping = self._pool().submit(self._sweep)

    def close(self) -> None:
        with self._mutex:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                self._release()
                try:
                    self._await_sweep()
                finally:
                    if self._workers is not None:
                        self._workers.shutdown(cancel_futures=True)
                    self._kubo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What this one does besides.

    def version(self) -> str:
        """The node's version, in its words."""
        try:
            return self._kubo.version()
        except KuboError as error:
            raise _failed("say its version", error) from None

    def notes(self) -> list[str]:
        """What the operator should know about the node, in whole sentences."""
        version = self.version()
        number = tuple(int(part) for part in version.split("-")[0].split("+")[0].split(".")[:2])
        tested = " to ".join(".".join(map(str, version)) for version in (OLDEST, NEWEST))
        if number < OLDEST:
            return [f"kubo {version} is older than what Allod is tested with ({tested}): upgrade it."]
        if number > NEWEST:
            return [f"kubo {version} is newer than what Allod is tested with ({tested}); all that it says is checked."]
        return []

    def export(self) -> Iterator[tuple[Cid, bytes]]:
        """Every block held, each once, verified and as fast as the node can stream it; for copying to another store.

        A block that is lost or damaged on the node is an error where its turn comes: `NotFound` or `Corrupted`.
        """
        self.flush()
        wanted = set(self.cids())
        with self._mutex:
            lists = dict(self._lists.lists)
        for root, entries in lists.items():
            left = {cid for cid in entries if cid in wanted}
            by_digest: dict[bytes, list[Cid]] = {}
            for cid in left:
                by_digest.setdefault(cid.digest, []).append(cid)
            limit = (len(entries) + 2) * (MAX_BLOCK + 1024)
            with contextlib.suppress(Corrupted, Away, KuboError, Unavailable):  # the rest is asked for one by one
                stream = io.BufferedReader(Stream(self._kubo.export(root, limit)), _READ)
                for found, block in Car.read(stream).blocks:
                    for cid in by_digest.pop(found.digest, ()):
                        left.discard(cid)
                        wanted.discard(cid)
                        yield cid, block
            for cid in left:
                wanted.discard(cid)
                yield cid, self.get(cid)

    # Reading. All of it under the mutex.

    def _begin_reading(self) -> None:
        if self._closed:
            raise Conflict("The block store is closed already.", hint="Open it again.")
        self._await_sweep()
        if not self._met:
            for note in self.notes():
                _LOG.warning(note)
            self._met = True
            self._refresh()

    def _unsent(self, cid: Cid) -> Data | None:
        return next((b[cid] for b in (self._buffer, *(batch for batch, _ in self._flights)) if cid in b), None)

    def _knows(self, cid: Cid) -> bool:
        return (cid in self._lists.where and cid not in self._doomed) or self._is_under_way(cid)

    def _is_under_way(self, cid: Cid) -> bool:
        return cid in self._arrived or self._unsent(cid) is not None

    def _refresh(self) -> None:
        try:
            self._lists.look()
        except KuboError as error:
            raise _failed("list its pins", error) from None

    # Writing. Under the mutex.

    def _keep(self, cid: Cid, data: Data) -> None:
        with self._mutex, self._all_or_nothing():
            self._begin_writing()
            self._doomed.discard(cid)
            if self._is_under_way(cid) or (self._knows(cid) and cid not in self._damaged):
                self._arena.reuse([data])
                return
            if len(self._buffer) >= FULL or self._size + len(data) > BATCH:
                self._ship()
            self._buffer[cid] = data
            self._size += len(data)

    def _begin_writing(self) -> None:
        """Take the lock and see what the others wrote, unless this store is writing already."""
        self._begin_reading()
        if self._writing:
            return
        self._lock.acquire()
        self._writing = True
        self._refresh()
        self._lists.begin()

    def _ship(self) -> None:
        """Send what was collected, in another thread."""
        if not self._buffer:
            return
        while len(self._flights) >= _FLYING:
            self._land()
        if len(self._arrived) + len(self._buffer) + sum(len(batch) for batch, _ in self._flights) > FULL:
            self._enlist()
        batch = self._buffer
        self._buffer, self._size = {}, 0
        self._flights.append((batch, self._pool().submit(self._send, batch)))

    def _send(self, batch: dict[Cid, Data]) -> Cid:
        """Bring a batch to the node, which keeps it for the announcement that is returned. In a worker."""
        with self._kubo.patient_until(self._given_up):
            announcement = self._lists.announce(batch)
            self._kubo.send(batch.items())
        return announcement

    def _sweep(self) -> None:
        """What was put is safe; this only makes room. In a worker, for which everybody waits who uses the lists."""
        try:
            with self._kubo.patient_until(self._at_once):
                self._lists.sweep()
        except (AllodError, KuboError) as error:
            _LOG.info("What a flush left on kubo could not be tidied up: %s", error)

    def _await_sweep(self) -> None:
        if self._sweeping is not None:
            try:
                self._sweeping.result()
            finally:
                if self._sweeping.done():  # not where the waiting was interrupted
                    self._sweeping = None

    def _pool(self) -> ThreadPoolExecutor:
        if self._workers is None:
            self._workers = ThreadPoolExecutor(_FLYING, "kubo")
        return self._workers

    def _land(self) -> None:
        batch, future = self._flights[0]
        self._announced.append(future.result())
        self._arrived.update(batch)
        self._flights.popleft()
        self._arena.reuse(batch.values())

    def _land_all(self) -> None:
        while self._flights:
            self._land()

    def _enlist(self) -> None:
        """Put all that was sent on a list. One of the blocks is asked for again before."""
        self._land_all()
        if self._arrived:
            read_back(self._kubo, secrets.choice(list(self._arrived)))
        if self._announced:
            self._lists.enlist(self._arrived, self._announced)
        self._damaged -= self._arrived
        self._arrived, self._announced = set(), []

    @contextlib.contextmanager
    def _all_or_nothing(self, *, told: bool = False) -> Generator[None]:
        """After a failure give up what was not flushed; the next `flush` says so, unless it is `told` now."""
        try:
            yield
        except KuboError as error:
            self._abandon(told)
            raise _failed("store blocks", error) from None
        except BaseException:
            self._abandon(told)
            raise

    def _own_up(self) -> None:
        if self._lost:
            self._lost = False
            raise Unavailable("Blocks put before an earlier failure of kubo are not stored.", hint="Put them again.")

    def _abandon(self, told: bool) -> None:
        self._lost = not told and (self._lost or bool(self._buffer or self._flights or self._arrived or self._doomed))
        for _, future in self._flights:
            future.cancel()
        self._given_up.set()
        for _, future in self._flights:
            with contextlib.suppress(Exception, CancelledError):
                future.result()
        self._given_up.clear()
        self._flights.clear()
        self._buffer, self._size = {}, 0
        self._arrived, self._announced = set(), []
        self._release()

    def _release(self) -> None:
        self._doomed.clear()
        self._writing = False
        self._lock.release()


def _failed(what: str, error: KuboError) -> Unavailable:
    return Unavailable(f"kubo cannot {what}: {error}.", hint="Look into kubo's log, and whether its disk is full.")
