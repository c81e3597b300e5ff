"""Who needs which blocks: the tables behind uploads and vaults on a server.

Promises. A block is deleted only if it came in by the server's door (`uploaded_blocks`), no vault and no published
dataset holds it (`held_blocks`), and nobody sent it within the last day without having committed it yet (`uploads`).
What the programs of this home put (`allod.homeblocks`) is in none of these, even if somebody sent it too, and so is
never deleted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from sqlalchemy import BigInteger, LargeBinary, delete, exists, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from core.database import Base, UtcTime, insert_into
from core.ids import Address
from vault.catalogue import PublicationRow
from vault.cid import Cid

KEPT = timedelta(hours=24)  # how long a block waits for the commit that needs it
_FRESH = timedelta(hours=1)  # asking again does not renew what is younger
_AT_ONCE = 500  # values in one query

_Item = TypeVar("_Item")


class UploadedRow(Base):
    """A block that came in by the server's door."""

    __tablename__ = "uploaded_blocks"

    cid: Mapped[bytes] = mapped_column(LargeBinary(36), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)


class UploadRow(Base):
    """A block that an account sent and has not committed yet.

    `data` is there for vault heads only: a head waits here and is put among the blocks with its commit, as whoever
    looks for a vault among blocks takes the newest head for the vault.
    """

    __tablename__ = "uploads"

    account: Mapped[bytes] = mapped_column(LargeBinary(20), primary_key=True)
    cid: Mapped[bytes] = mapped_column(LargeBinary(36), primary_key=True, index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    data: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class VaultRow(Base):
    """A vault, the account that it is bound to, and its newest head. `proved`: its key signed for that account.

    Its key names it, for anybody can write a head that names somebody's vault_id.
    """

    __tablename__ = "vaults"

    manifest_pk: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    vault_id: Mapped[bytes] = mapped_column(LargeBinary(32))
    account: Mapped[bytes] = mapped_column(LargeBinary(20), unique=True)
    proved: Mapped[bool]
    head: Mapped[bytes] = mapped_column(LargeBinary(36))
    sequence: Mapped[int] = mapped_column(BigInteger)
    blocks: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    committed: Mapped[datetime] = mapped_column(UtcTime)


class HeldRow(Base):
    """A block of a unit that a vault or a published dataset (`holder`: manifest_pk or asset) needs."""

    __tablename__ = "held_blocks"

    holder: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    unit: Mapped[bytes] = mapped_column(LargeBinary(36), primary_key=True)
    cid: Mapped[bytes] = mapped_column(LargeBinary(36), primary_key=True, index=True)
    size: Mapped[int] = mapped_column(BigInteger)


def waiting_bytes(session: Session, account: Address) -> int:
    """How much the account has sent and not committed."""
    return session.scalar(select(func.coalesce(func.sum(UploadRow.size), 0)).where(UploadRow.account == account)) or 0


def among_uploads(session: Session, account: Address, cids: Iterable[Cid], *, heads: bool = False) -> set[Cid]:
    """Those that the account has sent and not committed; only the vault heads among them if asked so."""
    found: set[Cid] = set()
    for some in _batches(cids):
        mine = select(UploadRow.cid).where(UploadRow.account == account, UploadRow.cid.in_(_keys(some)))
        if heads:
            mine = mine.where(UploadRow.data.is_not(None))
        found.update(map(Cid.parse, session.scalars(mine)))
    return found


def note_uploads(session: Session, account: Address, sizes: dict[Cid, int], new: Iterable[Cid], now: datetime) -> None:
    """The account sends these blocks; the `new` ones are nowhere here yet."""
    rows = [{"account": account, "cid": cid.bytes, "size": size, "at": now} for cid, size in sizes.items()]
    arrived = [{"cid": cid.bytes, "size": sizes[cid]} for cid in new]
    if arrived:
        session.execute(insert_into(session, UploadedRow).on_conflict_do_nothing(), arrived)
    if rows:
        added = insert_into(session, UploadRow)
        keys = [UploadRow.account, UploadRow.cid]
        session.execute(added.on_conflict_do_update(index_elements=keys, set_={"at": added.excluded.at}), rows)


def note_head(session: Session, account: Address, cid: Cid, data: bytes, now: datetime, at_most: int) -> None:
    """Let a head wait for its commit; of one account only the `at_most` newest do."""
    row = {"account": account, "cid": cid.bytes, "size": len(data), "at": now, "data": data}
    added = insert_into(session, UploadRow).values(row)
    keys = [UploadRow.account, UploadRow.cid]
    renewed = {"at": added.excluded.at, "data": added.excluded.data}
    session.execute(added.on_conflict_do_update(index_elements=keys, set_=renewed))
    waiting = select(UploadRow.cid).where(UploadRow.account == account, UploadRow.data.is_not(None))
    for old in session.scalars(waiting.order_by(UploadRow.at.desc(), UploadRow.cid).offset(at_most)).all():
        session.execute(delete(UploadRow).where(UploadRow.account == account, UploadRow.cid == old))


def waiting_head(session: Session, account: Address, cid: Cid) -> bytes | None:
    """The head's bytes, if it waits."""
    return session.scalar(select(UploadRow.data).where(UploadRow.account == account, UploadRow.cid == cid.bytes))


def renew_uploads(session: Session, account: Address, cids: Iterable[Cid], now: datetime) -> None:
    """The account still means to commit these, as far as it was the one who sent them."""
    for some in _batches(cids):
        mine = (UploadRow.account == account) & UploadRow.cid.in_(_keys(some))
        if session.scalar(select(UploadRow.cid).where(mine, UploadRow.at < now - _FRESH).limit(1)) is not None:
            session.execute(update(UploadRow).where(mine).values(at=now))


def forget_uploads(session: Session, account: Address, cids: Iterable[Cid]) -> None:
    """These are committed now."""
    for some in _batches(cids):
        session.execute(delete(UploadRow).where(UploadRow.account == account, UploadRow.cid.in_(_keys(some))))


def expire_uploads(session: Session, now: datetime) -> None:
    """Give up what nobody committed or asked for within a day."""
    session.execute(delete(UploadRow).where(UploadRow.at < now - KEPT))


def sizes(session: Session, cids: Iterable[Cid]) -> dict[Cid, int]:
    """The sizes of those that came in by the server's door."""
    found: dict[Cid, int] = {}
    for some in _batches(cids):
        query = select(UploadedRow.cid, UploadedRow.size).where(UploadedRow.cid.in_(_keys(some)))
        found.update((Cid.parse(cid), size) for cid, size in session.execute(query))
    return found


def units(session: Session, holder: bytes) -> set[Cid]:
    """The units that a holder has whole."""
    query = select(HeldRow.cid).where(HeldRow.holder == holder, HeldRow.unit == HeldRow.cid)
    return set(map(Cid.parse, session.scalars(query)))


def held_units(session: Session, wanted: Iterable[tuple[bytes, Cid]]) -> set[tuple[bytes, Cid]]:
    """Those of (holder, unit) that are held."""
    found: set[tuple[bytes, Cid]] = set()
    for some in _batches(wanted):
        holders, units = [holder for holder, _ in some], [unit.bytes for _, unit in some]
        query = select(HeldRow.holder, HeldRow.unit).where(HeldRow.holder.in_(holders), HeldRow.unit.in_(units))
        query = query.where(HeldRow.unit == HeldRow.cid)
        found.update((bytes(holder), Cid.parse(unit)) for holder, unit in session.execute(query))
    return found


def held(session: Session, holder: bytes, cids: Iterable[Cid]) -> dict[Cid, int]:
    """Those that the holder holds, with their sizes."""
    found: dict[Cid, int] = {}
    for some in _batches(cids):
        query = select(HeldRow.cid, HeldRow.size).where(HeldRow.holder == holder, HeldRow.cid.in_(_keys(some)))
        found.update((Cid.parse(cid), size) for cid, size in session.execute(query))
    return found


def published_bytes(session: Session, owner: Address, besides: Cid) -> int:
    """What is kept of all that this owner published but one, each block once."""
    assets = select(PublicationRow.asset).where(PublicationRow.owner == owner)
    blocks = select(HeldRow.cid, HeldRow.size).where(HeldRow.holder.in_(assets), HeldRow.unit != besides.bytes)
    return session.scalar(select(func.coalesce(func.sum(blocks.distinct().subquery().c.size), 0))) or 0


def hold(session: Session, holder: bytes, units: Mapping[Cid, Mapping[Cid, int]]) -> None:
    """The holder needs these units, given with the sizes of their blocks."""
    rows = (
        {"holder": holder, "unit": unit.bytes, "cid": cid.bytes, "size": size}
        for unit, blocks in units.items()
        for cid, size in blocks.items()
    )
    for some in _batches(rows):
        session.execute(insert_into(session, HeldRow).on_conflict_do_nothing(), some)


def release(session: Session, holder: bytes, units: Iterable[Cid]) -> dict[Cid, int]:
    """The holder needs these units no more; the blocks that it does not hold any more in any other."""
    released: dict[Cid, int] = {}
    for some in _batches(units):
        gone = (HeldRow.holder == holder) & HeldRow.unit.in_(_keys(some))
        found = session.execute(select(HeldRow.cid, HeldRow.size).where(gone))
        released.update((Cid.parse(cid), size) for cid, size in found)
        session.execute(delete(HeldRow).where(gone))
    kept = held(session, holder, released)
    return {cid: size for cid, size in released.items() if cid not in kept}


def unneeded(session: Session, at_most: int, among: Iterable[Cid] | None = None) -> list[Cid]:
    """Blocks that may be deleted: of all, or `among` some."""
    query = select(UploadedRow.cid).where(
        ~exists().where(HeldRow.cid == UploadedRow.cid), ~exists().where(UploadRow.cid == UploadedRow.cid)
    )
    if among is not None:
        query = query.where(UploadedRow.cid.in_(_keys(list(among))))
    return [Cid.parse(cid) for cid in session.scalars(query.limit(at_most))]


def take_home(session: Session, cids: Iterable[Cid]) -> None:
    """A program of this home has put these: they are not deleted, whoever sent them too."""
    for some in _batches(cids):
        theirs = UploadedRow.cid.in_(_keys(some))
        if session.scalar(select(UploadedRow.cid).where(theirs).limit(1)) is not None:
            session.execute(delete(UploadedRow).where(theirs))


def note_arrival(session: Session, cid: Cid, size: int) -> None:
    """This block is put by the server now."""
    added = insert_into(session, UploadedRow).values(cid=cid.bytes, size=size)
    session.execute(added.on_conflict_do_nothing())


def forget_uploaded(session: Session, cids: Iterable[Cid]) -> None:
    """These were deleted, unless somebody sent them again meanwhile."""
    for some in _batches(cids):
        gone = UploadedRow.cid.in_(_keys(some)) & ~exists().where(UploadRow.cid == UploadedRow.cid)
        session.execute(delete(UploadedRow).where(gone))


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _keys(cids: list[Cid]) -> list[bytes]:
    return [cid.bytes for cid in cids]
