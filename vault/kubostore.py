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
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Set
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from core.errors import AllodError, Conflict, Corrupted, InvalidInput, Unavailable
from core.files import Lock
from vault.blocklist import FULL, decode_list, encode_list
from vault.blocks import MAX_BLOCK, Data, absent, check_size, verify_block
from vault.car import Car
from vault.cid import RAW, Cid
from vault.ipfs import NEWEST, OLDEST, PATIENCE, TIMEOUT, Kubo, raw
from vault.wire import Away, KuboError, Stream

BATCH = 32 << 20  # bytes sent to the node at once; each batch costs it some syncs of its disk
_FLYING = 2  # batches under way, besides the one being filled
_READ = 256 << 10
_REMOVALS = 64  # blocks in one request
_LOOKS = 500_000  # entries of lists; for each block that it removes, kubo looks through all of them

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
    ) -> None:
        """`lock` is a file that all writers of this machine share; the rest is as for `vault.ipfs.Kubo`."""
        self._kubo = Kubo(address, authorization=authorization, gateway=gateway, patience=patience, timeout=timeout)
        self._lock = Lock(lock, what="The block store on kubo")
        # Held by callers, also while they wait for a batch to land; workers never take it.
        self._mutex = threading.RLock()
        self._buffer: dict[Cid, bytes] = {}
        self._size = 0
        self._flights: deque[tuple[dict[Cid, bytes], Future[None]]] = deque()
        self._workers: ThreadPoolExecutor | None = None
        self._doomed: set[Cid] = set()
        self._damaged: set[Cid] = set()
        self._writing = self._lost = self._closed = self._met = False
        # Held while pins change or are read, by callers and workers.
        self._chain = threading.Lock()
        self._lists: dict[Cid, Set[Cid]] = {}
        self._where: dict[Cid, Cid] = {}  # a block's list; read without the lock, which dicts allow
        self._foreign: set[Cid] = set()  # pinned, but no lists
        self._open: Cid | None = None  # the list that grows
        self._replaced: set[Cid] = set()  # lists that are not pinned any more, to be removed

    # What every block store does.

    def add(self, codec: int, data: Data) -> Cid:
        check_size(data)
        kept = bytes(data)
        cid = Cid.of(codec, kept)
        self._keep(cid, kept)
        return cid

    def put(self, cid: Cid, data: Data) -> None:
        check_size(data)
        kept = bytes(data)
        verify_block(cid, kept)
        self._keep(cid, kept)

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        for cid, data in blocks:
            self.put(cid, data)

    def get(self, cid: Cid) -> bytes:
        with self._mutex:
            kept = self._unsent(cid)
        if kept is not None:
            return kept
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
            held = dict.fromkeys(cid for cid in list(self._where) if cid not in self._doomed)
            for batch in (self._buffer, *(batch for batch, _ in self._flights)):
                held.update(dict.fromkeys(batch))
        return (cid for cid in held if codec is None or cid.codec == codec)

    def delete(self, cid: Cid) -> None:
        if not self.has(cid):
            return
        with self._mutex, self._all_or_nothing():
            self._begin_writing()
            self._land_all()
            dropped = self._buffer.pop(cid, None)
            self._size -= len(dropped or b"")
            if cid in self._where:
                self._doomed.add(cid)

    def flush(self) -> None:
        with self._mutex:
            self._own_up()
            if not self._writing:
                return
            with self._all_or_nothing(told=True):
                self._ship()
                self._land_all()
                with self._chain:
                    self._bury()
                    self._read_back()
            self._release()
            # What was put is safe; this only makes room.
            with contextlib.suppress(AllodError, KuboError), self._kubo.impatient():
                self._sweep()

    def close(self) -> None:
        with self._mutex:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                self._release()
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
        with self._chain:
            lists = dict(self._lists)
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
        if not self._met:
            for note in self.notes():
                _LOG.warning(note)
            self._met = True
            self._refresh()

    def _unsent(self, cid: Cid) -> bytes | None:
        return next((b[cid] for b in (self._buffer, *(batch for batch, _ in self._flights)) if cid in b), None)

    def _knows(self, cid: Cid) -> bool:
        return self._unsent(cid) is not None or (cid in self._where and cid not in self._doomed)

    def _refresh(self) -> None:
        with self._chain:
            self._look()

    # The lists that we know. All of it under the chain lock.

    def _look(self) -> None:
        """Take notice of what is pinned now, by whomever."""
        try:
            pinned = self._kubo.pins()
        except KuboError as error:
            raise _failed("list its pins", error) from None
        for gone in self._lists.keys() - pinned:
            self._forget(gone)
        for root in pinned - self._lists.keys() - self._foreign:
            with contextlib.suppress(KuboError):  # unpinned meanwhile, or damaged
                try:
                    block = self._kubo.block(root)
                    verify_block(root, block)
                    self._learn(root, decode_list(block))
                except InvalidInput:
                    self._foreign.add(root)
                except Corrupted:
                    _LOG.warning("kubo pins %s, and what it gives out for it is something else.", root)

    def _learn(self, root: Cid, entries: Set[Cid]) -> None:
        self._lists[root] = entries
        for cid in entries:
            self._where[cid] = root

    def _forget(self, root: Cid) -> None:
        for cid in self._lists.pop(root):
            if self._where[cid] == root:
                other = next((other for other, entries in self._lists.items() if cid in entries), None)
                if other is None:
                    del self._where[cid]
                else:
                    self._where[cid] = other
        if self._open == root:
            self._open = None

    # Writing. Under the mutex.

    def _keep(self, cid: Cid, data: bytes) -> None:
        with self._mutex, self._all_or_nothing():
            self._begin_writing()
            if self._knows(cid) and cid not in self._damaged:
                return
            if cid in self._doomed and cid not in self._damaged:
                self._doomed.discard(cid)
                return
            if len(self._buffer) >= FULL or self._size + len(data) > BATCH:
                self._ship()
            self._buffer[cid] = data
            self._size += len(data)
            self._damaged.discard(cid)

    def _begin_writing(self) -> None:
        """Take the lock and see what the others wrote, unless this store is writing already."""
        self._begin_reading()
        if self._writing:
            return
        self._lock.acquire()
        self._writing = True
        self._refresh()
        with self._chain:
            smallest = min(self._lists, key=lambda root: (len(self._lists[root]), root), default=None)
            self._open = smallest if smallest is not None and len(self._lists[smallest]) < FULL else None

    def _ship(self) -> None:
        """Send what was collected, in another thread."""
        if not self._buffer:
            return
        while len(self._flights) >= _FLYING:
            self._land()
        if self._workers is None:
            self._workers = ThreadPoolExecutor(_FLYING, "kubo")
        batch = self._buffer
        self._buffer, self._size = {}, 0
        self._flights.append((batch, self._workers.submit(self._send, batch)))

    def _land(self) -> None:
        self._flights[0][1].result()
        self._flights.popleft()

    def _land_all(self) -> None:
        while self._flights:
            self._land()

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
        self._lost = not told and (self._lost or bool(self._buffer or self._flights or self._doomed))
        for _, future in self._flights:
            future.cancel()
        with self._kubo.impatient():
            for _, future in self._flights:
                with contextlib.suppress(Exception, CancelledError):
                    future.result()
        self._flights.clear()
        self._buffer, self._size = {}, 0
        self._release()

    def _release(self) -> None:
        self._doomed.clear()
        self._writing = False
        self._lock.release()

    # Sending. In workers, or in `flush` when none is at work.

    def _send(self, batch: dict[Cid, bytes]) -> None:
        """Bring a batch to the node and pin it. Its bytes are at hand until both are done."""
        self._kubo.send(batch.items())
        with self._chain:
            before = self._open if self._open in self._lists else None
            entries = self._lists[before] if before is not None else frozenset()
            if len(entries) + len(batch) > FULL:
                before, entries = None, frozenset()
            try:
                self._open = self._pin(before, {*entries, *batch})
            except KuboError:
                # Collected before it was pinned, or the list was changed by somebody else: once more, alone.
                self._kubo.send(batch.items())
                self._open = self._pin(None, batch.keys())
                self._look()

    def _pin(self, before: Cid | None, entries: Set[Cid]) -> Cid:
        """Pin the list of `entries`, in place of `before`; only then is `before` let go."""
        root, data = encode_list(entries)
        if root == before:
            return root
        self._kubo.send([(root, data)])
        try:
            if before is None:
                self._kubo.pin(root)
            else:
                self._kubo.move_pin(before, root)
        except KuboError:
            self._kubo.pin(root)
            if before is not None:
                self._kubo.unpin(before)
        self._learn(root, frozenset(entries))
        if before is not None:
            self._forget(before)
            self._replaced.add(before)
        return root

    def _bury(self) -> None:
        """Take what was deleted off its lists."""
        touched = {root for root, entries in self._lists.items() if not self._doomed.isdisjoint(entries)}
        for root in touched:
            entries = self._lists[root] - self._doomed
            if entries:
                kept = self._pin(root, entries)
                self._open = self._open or (kept if len(entries) < FULL else None)
            else:
                self._kubo.unpin(root)
                self._forget(root)
                self._replaced.add(root)
        self._replaced |= self._doomed

    def _read_back(self) -> None:
        """The list that grew last, asked for again: a node that acknowledges and does not store is found out."""
        if self._open is not None:
            try:
                verify_block(self._open, self._kubo.block(self._open))
            except Corrupted:
                raise Unavailable(
                    "kubo acknowledged blocks and gives out others.", hint="Check the node's disk; nothing was flushed."
                ) from None

    def _sweep(self) -> None:
        """Remove from the node's disk what no list holds any more. What fails here falls to its garbage collector."""
        with self._chain:
            held = {raw(cid) for cid in self._where} | {raw(root) for root in self._lists} if self._replaced else set()
            dead = [cid for cid in self._replaced if raw(cid) not in held]
            self._replaced.clear()
            if len(dead) * sum(map(len, self._lists.values())) <= _LOOKS:
                dead = [cid for cid in dead if cid.codec == RAW or not self._kubo.is_pinned(cid)]
                for start in range(0, len(dead), _REMOVALS):
                    self._kubo.remove(dead[start : start + _REMOVALS])


def _failed(what: str, error: KuboError) -> Unavailable:
    return Unavailable(f"kubo cannot {what}: {error}.", hint="Look into kubo's log, and whether its disk is full.")
