"""The public catalogue of datasets known to this world, and where each vault's newest head was seen.

Everything here can be rebuilt from blocks and chain; nothing here is secret. Ids of the chain (asset, owner,
terms hash) and purposes are opaque at this layer. Promises: a page of the list costs the same at any length of it,
because every filter is a tag whose rows stand in the list's own order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Engine, Index, LargeBinary, String, func, literal, select, tuple_, update
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from core.database import Base, UtcTime, exclusively, inserting, transaction, utc_now
from core.errors import NotFound
from core.ids import Address, Asset, VaultId

MAX_WORDS = 64  # words of a dataset that it is found by
MAX_ASKED = 8  # words of one question
HEADS_LOCK = int.from_bytes(b"vaults", "big")
"""Held by whoever makes another head of a vault the newest one, for `exclusively`."""
RARE = 1_000  # rows of a tag that are counted, to begin with the rarest

_WORD = re.compile(r"\w+")


class DatasetRow(Base):
    """One published dataset: the block that holds its public documents, and what a list of datasets shows.

    `terms` are those that it was listed with, and the four columns below say of them what a list shows; all are null in
    a row of an earlier version until the dataset is listed again. Purposes are codes with blanks between them.
    """

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "published", "asset"),)

    asset: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    owner: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    vault_id: Mapped[bytes] = mapped_column(LargeBinary(32))
    title: Mapped[str] = mapped_column(String(200))
    publication: Mapped[str] = mapped_column(String(80))
    objects: Mapped[int]
    records: Mapped[int]
    published: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)
    terms: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None)
    purposes: Mapped[str | None] = mapped_column(String(600), default=None)
    flat: Mapped[int | None] = mapped_column(BigInteger, default=None)
    per_record_epoch: Mapped[int | None] = mapped_column(BigInteger, default=None)
    expiry: Mapped[int | None] = mapped_column(BigInteger, default=None)


class TagRow(Base):
    """Something that a dataset is found by: `owner:…`, `purpose:…` or `word:…`, in the order of the list."""

    __tablename__ = "dataset_tags"
    __table_args__ = ({"sqlite_with_rowid": False},)  # the key is the row

    tag: Mapped[str] = mapped_column(String(80), primary_key=True)
    published: Mapped[datetime] = mapped_column(UtcTime, primary_key=True)
    asset: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)


class PublicationRow(Base):
    """Where the public documents of an asset under certain terms lie; `sequence` is that of the share table."""

    __tablename__ = "publications"

    asset: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    terms: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    owner: Mapped[bytes] = mapped_column(LargeBinary(20))
    cid: Mapped[str] = mapped_column(String(80))
    sequence: Mapped[int] = mapped_column(BigInteger)


class HeadRow(Base):
    """The newest head of a vault that this world has seen: a hint that saves a scan of the blocks."""

    __tablename__ = "vault_heads"

    vault_id: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    head: Mapped[str] = mapped_column(String(80))
    sequence: Mapped[int]


class Place(NamedTuple):
    """Where a dataset stands in the list."""

    published: datetime
    asset: bytes


@dataclass(frozen=True)
class Wanted:
    """What a list is narrowed to: all of these hold."""

    owner: Address | None = None
    purpose: str | None = None
    text: str = ""

    @property
    def tags(self) -> list[str]:
        """The tags that a dataset must have."""
        words = words_of([self.text], MAX_ASKED)
        return tags_of(self.owner, [] if self.purpose is None else [self.purpose], words)


def words_of(texts: Iterable[str], at_most: int = MAX_WORDS) -> list[str]:
    """The words by which texts are found: folded, each once, the first `at_most`."""
    found = dict.fromkeys(
        word[:40] for text in texts for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    )
    return list(found)[:at_most]


def tags_of(owner: Address | None, purposes: Iterable[str], words: Iterable[str]) -> list[str]:
    """The tags of a dataset, or of a question."""
    owners = [] if owner is None else [f"owner:0x{owner.hex()}"]
    return [*owners, *(f"purpose:{code}" for code in purposes), *(f"word:{word}" for word in words)]


class Catalogue:
    """The catalogue in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: DatasetRow, words: Sequence[str] = ()) -> None:
        """List a published dataset, to be found by its owner, its purposes and `words`.

        Once more with the same asset changes nothing, but completes a row of an earlier version.
        """
        row.published = row.published or utc_now()
        tags = tags_of(Address(row.owner), (row.purposes or "").split(), words)
        shown = {name: getattr(row, name) for name in ("terms", "purposes", "flat", "per_record_epoch", "expiry")}
        with transaction(self._engine) as session:
            session.execute(inserting(session, row).on_conflict_do_nothing())
            same = DatasetRow.asset == row.asset
            session.execute(update(DatasetRow).where(same, DatasetRow.terms.is_(None)).values(shown))
            listed, terms = session.execute(select(DatasetRow.published, DatasetRow.terms).where(same)).one()
            if terms == row.terms:
                for tag in tags:
                    one = TagRow(tag=tag, published=listed, asset=row.asset)
                    session.execute(inserting(session, one).on_conflict_do_nothing())

    def page(self, wanted: Wanted, *, after: Place | None, at_most: int) -> list[DatasetRow]:
        """The newest datasets that have all that is wanted, below `after`."""
        with transaction(self._engine) as session:
            tags = _rarest_first(session, wanted.tags)
            if not tags:
                query = select(DatasetRow)
                where = (DatasetRow.published, DatasetRow.asset)
            else:
                first = aliased(TagRow)
                query = select(DatasetRow).join(first, first.asset == DatasetRow.asset).where(first.tag == tags[0])
                where = (first.published, first.asset)
                for tag in tags[1:]:
                    other = aliased(TagRow)
                    same = (other.tag == tag, other.published == first.published, other.asset == first.asset)
                    query = query.where(select(literal(1)).where(*same).exists())
            if after is not None:
                below = tuple_(literal(after.published, UtcTime), literal(after.asset, LargeBinary))
                query = query.where(tuple_(*where) < below)
            query = query.order_by(where[0].desc(), where[1].desc()).limit(at_most)
            return list(session.scalars(query))

    def incomplete(self) -> list[DatasetRow]:
        """Rows of an earlier version, which say nothing of their terms."""
        with transaction(self._engine) as session:
            return list(session.scalars(select(DatasetRow).where(DatasetRow.terms.is_(None))))

    def known(self, assets: Iterable[bytes]) -> dict[bytes, DatasetRow]:
        """Those of these assets that are listed."""
        with transaction(self._engine) as session:
            rows = session.scalars(select(DatasetRow).where(DatasetRow.asset.in_(set(assets))))
            return {row.asset: row for row in rows}

    def remember(self, row: PublicationRow) -> None:
        """Keep where an asset's documents under these terms lie (`remember`)."""
        with transaction(self._engine) as session:
            remember(session, row)

    def publication(self, asset: Asset, terms: bytes) -> PublicationRow | None:
        """Where the documents of an asset under these terms lie."""
        with transaction(self._engine) as session:
            return session.get(PublicationRow, (asset, terms))

    def get(self, asset: Asset) -> DatasetRow:
        """The dataset, or `NotFound`."""
        with transaction(self._engine) as session:
            row = session.get(DatasetRow, asset)
        if row is None:
            raise NotFound(
                "No dataset with that asset is known here.", hint="`allod dataset list` lists those that are."
            )
        return row

    def find(self, name: str) -> DatasetRow:
        """The one dataset of that number in the list, or whose 0x asset begins so (six characters at least)."""
        prefix = name if len(name) >= 6 else "no such asset"
        rows = [
            row
            for number, row in enumerate(self.all(), start=1)
            if str(number) == name or ("0x" + row.asset.hex()).startswith(prefix)
        ]
        if len(rows) != 1:
            raise NotFound(f"No single dataset is called {name}.", hint="`allod dataset list` lists all.")
        return rows[0]

    def all(self, owner: Address | None = None) -> list[DatasetRow]:
        """All datasets, oldest first; of one owner if given."""
        query = select(DatasetRow).order_by(DatasetRow.published, DatasetRow.asset)
        if owner is not None:
            query = query.where(DatasetRow.owner == owner)
        with transaction(self._engine) as session:
            return list(session.scalars(query))

    def head(self, vault_id: VaultId) -> HeadRow | None:
        """The newest head seen of that vault."""
        with transaction(self._engine) as session:
            return session.get(HeadRow, vault_id)

    def heads(self) -> list[HeadRow]:
        """The newest head seen of every vault."""
        with transaction(self._engine) as session:
            return list(session.scalars(select(HeadRow)))

    def saw_head(self, vault_id: VaultId, head: str, sequence: int) -> None:
        """Remember a head unless a newer one is known."""
        with transaction(self._engine) as session:
            note_head(session, vault_id, head, sequence)

    @contextmanager
    def changing_head(self, vault_id: VaultId, head: str, sequence: int) -> Iterator[None]:
        """Remember a head that becomes durable within; whoever else changes heads of this world waits meanwhile."""
        with exclusively(self._engine, HEADS_LOCK) as session:
            yield
            note_head(session, vault_id, head, sequence)


