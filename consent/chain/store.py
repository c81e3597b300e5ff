"""The development chain's bytes: a SQLite key-value table and an index of logs, written one block at a time.

Promises: everything between entering and leaving `atomic_batch` becomes durable together or not at all, whatever kills
the process; reads inside a batch see its writes; writes outside a batch are an error. Not safe for concurrent use: the
chain above holds one lock around every call.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from consent.chain.evm import BaseAtomicDB
from core.errors import AllodError, Corrupted, Unavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (
  block INTEGER NOT NULL, position INTEGER NOT NULL, block_hash BLOB NOT NULL, tx_hash BLOB NOT NULL,
  tx_index INTEGER NOT NULL, address BLOB NOT NULL, topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB,
  data BLOB NOT NULL, PRIMARY KEY (block, position)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS log_by_topic ON log (address, topic0, block);
"""


class LogRow(NamedTuple):
    """One EVM log and where it stands; `position` counts within its block."""

    block: int
    position: int
    block_hash: bytes
    tx_hash: bytes
    tx_index: int
    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


class BlockStore(BaseAtomicDB):  # type: ignore[misc]  # py-evm is untyped here
    """A py-evm database on one SQLite file, or in memory when `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._batch: dict[bytes, bytes | None] | None = None
        self._logs: list[LogRow] = []
        self._path = path
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None

    def _damaged(self, error: sqlite3.DatabaseError) -> AllodError:
        what = f"The development chain at {self._path or 'memory'} cannot be used: {error}."
        if isinstance(error, sqlite3.OperationalError | sqlite3.ProgrammingError):
            return Unavailable(what, hint="Check the disk's free space and the file's permissions, then try again.")
        return Corrupted(what, hint="Restore the file from a copy; a new home directory starts a new world.")

    def __getitem__(self, key: bytes) -> bytes:
        if self._batch is not None and key in self._batch:
            value = self._batch[key]
            if value is None:
                raise KeyError(key)
            return value
        try:
            row = self._db.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def _exists(self, key: bytes) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._writing()[key] = value

    def __delitem__(self, key: bytes) -> None:
        if not self._exists(key):
            raise KeyError(key)
        self._writing()[key] = None

    def _writing(self) -> dict[bytes, bytes | None]:
        if self._batch is None:
            raise RuntimeError("The chain is written inside atomic_batch only, a whole block at a time.")
        return self._batch

    def add_log(self, row: LogRow) -> None:
        """Index one log with the block being written."""
        self._writing()
        self._logs.append(row)

    @contextlib.contextmanager
    def atomic_batch(self) -> Iterator[Self]:
        """Collect writes and commit them as one; a batch inside a batch joins the outer one."""
        if self._batch is not None:
            yield self
            return
        self._batch, self._logs = {}, []
        try:
            yield self
            self._commit()
        finally:
            self._batch, self._logs = None, []

    def _commit(self) -> None:
        batch = self._writing()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO kv VALUES (?, ?)", [(k, v) for k, v in batch.items() if v is not None]
                )
                self._db.executemany("DELETE FROM kv WHERE key = ?", [(k,) for k, v in batch.items() if v is None])
                self._db.executemany(
                    "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [(*row[:6], *(*row.topics, None, None, None, None)[:4], row.data) for row in self._logs],
                )
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.DatabaseError):
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None

    def find_logs(
        self, first: int, last: int, addresses: Sequence[bytes], topics: Sequence[Sequence[bytes] | None], limit: int
    ) -> list[LogRow]:
        """The first `limit` logs of blocks `first` … `last`; empty `addresses` and None topics match anything."""
        where, values = ["block BETWEEN ? AND ?"], [first, last]  # type: tuple[list[str], list[int | bytes]]
        columns = [("address", addresses or None), *((f"topic{i}", wanted) for i, wanted in enumerate(topics))]
        for column, wanted in columns:
            if wanted is not None:
                where.append(f"{column} IN ({','.join('?' * len(wanted))})")
                values.extend(wanted)
            elif column != "address":
                where.append(f"{column} IS NOT NULL")
        query = f"SELECT * FROM log WHERE {' AND '.join(where)} ORDER BY block, position LIMIT ?"  # noqa: S608  # names are ours
        rows = self._db.execute(query, [*values, limit]).fetchall()
        return [_log_row(row) for row in rows]

    def copy_to(self, other: BlockStore) -> None:
        """Replace everything in `other` by what is here."""
        self._db.backup(other._db)

    def close(self) -> None:
        """Close the file; doing it twice is harmless."""
        self._db.close()


def _log_row(row: tuple[Any, ...]) -> LogRow:
    block, position, block_hash, tx_hash, tx_index, address, *topics, data = row
    present = tuple(topic for topic in topics if topic is not None)
    return LogRow(block, position, block_hash, tx_hash, tx_index, address, present, data)
