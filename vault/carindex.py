"""Where each block lies in the segment files: a SQLite table that can always be made again by reading them.

The segments are a log; this index is what replaying the log in order gives. A *position* is one number, segment
<< 40 | offset, so that positions compare as the log runs. Each segment has a mark up to which it was replayed, and
the index is committed only after the segments are durable: it may lag behind them, never run ahead.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.errors import Unavailable
from vault.cid import CID_SIZE, Cid

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
  key BLOB PRIMARY KEY, position INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (
  number INTEGER PRIMARY KEY, mark INTEGER NOT NULL, dead INTEGER NOT NULL DEFAULT 0,
  notes INTEGER NOT NULL DEFAULT 0);
"""
_PAGE = 1000


def position(segment: int, offset: int) -> int:
    """Segment number and byte offset as one number that orders the log."""
    return segment << 40 | offset


@dataclass(frozen=True, slots=True)
class Location:
    """A block's bytes: `length` of them at `position`."""

    position: int
    length: int

    @property
    def segment(self) -> int:
        return self.position >> 40

    @property
    def offset(self) -> int:
        return self.position & (1 << 40) - 1


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a segment is indexed, and how many of its bytes are dead blocks and how many tombstones."""

    end: int
    dead: int
    notes: int


class BadIndex(Exception):
    """The index file is missing, foreign or damaged; it must be made again."""


class Index:
    """One connection to the index. Not thread-safe: the store's lock guards it."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self._db = connection
        self._path = path
        self._inode = None if path is None else path.stat().st_ino

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open for writing, creating it if absent. `BadIndex` if the file is not one."""
        return cls._checked(path, str(path), create=True)

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open an existing index without writing a byte. `BadIndex` if there is none."""
        return cls._checked(path, path.absolute().as_uri() + "?mode=ro", create=False)

    @classmethod
    def in_memory(cls, source: Index | None = None) -> Self:
        """An index in memory, a copy of `source` if given."""
        index = cls(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        if source is None:
            index._db.executescript(_SCHEMA)
        else:
            source._db.backup(index._db)
        return index

    @classmethod
    def _checked(cls, path: Path, name: str, *, create: bool) -> Self:
        db = None
        try:
            db = sqlite3.connect(name, uri=not create, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA busy_timeout = 10000")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and create:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
            elif version != _VERSION:
                raise BadIndex
            # The segments hold everything, so a commit lost in a power cut is only replayed: NORMAL is enough.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("SELECT key, position, length FROM blocks LIMIT 1").fetchall()
            db.execute("SELECT number, mark, dead, notes FROM segments").fetchall()
            return cls(db, path)
        except (sqlite3.DatabaseError, FileNotFoundError, BadIndex):
            if db is not None:
                db.close()
            raise BadIndex from None

    @property
    def is_copy(self) -> bool:
        """Whether this lies in memory, where no other process changes it."""
        return self._path is None

    @property
    def replaced(self) -> bool:
        """Whether another file has taken this one's name: some process made the index again."""
        if self._path is None:
            return False
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def lookup(self, cid: Cid) -> Location | None:
        """Where the block lies, if it does."""
        row = self._one("SELECT position, length FROM blocks WHERE key = ?", _key(cid))
        return None if row is None else Location(*row)

    def insert(self, cid: Cid, at: Location, frame: int) -> None:
        """Note a block found at `at`, behind `frame` bytes and later in the log than any copy noted before."""
        known = self.lookup(cid)
        if known is not None:
            self._bury(known.segment, known.length + frame)
        self._run("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", _key(cid), at.position, at.length)

    def kill(self, cid: Cid, before: int) -> None:
        """Forget the block's copy if it lies before position `before`."""
        known = self.lookup(cid)
        if known is not None and known.position < before:
            self._bury(known.segment, known.length + CID_SIZE)
            self._run("DELETE FROM blocks WHERE key = ?", _key(cid))

    def note(self, segment: int, length: int) -> None:
        """The segment holds a tombstone of `length` bytes, its frame included."""
        self._run("UPDATE segments SET notes = notes + ? WHERE number = ?", length, segment)

    def _bury(self, segment: int, length: int) -> None:
        self._run("UPDATE segments SET dead = dead + ? WHERE number = ?", length, segment)

    def marks(self) -> dict[int, Mark]:
        """Every segment known, by number."""
        rows = self._rows("SELECT number, mark, dead, notes FROM segments ORDER BY number")
        return {number: Mark(end, dead, notes) for number, end, dead, notes in rows}

    def set_mark(self, segment: int, end: int) -> None:
        """The segment is indexed up to byte `end`."""
        self._run(
            "INSERT INTO segments (number, mark) VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET mark = excluded.mark",
            segment,
            end,
        )

    def drop(self, segment: int) -> None:
        """Forget a segment in which nothing counts any more."""
        self._run("DELETE FROM segments WHERE number = ?", segment)

    def cids(self, codec: int | None, after: Cid | None) -> list[Cid]:
        """The next page of blocks in key order behind `after`; empty at the end."""
        low = _key(after) if after is not None else b"" if codec is None else bytes((codec,))
        high = b"\xff" if codec is None else bytes((codec + 1,))
        rows = self._rows("SELECT key FROM blocks WHERE key > ? AND key < ? ORDER BY key LIMIT ?", low, high, _PAGE)
        return [Cid(key[0], key[1:]) for (key,) in rows]

    def lives_in(self, segment: int) -> bool:
        """Whether any block still lies in the segment."""
        low, high = position(segment, 0), position(segment + 1, 0)
        return self._one("SELECT 1 FROM blocks WHERE position >= ? AND position < ? LIMIT 1", low, high) is not None

    def clear(self) -> None:
        """Empty both tables; part of the transaction that refills them."""
        self._run("DELETE FROM blocks")
        self._run("DELETE FROM segments")

    def begin(self) -> None:
        """Start a transaction; nothing of it is seen by others before `commit`."""
        self._run("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._run("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._run("ROLLBACK")

    def close(self) -> None:
        self._db.close()

    def _run(self, sql: str, *values: int | bytes) -> None:
        with _damage():
            self._db.execute(sql, values)

    def _one(self, sql: str, *values: int | bytes) -> tuple[int, ...] | None:
        with _damage():
            row: tuple[int, ...] | None = self._db.execute(sql, values).fetchone()
            return row

    def _rows(self, sql: str, *values: int | bytes) -> list[tuple[Any, ...]]:
        with _damage():
            return self._db.execute(sql, values).fetchall()


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # a full disk, a failing one, a lock: the index itself may be sound
        raise Unavailable(
            f"The block store's index cannot be used: {error}.", hint="Make room on the disk and check its rights."
        ) from None
    except sqlite3.DatabaseError:
        raise BadIndex from None


def _key(cid: Cid) -> bytes:
    return bytes((cid.codec,)) + cid.digest
