"""What a keeper must not forget, in one SQLite file: its log, trees, closed jobs, revocations, ledgers, settlements.

Promises: a method that returns has made its change durable (synchronous=FULL), each change and its log entry in one
transaction; a release is written only while its job is open and its consent unrevoked *in that same transaction*; a
job once closed stays closed, and one settlement at most is ever recorded for it. Several processes may share the file.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consent.grant import Consent
from consent.keeper.log import START, Entry
from core.errors import Conflict, Corrupted, NotFound, Refused
from core.ids import Address, ConsentId, JobId

_SCHEMA = """
CREATE TABLE IF NOT EXISTS place (one INTEGER PRIMARY KEY CHECK (one = 1), place BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, entry BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS trees (
  job BLOB PRIMARY KEY, keep_until INTEGER NOT NULL, job_order BLOB NOT NULL, tree BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS payees (payee BLOB, job BLOB, PRIMARY KEY (payee, job)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS released (
  job BLOB, consent BLOB, terms BLOB NOT NULL, owner_consent BLOB NOT NULL, PRIMARY KEY (job, consent)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closed (job BLOB PRIMARY KEY, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS settled (
  job BLOB PRIMARY KEY, root BLOB NOT NULL, statement BLOB NOT NULL, tree BLOB NOT NULL, signature BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS revocations (
  owner BLOB, what TEXT, value BLOB, seen INTEGER NOT NULL, PRIMARY KEY (owner, what, value)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (digest BLOB PRIMARY KEY, message BLOB NOT NULL, seen INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ledgers (
  job BLOB, consent BLOB, record_epochs BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (job, consent))
  WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Ended:
    """What one revocation message ends, as the store looks it up: `what` is id, nonce or epoch."""

    what: str
    value: bytes


@dataclass(frozen=True)
class Released:
    """A consent of which this keeper released a share: the terms it priced with and the consent itself."""

    consent_id: ConsentId
    terms: bytes
    consent: bytes


@dataclass(frozen=True)
class Settled:
    """The one settlement this keeper signed for a job."""

    root: int
    statement: bytes
    tree: bytes
    signature: bytes


class StoredLog:
    """A keeper's file, read only, whether or not the keeper runs: its log, and the trees that it holds."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NotFound(
                f"{path.parent} holds no keeper's records.", hint="Name the folder of a keeper that has run."
            )
        self._name = f"{path.absolute().as_uri()}?mode=ro"

    def entries(self) -> list[bytes]:
        """The encoded entries, in their order; `Corrupted` if the file is damaged."""
        return [bytes(row[0]) for row in self._rows("SELECT entry FROM log ORDER BY seq", ())]

    def tree(self, job: JobId) -> bytes | None:
        """A job's opening tree, encoded."""
        rows = self._rows("SELECT tree FROM trees WHERE job = ?", (job,))
        return bytes(rows[0][0]) if rows else None

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            with contextlib.closing(sqlite3.connect(self._name, uri=True, timeout=30)) as database:
                return database.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise Corrupted(
                f"The keeper's records cannot be read: {error}.", hint="Restore them from a copy."
            ) from None


class KeeperStore:
    """The file at `path`, which belongs to one `place`: chain id ‖ ConsentToken ‖ escrow. Another is `Conflict`."""

    def __init__(self, path: Path, place: bytes) -> None:
        self._guard = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        with self._change():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute("INSERT OR IGNORE INTO place VALUES (1, ?)", (place,))
        if self._one("SELECT place FROM place") != place:
            self.close()
            raise Conflict(
                "This keeper's records belong to another chain or to other contracts.",
                hint="Give each deployment a keeper of its own.",
            )

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            self._db.close()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        with self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # A COMMIT that fails on a full disk leaves its rows visible to this connection: they must go too.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._guard:
            return self._db.execute(query, values).fetchall()

    def _row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        rows = self._rows(query, values)
        return rows[0] if rows else None

    def _one(self, query: str, values: Sequence[Any] = ()) -> Any:
        row = self._row(query, values)
        return row[0] if row else None

    # -- log ----------------------------------------------------------------------------------------------------------

    def head(self) -> tuple[int, bytes]:
        """How many entries the log has, and the hash of the last (32 zero bytes for none)."""
        row = self._row("SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1")
        return (row[0] + 1, row[1]) if row else (0, START)

    def entries(self, first: int, count: int) -> list[bytes]:
        """Encoded entries from number `first` on."""
        return [
            row[0] for row in self._rows("SELECT entry FROM log WHERE seq >= ? ORDER BY seq LIMIT ?", (first, count))
        ]

    def _append(self, kind: str, time: int, **facts: Any) -> Entry:
        seq, previous = self.head()
        entry = Entry(kind, seq, previous, time, facts)
        self._db.execute("INSERT INTO log VALUES (?, ?, ?)", (seq, entry.hash, entry.encode()))
        return entry

    # -- trees --------------------------------------------------------------------------------------------------------

    def keep_tree(self, job: JobId, order: bytes, tree: bytes, payees: set[Address], keep_until: int) -> None:
        """Hold a job's opening tree until Unix second `keep_until`."""
        with self._change():
            self._db.execute("INSERT OR IGNORE INTO trees VALUES (?, ?, ?, ?)", (job, keep_until, order, tree))
            self._db.executemany("INSERT OR IGNORE INTO payees VALUES (?, ?)", [(payee, job) for payee in payees])

    def drop_trees(self, now: int) -> None:
        """Forget trees whose claims have ended."""
        with self._change():
            self._db.execute("DELETE FROM payees WHERE job IN (SELECT job FROM trees WHERE keep_until < ?)", (now,))
            self._db.execute("DELETE FROM trees WHERE keep_until < ?", (now,))

    def tree(self, job: JobId) -> tuple[bytes, bytes] | None:
        """The order and the opening tree of a job, encoded."""
        return self._row("SELECT job_order, tree FROM trees WHERE job = ?", (job,))

    def jobs_paying(self, payee: Address, after: bytes, count: int) -> list[JobId]:
        """Jobs with a leaf for `payee`, in order of their ids, those above `after`."""
        query = "SELECT job FROM payees WHERE payee = ? AND job > ? ORDER BY job LIMIT ?"
        return [row[0] for row in self._rows(query, (payee, after, count))]

    # -- release ------------------------------------------------------------------------------------------------------

    def record_release(
        self, job: JobId, consent_id: ConsentId, consent: Consent, terms: bytes, time: int, **facts: Any
    ) -> Entry:
        """Log a release, durably, before anything of it leaves; `Refused` if the job closed or the consent ended."""
        with self._change():
            if self.is_closed(job):
                raise Refused("This job is closed: its settlement was asked for, and nothing more is released.")
            if self.revoked_at(consent, consent_id) is not None:
                raise Refused("The owner revoked this consent.")
            self._db.execute(
                "INSERT OR IGNORE INTO released VALUES (?, ?, ?, ?)", (job, consent_id, terms, consent.encode())
            )
            return self._append("release", time, job=job, consent=consent_id, **facts)

    def released(self, job: JobId) -> dict[ConsentId, Released]:
        """The consents of a job of which a share was released."""
        rows = self._rows("SELECT consent, terms, owner_consent FROM released WHERE job = ?", (job,))
        return {ConsentId(row[0]): Released(ConsentId(row[0]), row[1], row[2]) for row in rows}

    # -- revocations --------------------------------------------------------------------------------------------------

    def record_revocation(
        self, owner: Address, ended: Sequence[Ended], digest: bytes, message: bytes, time: int
    ) -> int:
        """Store a verified message once; returns the Unix second at which this keeper first stored it."""
        with self._change():
            seen = self._one("SELECT seen FROM messages WHERE digest = ?", (digest,))
            if seen is not None:
                return int(seen)
            self._db.execute("INSERT INTO messages VALUES (?, ?, ?)", (digest, message, time))
            self._db.executemany(
                "INSERT OR IGNORE INTO revocations VALUES (?, ?, ?, ?)",
                [(owner, item.what, item.value, time) for item in ended],
            )
            self._append("revocation", time, owner=owner, message=digest)
            return time

    def holds_message(self, digest: bytes) -> bool:
        """Whether this very message is stored."""
        return self._one("SELECT 1 FROM messages WHERE digest = ?", (digest,)) is not None

    def revoked_at(self, consent: Consent, consent_id: ConsentId) -> int | None:
        """When this keeper first stored a message of the owner that ends this consent, if it did."""
        query = (
            "SELECT min(seen) FROM revocations WHERE owner = ? AND"
            " (what = 'id' AND value = ? OR what = 'nonce' AND value = ? OR what = 'epoch' AND value >= ?)"
        )
        nonce = (consent.nonce & 2**64 - 1).to_bytes(8, "big")  # word and bit: they end in every epoch
        seen = self._one(query, (consent.owner, consent_id, nonce, consent.epoch.to_bytes(4, "big")))
        return None if seen is None else int(seen)

    def record_sighting(self, owner: Address, consent_id: ConsentId, time: int) -> None:
        """Remember when this keeper first saw on chain that the owner ended this consent."""
        with self._change():
            row = (owner, "id", consent_id, time)
            self._db.execute("INSERT OR IGNORE INTO revocations VALUES (?, ?, ?, ?)", row)

    # -- ledgers ------------------------------------------------------------------------------------------------------

    def record_ledger(self, job: JobId, consent_id: ConsentId, record_epochs: int, signature: bytes, time: int) -> None:
        """Store a runner's total; the first one stands, and a different one later is `Conflict`."""
        with self._change():
            known = self.ledgers(job).get(consent_id)
            if known is not None:
                if known != record_epochs:
                    raise Conflict("Another ledger total was handed in for this consent already; the first one stands.")
                return
            if self.settled(job) is not None:
                raise Refused("This job's settlement is signed already.")
            total = record_epochs.to_bytes(8, "big")
            self._db.execute("INSERT INTO ledgers VALUES (?, ?, ?, ?)", (job, consent_id, total, signature))
            self._append("ledger", time, job=job, consent=consent_id, record_epochs=record_epochs)

    def ledgers(self, job: JobId) -> dict[ConsentId, int]:
        """The record-epochs that the runner signed for, by consent."""
        rows = self._rows("SELECT consent, record_epochs FROM ledgers WHERE job = ?", (job,))
        return {ConsentId(row[0]): int.from_bytes(row[1], "big") for row in rows}

    # -- settlement ---------------------------------------------------------------------------------------------------

    def close_job(self, job: JobId, time: int) -> None:
        """Release nothing more of this job, ever."""
        with self._change():
            if not self.is_closed(job):
                self._db.execute("INSERT INTO closed VALUES (?, ?)", (job, time))
                self._append("closed", time, job=job)

    def is_closed(self, job: JobId) -> bool:
        """Whether settlement of the job was asked for."""
        return self._one("SELECT 1 FROM closed WHERE job = ?", (job,)) is not None

    def record_settlement(self, job: JobId, settled: Settled, time: int) -> Settled:
        """Record the one settlement of a job and return it; if there is one already, that one, unchanged."""
        with self._change():
            known = self.settled(job)
            if known is not None:
                return known
            root = settled.root.to_bytes(32, "big")
            row = (job, root, settled.statement, settled.tree, settled.signature)
            self._db.execute("INSERT INTO settled VALUES (?, ?, ?, ?, ?)", row)
            self._append("settlement", time, job=job, root=root, statement=settled.statement)
            return settled

    def settled(self, job: JobId) -> Settled | None:
        """The settlement that was signed for a job."""
        row = self._row("SELECT root, statement, tree, signature FROM settled WHERE job = ?", (job,))
        return Settled(int.from_bytes(row[0], "big"), row[1], row[2], row[3]) if row else None
