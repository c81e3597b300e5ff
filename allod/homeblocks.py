"""The block store as the programs of a home use it, beside a server that deletes what strangers sent and nobody needs.

Promises. What was put here stays, also where somebody sent the same block to the server before, meanwhile or after:
from its `put` on it is deleted by nobody else, and once it was flushed it is on no list of what may be. A put takes the
store's turn to write, even if the block is there already, and keeps it until the flush. Lists are changed in
transactions of their own: who flushes inside a transaction on the same database calls `begin` before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import Engine

from allod import holdings
from core.database import transaction
from vault.blocks import BlockStore, Data
from vault.cid import Cid


class HomeBlocks:
    """`store` for a home with the database `engine`, opened once something was put. Safe for several threads."""

    def __init__(self, store: BlockStore, engine: Callable[[], Engine]) -> None:
        self._store = store
        self._engine = engine
        self._guard = threading.Lock()
        self._put: set[Cid] = set()

    def room(self) -> memoryview | None:
        return self._store.room()

    def add(self, codec: int, data: Data) -> Cid:
        self._store.begin()  # no sweep from here on until it is flushed
        return self._note(self._store.add(codec, data))

    def put(self, cid: Cid, data: Data) -> None:
        self._store.begin()
        self._store.put(cid, data)
        self._note(cid)

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        for cid, data in blocks:
            self.put(cid, data)

    def get(self, cid: Cid) -> bytes:
        return self._store.get(cid)

    def has(self, cid: Cid) -> bool:
        return self._store.has(cid)

    def missing(self, cids: Iterable[Cid]) -> list[Cid]:
        return self._store.missing(cids)

    def cids(self, codec: int | None = None) -> Iterator[Cid]:
        return self._store.cids(codec)

    def begin(self) -> None:
        self._store.begin()
        self._settle()

    def delete(self, cid: Cid) -> None:
        with self._guard:
            self._put.discard(cid)
        self._store.delete(cid)

    def flush(self) -> None:
        try:
            self._settle()
        finally:
            self._store.flush()  # after an error too: it gives the turn back

    def close(self) -> None:
        self.flush()
        self._store.close()

    def _note(self, cid: Cid) -> Cid:
        with self._guard:
            self._put.add(cid)
        return cid

    def _settle(self) -> None:
        """Take what was put off the list of what strangers sent, in the store's turn: no sweep goes on meanwhile."""
        with self._guard:
            put = set(self._put)
        if put:
            with transaction(self._engine()) as session:
                holdings.take_home(session, put)
            with self._guard:
                self._put -= put