def note_head(session: Session, vault_id: VaultId, head: str, sequence: int) -> None:
    """Remember a head unless a newer one is known."""
    added = inserting(session, HeadRow(vault_id=vault_id, head=head, sequence=sequence))
    newer = {"head": added.excluded.head, "sequence": added.excluded.sequence}
    session.execute(
        added.on_conflict_do_update(
            index_elements=[HeadRow.vault_id], set_=newer, where=HeadRow.sequence < added.excluded.sequence
        )
    )


def remember(session: Session, row: PublicationRow) -> None:
    """Keep where an asset's documents under these terms lie; those with the newer share table count."""
    added = inserting(session, row)
    newer = {name: getattr(added.excluded, name) for name in ("owner", "cid", "sequence")}
    session.execute(
        added.on_conflict_do_update(
            index_elements=[PublicationRow.asset, PublicationRow.terms],
            set_=newer,
            where=PublicationRow.sequence < added.excluded.sequence,
        )
    )


def _rarest_first(session: Session, tags: list[str]) -> list[str]:
    """The tags, the one of the fewest datasets first: from there the list is walked."""
    if len(tags) < 2:
        return tags

    def count(tag: str) -> int:
        some = select(TagRow.asset).where(TagRow.tag == tag).limit(RARE).subquery()
        return session.scalar(select(func.count()).select_from(some)) or 0

    return sorted(tags, key=count)
