"""The index's tables: blocks that hold events, the events, and how far the index has come.

Promises: the rows of a source are a function of its head block alone. Going back is deleting the blocks above the fork,
and their events go with them; `replace` does that, adds what is new and moves the head in one transaction, or does
nothing where another writer was quicker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from consent.chain.contract import Event
from consent.chain.deployment import Deployment
from consent.index.layout import KEYS, Found, Layout
from core.database import Base, transaction
from core.encoding import encode_json, to_hex


class SourceRow(Base):
    """The contracts of one deployment: `head` is the newest block that the index knows, with an empty hash at first."""

    __tablename__ = "index_sources"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    head: Mapped[int] = mapped_column(BigInteger)
    head_hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class BlockRow(Base):
    """A block with events; `time` in seconds since 1970."""

    __tablename__ = "index_blocks"

    source: Mapped[int] = mapped_column(ForeignKey("index_sources.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    time: Mapped[int] = mapped_column(BigInteger)


class EventRow(Base):
    """An event; `words` are its arguments as on chain, the key columns those of them that it is looked up by."""

    __tablename__ = "index_events"
    __table_args__ = (
        ForeignKeyConstraint(["source", "block"], ["index_blocks.source", "index_blocks.number"], ondelete="CASCADE"),
        *(Index(f"ix_index_events_{key}", "source", "name", key) for key in KEYS if key != "lane"),
    )

    source: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tx_index: Mapped[int]
    tx_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    contract: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(40))
    words: Mapped[bytes] = mapped_column(LargeBinary)
    owner: Mapped[bytes | None] = mapped_column(LargeBinary(20))
    holder: Mapped[bytes | None] = mapped_column(LargeBinary(20))
    payer: Mapped[bytes | None] = mapped_column(LargeBinary(20))
    payee: Mapped[bytes | None] = mapped_column(LargeBinary(20))
    asset: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    consent: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    lane: Mapped[bytes | None] = mapped_column(LargeBinary(32))


class Head(NamedTuple):
    """A block by number and hash; an empty hash stands for the block before the first that matters."""

    number: int
    hash: bytes


class Moved(Exception):
    """What was read before no longer holds: chain or database changed meanwhile. Nothing was written."""


class Overtaken(Moved):
    """Another indexer was quicker: the rows are further than they were."""


class IndexBook:
    """The rows of one deployment in the database."""

    def __init__(self, engine: Engine, deployment: Deployment) -> None:
        self._engine = engine
        self.origin = Head(deployment.first_block - 1, b"")
        addresses = (deployment.registry, deployment.consent_token, deployment.escrow)
        fields = [deployment.chain_id, deployment.first_block, *map(to_hex, addresses)]
        self._key = sha256(encode_json(fields)).digest()
        self._source = self._find()

    def _find(self) -> int:
        query = select(SourceRow.id).where(SourceRow.key == self._key)
        with transaction(self._engine) as session:
            found = session.scalar(query)
        if found is None:
            try:
                with transaction(self._engine) as session:
                    row = SourceRow(key=self._key, head=self.origin.number, head_hash=self.origin.hash)
                    session.add(row)
                    session.flush()
                    return row.id
            except IntegrityError:  # another process began at the same moment
                return self._find()
        return found

    def head(self) -> Head:
        """How far the index has come."""
        with transaction(self._engine) as session:
            row = session.get_one(SourceRow, self._source)
            return Head(row.head, row.head_hash)

    def count(self, up_to: int) -> int:
        """How many blocks with events there are up to this number."""
        query = select(func.count()).select_from(BlockRow)
        with transaction(self._engine) as session:
            return session.scalar(query.where(BlockRow.source == self._source, BlockRow.number <= up_to)) or 0

    def block(self, place: int) -> Head:
        """The block at this place among all with events, oldest first; `Moved` if there are fewer."""
        query = select(BlockRow.number, BlockRow.hash).where(BlockRow.source == self._source)
        with transaction(self._engine) as session:
            row = session.execute(query.order_by(BlockRow.number).offset(place).limit(1)).first()
        if row is None:
            raise Moved
        return Head(*row)

    def replace(self, seen: Head, fork: Head, head: Head, times: Mapping[int, int], found: Sequence[Found]) -> None:
        """Go from the head `seen` back to `fork`, add `found` above it, and end at `head`, all or nothing.

        `times` has the time of each block with events. `Overtaken` if the head is not `seen` any more.
        """
        hashes = {item.block: item.block_hash for item in found}
        blocks = [
            {"source": self._source, "number": number, "hash": block_hash, "time": times[number]}
            for number, block_hash in hashes.items()
        ]
        mine = (SourceRow.id == self._source, SourceRow.head == seen.number, SourceRow.head_hash == seen.hash)
        with transaction(self._engine) as session:
            # The first statement writes, so that it waits for another writer's end and then sees what that one did.
            moved = session.execute(
                update(SourceRow).where(*mine).values(head=head.number, head_hash=head.hash).returning(SourceRow.id)
            ).first()
            if moved is None:
                raise Overtaken
            session.execute(delete(BlockRow).where(BlockRow.source == self._source, BlockRow.number > fork.number))
            if found:
                session.execute(insert(BlockRow), blocks)
                session.execute(insert(EventRow), [self._row(item) for item in found])

    def _row(self, found: Found) -> dict[str, object]:
        return {
            "source": self._source,
            "block": found.block,
            "log_index": found.log_index,
            "tx_index": found.tx_index,
            "tx_hash": found.tx_hash,
            "contract": found.layout.contract,
            "name": found.layout.name,
            "words": found.words,
            **found.layout.key_columns(found.words),
        }

    def events(self, layout: Layout, wanted: Mapping[str, object]) -> list[Event]:
        """The events of this layout whose arguments have these values, oldest first."""
        query = (
            select(EventRow.words, EventRow.block, BlockRow.hash, EventRow.tx_hash, EventRow.log_index)
            .join(BlockRow, (BlockRow.source == EventRow.source) & (BlockRow.number == EventRow.block))
            .where(EventRow.source == self._source, EventRow.contract == layout.contract, EventRow.name == layout.name)
            .order_by(EventRow.block, EventRow.log_index)
        )
        for column, value in layout.filters(wanted).items():
            query = query.where(getattr(EventRow, column) == value)
        with transaction(self._engine) as session:
            rows = session.execute(query).all()
        events = [Event(layout.name, layout.args(row[0]), *row[1:]) for row in rows]
        return [event for event in events if all(event.args[name] == value for name, value in wanted.items())]
