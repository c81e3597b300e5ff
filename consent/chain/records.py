"""The outbox in the database: it outlives a crash, and every process of a home shares it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, ForeignKey, LargeBinary, String, UniqueConstraint, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from consent.chain.outbox import ALIVE, Attempt, Fate, Outgoing
from core.database import Base, UtcTime, transaction
from core.ids import Address


class OutgoingRow(Base):
    """One effect on its way (`consent.chain.outbox.Outgoing`). `chain` is the hash of the chain's first block."""

    __tablename__ = "outgoing"
    __table_args__ = (UniqueConstraint("chain", "sender", "nonce"), UniqueConstraint("chain", "key"))

    number: Mapped[int] = mapped_column(primary_key=True)
    chain: Mapped[bytes] = mapped_column(LargeBinary(32))
    sender: Mapped[bytes] = mapped_column(LargeBinary(20))
    nonce: Mapped[int]
    key: Mapped[str | None] = mapped_column(String(200))
    since: Mapped[int]
    fate: Mapped[str] = mapped_column(String(10))


class AttemptRow(Base):
    """One signed transaction of an outgoing one."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("outgoing", "hash"),)  # two development chains may have the same transaction

    number: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    outgoing: Mapped[int] = mapped_column(ForeignKey("outgoing.number"))
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(UtcTime)


class DurableOutbox:
    """The `Outbox` in these tables; every change is on disk when its call returns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, outgoing: Outgoing) -> Outgoing | None:
        """See `Outbox`."""
        row = OutgoingRow(
            chain=outgoing.chain,
            sender=outgoing.sender,
            nonce=outgoing.nonce,
            key=outgoing.key,
            since=outgoing.since,
            fate=outgoing.fate,
        )
        try:
            with transaction(self._engine) as session:
                session.add(row)
                session.flush()
                for attempt in outgoing.attempts:
                    session.add(_row(row.number, attempt))
        except IntegrityError:
            return None
        return self.get(row.number)

    def get(self, number: int) -> Outgoing | None:
        """See `Outbox`."""
        with transaction(self._engine) as session:
            row = session.get(OutgoingRow, number)
            return None if row is None else _read(session, row)

    def find(self, chain: bytes, key: str) -> Outgoing | None:
        """See `Outbox`."""
        with transaction(self._engine) as session:
            query = select(OutgoingRow).where(OutgoingRow.chain == chain, OutgoingRow.key == key)
            row = session.scalars(query).one_or_none()
            return None if row is None else _read(session, row)

    def between(self, chain: bytes, sender: Address, first: int, last: int) -> list[Outgoing]:
        """See `Outbox`."""
        query = select(OutgoingRow).where(OutgoingRow.chain == chain, OutgoingRow.sender == sender)
        query = query.where(OutgoingRow.nonce >= first, OutgoingRow.nonce <= last).order_by(OutgoingRow.nonce)
        with transaction(self._engine) as session:
            return [_read(session, row) for row in session.scalars(query).all()]

    def last_nonce(self, chain: bytes, sender: Address) -> int | None:
        """See `Outbox`."""
        query = select(func.max(OutgoingRow.nonce)).where(OutgoingRow.chain == chain, OutgoingRow.sender == sender)
        with transaction(self._engine) as session:
            return session.scalar(query)

    def attempt(self, number: int, attempt: Attempt) -> None:
        """See `Outbox`."""
        try:
            with transaction(self._engine) as session:
                session.add(_row(number, attempt))
        except IntegrityError:  # another process signed the very same
            pass

    def move(self, number: int, nonce: int, to: int, attempt: Attempt) -> bool:
        """See `Outbox`."""
        try:
            with transaction(self._engine) as session:
                changed = _change(session, number, nonce, {"nonce": to, "fate": Fate.SENT})
                if changed:
                    session.add(_row(number, attempt))
                return changed
        except IntegrityError:
            return False

    def mark(self, number: int, nonce: int, fate: Fate) -> bool:
        """See `Outbox`."""
        with transaction(self._engine) as session:
            return _change(session, number, nonce, {"fate": fate, **({} if fate in ALIVE else {"key": None})})

    def remove(self, number: int) -> None:
        """See `Outbox`."""
        with transaction(self._engine) as session:
            session.execute(delete(AttemptRow).where(AttemptRow.outgoing == number))
            session.execute(delete(OutgoingRow).where(OutgoingRow.number == number))


def _change(session: Session, number: int, nonce: int, values: dict[str, Any]) -> bool:
    """Change the row if it is alive and has that nonce: the database decides between two that try."""
    wanted = update(OutgoingRow).where(OutgoingRow.number == number, OutgoingRow.nonce == nonce)
    wanted = wanted.where(OutgoingRow.fate.in_(ALIVE))
    return bool(session.execute(wanted.values(**values).returning(OutgoingRow.number)).all())


def _row(number: int, attempt: Attempt) -> AttemptRow:
    at = datetime.fromtimestamp(attempt.at, UTC)
    return AttemptRow(outgoing=number, hash=attempt.tx_hash, raw=attempt.raw, at=at)


def _read(session: Session, row: OutgoingRow) -> Outgoing:
    query = select(AttemptRow).where(AttemptRow.outgoing == row.number).order_by(AttemptRow.number)
    attempts = tuple(Attempt(one.raw, one.at.timestamp()) for one in session.scalars(query))
    return Outgoing(
        chain=row.chain,
        sender=Address(row.sender),
        nonce=row.nonce,
        key=row.key,
        since=row.since,
        attempts=attempts,
        fate=Fate(row.fate),
        number=row.number,
    )
