"""The public catalogue of datasets known to this world, and where each vault's newest head was seen.

Everything here can be rebuilt from blocks and chain; nothing here is secret. Ids of the chain (asset, owner,
terms hash) are opaque bytes at this layer.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine, LargeBinary, String, select
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base, UtcTime, add_once, inserting, transaction, utc_now
from core.errors import NotFound
from core.ids import Address, Asset, VaultId


class DatasetRow(Base):
    """One published dataset: the block that holds its public documents, and what a list of datasets shows."""

    __tablename__ = "datasets"

    asset: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    owner: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    vault_id: Mapped[bytes] = mapped_column(LargeBinary(32))
    title: Mapped[str] = mapped_column(String(200))
    publication: Mapped[str] = mapped_column(String(80))
    objects: Mapped[int]
    records: Mapped[int]
    published: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class HeadRow(Base):
    """The newest head of a vault that this world has seen: a hint that saves a scan of the blocks."""

    __tablename__ = "vault_heads"

    vault_id: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    head: Mapped[str] = mapped_column(String(80))
    sequence: Mapped[int]


class Catalogue:
    """The catalogue in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, row: DatasetRow) -> None:
        """Remember a published dataset; once more with the same asset changes nothing."""
        add_once(self._engine, row)

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
            added = inserting(session, HeadRow(vault_id=vault_id, head=head, sequence=sequence))
            newer = {"head": added.excluded.head, "sequence": added.excluded.sequence}
            session.execute(
                added.on_conflict_do_update(
                    index_elements=[HeadRow.vault_id],
                    set_=newer,
                    where=HeadRow.sequence < added.excluded.sequence,
                )
            )
