"""Signed consents that are known to this world, and every transaction that it sent.

A consent's authority is its signature and the chain; these rows are how a trainer finds offers and how a person
finds out what a transaction cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, LargeBinary, String, select
from sqlalchemy.orm import Mapped, mapped_column

from consent.market.place import Sent
from core.database import Base, UtcTime, add_once, transaction, utc_now
from core.ids import Address


class ConsentRow(Base):
    """One signed consent or open offer. `digest` is its EIP-712 digest, `consent` its dag-cbor form."""

    __tablename__ = "consents"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    owner: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    grantee: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    asset: Mapped[bytes] = mapped_column(LargeBinary(32), index=True)
    consent: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    signed: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class TransactionRow(Base):
    """One transaction that this world sent: what for, by whom, at what gas."""

    __tablename__ = "transactions"

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    what: Mapped[str] = mapped_column(String(60))
    sender: Mapped[bytes] = mapped_column(LargeBinary(20))
    gas: Mapped[int]
    block: Mapped[int]
    job: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True, default=None)
    sent: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


def transaction_row(sent: Sent, job: bytes | None = None) -> TransactionRow:
    """What is kept of a transaction."""
    receipt = sent.receipt
    return TransactionRow(
        hash=sent.tx_hash, what=sent.what, sender=receipt.sender, gas=sent.gas, block=receipt.block_number, job=job
    )


class ConsentBook:
    """The consents and transactions in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: ConsentRow) -> None:
        """Remember a signed consent; twice changes nothing."""
        add_once(self._engine, row)

    def consents(
        self, *, owner: Address | None = None, asset: bytes | None = None, grantees: Sequence[Address] | None = None
    ) -> list[ConsentRow]:
        """Known consents in the order of signing."""
        query = select(ConsentRow).order_by(ConsentRow.signed, ConsentRow.digest)
        if owner is not None:
            query = query.where(ConsentRow.owner == owner)
        if asset is not None:
            query = query.where(ConsentRow.asset == asset)
        if grantees is not None:
            query = query.where(ConsentRow.grantee.in_(grantees))
        with transaction(self._engine) as session:
            return list(session.scalars(query))

    def sent(self, row: TransactionRow) -> None:
        """Remember a transaction; twice changes nothing."""
        add_once(self._engine, row)

    def transactions(self, job: bytes | None = None) -> list[TransactionRow]:
        """Transactions in the order of their blocks; of one job if given."""
        query = select(TransactionRow).order_by(TransactionRow.block, TransactionRow.sent)
        if job is not None:
            query = query.where(TransactionRow.job == job)
        with transaction(self._engine) as session:
            return list(session.scalars(query))
