"""The server's one door to its blocks: what accounts send comes in here, and what nobody needs goes out.

Promises. What `take` says is stored survives a crash of the machine. Parts are written one after the other, so that no
part's failure takes another's blocks with it; a program of this home that is writing is waited for as long as the store
does. What was sent is noted before it is stored: after a kill nothing lies about that is not either committed or
collected. One server serves a home.
"""

from __future__ import annotations

import io
import logging
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from allod import holdings
from core.database import transaction, utc_now
from core.errors import AllodError, Corrupted, InvalidInput, NotFound, Unavailable
from core.ids import Address, Asset
from vault.blocks import BlockStore
from vault.car import Car
from vault.carlog import poses_as_tombstone
from vault.catalogue import PublicationRow
from vault.cid import DAG_CBOR, Cid
from vault.datasets import Card
from vault.documents import read_document
from vault.heads import HEAD_START
from vault.manifest import MEMBERS_KIND, DatasetHeader, decode_page

PART = 16 << 20  # bytes of one CAR
QUESTION = 1000  # CIDs asked for at once
HEADS = 8  # that may wait for an account's commit
_PUBLIC = 256 << 20  # bytes of one publication's documents, which count against no vault but its owner's bound
_HOUR = 3600.0
_SWEEP = 256  # blocks deleted in one flush

_LOG = logging.getLogger(__name__)


class NoRoom(AllodError):
    """A bound on what an account or a vault may keep here is reached, or the disk is nearly full."""

    status, exit_code, slug = 507, 9, "no-room"


@dataclass(frozen=True)
class Taken:
    """What came of a part: blocks that are new here, blocks that were here, and the bytes of the new ones."""

    stored: int
    known: int
    bytes: int


class Depot:
    """The door to `blocks`, which this process writes to through nothing else. Safe to use from several threads."""

    def __init__(
        self,
        engine: Engine,
        blocks: BlockStore,
        *,
        limit: int,
        published: int = 1 << 40,
        reserve: int = 0,
        disks: Sequence[Path] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`limit` is how many bytes an account may have sent without committing them, `published` how many the public
        documents of all its datasets may have. Of each of the `disks`, named by a folder, `reserve` bytes stay free.
        """
        self.engine = engine
        self.blocks = blocks
        self.clock = clock
        self._limit = limit
        self._published = published
        self._reserve, self._disks = reserve, tuple(disks)
        self._mutex = threading.RLock()

    def missing(self, account: Address, cids: Iterable[Cid]) -> list[Cid]:
        """Those that are not here, in order. What the account sent itself waits for its commit anew."""
        wanted = list(dict.fromkeys(cids))
        away = self.blocks.missing(wanted)
        with transaction(self.engine) as session:
            holdings.renew_uploads(session, account, wanted, self.clock())
            waiting = holdings.among_uploads(session, account, away, heads=True)
        return [cid for cid in away if cid not in waiting]

    def take(self, account: Address, part: bytes) -> Taken:
        """Store a CARv1 of at most 16 MiB, durably. Every block is verified before any is stored."""
        self._check_disks(len(part))
        heads, blocks = _read(part)
        sizes = {cid: len(data) for cid, data in (*heads.items(), *blocks.items())}
        now = self.clock()
        with self.writing() as store:
            absent = store.missing(sizes)
            if absent:  # only in the store's turn it is certain that nobody else puts them
                store.begin()
                absent = store.missing(sizes)
            with transaction(self.engine) as session:
                waiting = holdings.among_uploads(session, account, sizes)
                more = sum(size for cid, size in sizes.items() if cid not in waiting)
                self._check_room(holdings.waiting_bytes(session, account) + more)
                new = [cid for cid in absent if cid in blocks or cid not in waiting]
                arriving = [cid for cid in absent if cid in blocks]
                holdings.note_uploads(session, account, {cid: sizes[cid] for cid in blocks}, arriving, now)
                for cid, data in heads.items():
                    holdings.note_head(session, account, cid, data, now, HEADS)
            store.put_many(blocks.items())
            store.flush()
        return Taken(len(new), len(sizes) - len(new), sum(sizes[cid] for cid in new))

    def _check_room(self, size: int) -> None:
        if size > self._limit:
            raise NoRoom(
                f"This account would have {size} bytes here that are not committed; at most {self._limit} are kept.",
                hint="Commit what was sent, then send the rest; what is not committed goes after a day.",
                limit=self._limit,
            )

    def _check_disks(self, size: int) -> None:
        if not self.has_space(size):
            raise NoRoom(
                "This server's disk is nearly full, so it takes no more blocks.",
                hint="Send it again later: the server's operator has to make room. What was stored is safe.",
            )

    def has_space(self, size: int = PART) -> bool:
        """Whether so many bytes leave enough of each disk free."""
        return all(shutil.disk_usage(disk).free >= self._reserve + size for disk in self._disks)

    def get(self, cid: Cid) -> bytes:
        """A block; `NotFound` if it is not here, `Unavailable` if what is here is damaged."""
        try:
            return self.blocks.get(cid)
        except Corrupted:
            raise Unavailable(
                f"This server's copy of {cid} is damaged.",
                hint="Take the block from another copy, and send it again.",
                retry_after=60,
            ) from None

    @contextmanager
    def writing(self) -> Generator[BlockStore]:
        """The store, while nobody else in this process writes to it."""
        with self._mutex:
            try:
                yield self.blocks
            except BaseException:
                with suppress(AllodError):  # it tells once of what it gave up: now, and not to the next writer
                    self.blocks.flush()
                raise

    def put(self, cid: Cid, data: bytes) -> None:
        """Put one block while `writing`; durable with the store's `flush`."""
        self.blocks.put(cid, data)

    def delete(self, cids: Iterable[Cid]) -> None:
        """Delete blocks while `writing`, durably."""
        for cid in cids:
            self.blocks.delete(cid)
        self.blocks.flush()

    def sweep(self, among: Iterable[Cid] | None = None, owner: Address | None = None) -> int:
        """Delete what nobody needs, of all or among some blocks, an `owner`'s; how many were deleted."""
        self._keep_published(owner)
        if among is None:
            deleted = 0
            while count := self._sweep(None):
                deleted += count
            return deleted
        rest = iter(dict.fromkeys(among))
        return sum(map(self._sweep, iter(lambda: list(islice(rest, _SWEEP)), [])))

    def _sweep(self, among: list[Cid] | None) -> int:
        def find() -> list[Cid]:
            with transaction(self.engine) as session:
                return holdings.unneeded(session, _SWEEP, among)

        with self.writing():
            if doomed := find():
                self.blocks.begin()
                # A program of this home may have taken some for its own until now, and none from now on.
                doomed = find()
                # Deleted first and forgotten then: a kill in between leaves a note, and the next sweep follows it.
                self.delete(doomed)
                with transaction(self.engine) as session:
                    holdings.forget_uploaded(session, doomed)
        return len(doomed)

    def collect(self) -> int:
        """Give up what was sent a day ago and never committed, and delete what nobody needs; how many blocks."""
        with transaction(self.engine) as session:
            holdings.expire_uploads(session, self.clock())
        return self.sweep()

    def keep_publication(self, asset: Asset, publication: Cid) -> None:
        """Keep a dataset's public blocks for good, whatever its owner's vault holds; once more changes nothing.

        `NotFound`, `Corrupted` or `InvalidInput` where they are not all here.
        """
        with self.writing():  # so that none of them is deleted meanwhile
            blocks = public_blocks(self.blocks, publication)
            with transaction(self.engine) as session:
                holdings.hold(session, asset, {publication: blocks})

    def check_publication(self, owner: Address, publication: Cid) -> None:
        """`NoRoom` where this publication and the owner's others are more than is kept for good of one owner."""
        self._keep_published(owner)
        size = sum(public_blocks(self.blocks, publication).values())
        with transaction(self.engine) as session:
            size += holdings.published_bytes(session, owner, besides=publication)
        if size > self._published:
            raise NoRoom(
                f"Your published datasets would take {size} bytes here; at most {self._published} are kept.",
                hint="Publish fewer objects: what is published stays for good.",
                limit=self._published,
            )

    def _keep_published(self, owner: Address | None) -> None:
        """The same for whatever the catalogue lists, of one owner or of all."""
        query = select(PublicationRow.asset, PublicationRow.cid)
        with transaction(self.engine) as session:
            listed = session.execute(query if owner is None else query.where(PublicationRow.owner == owner)).all()
            named = [(Asset(asset), Cid.parse(cid)) for asset, cid in listed]
            held = holdings.held_units(session, named)
        for asset, publication in named:
            if (asset, publication) in held:
                continue
            try:
                self.keep_publication(asset, publication)
            except (NotFound, Corrupted, InvalidInput) as error:
                _LOG.debug("The published dataset %s is not whole here: %s", asset.hex(), error.slug)


@contextmanager
def collecting(depot: Depot) -> Generator[None]:
    """Delete what nobody needs, at the start and every hour, while the block runs."""
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            try:
                depot.collect()
            except (AllodError, SQLAlchemyError) as error:  # what could not be deleted now can be in an hour
                _LOG.warning("Blocks that nobody needs could not be deleted now: %s", type(error).__name__)
            stop.wait(_HOUR)

    thread = threading.Thread(target=collect, name="collector", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _read(part: bytes) -> tuple[dict[Cid, bytes], dict[Cid, bytes]]:
    """The vault heads of a part, and its other blocks; each verified."""
    if len(part) > PART:
        raise InvalidInput(f"A part of {len(part)} bytes; at most {PART} are taken.", hint="Divide it.")
    heads: dict[Cid, bytes] = {}
    blocks: dict[Cid, bytes] = {}
    for cid, data in Car.read(io.BytesIO(part)).blocks:
        if poses_as_tombstone(cid.codec, data):
            raise InvalidInput(f"The block {cid} reads as a store's own note of a deletion.", cid=str(cid))
        is_head = cid.codec == DAG_CBOR and data.startswith(HEAD_START)
        (heads if is_head else blocks)[cid] = data
    return heads, blocks


def public_blocks(blocks: BlockStore, publication: Cid) -> dict[Cid, int]:
    """The blocks of a published dataset that are public for good, with their sizes; payloads are not among them."""
    found: dict[Cid, int] = {}
    total = 0

    def read(cid: Cid) -> bytes:
        nonlocal total
        data = blocks.get(cid)
        found[cid] = len(data)
        total += len(data)
        if total > _PUBLIC:
            raise InvalidInput(f"A publication's documents have more than {_PUBLIC} bytes.", hint="Divide the dataset.")
        return data

    members = read_document(read(publication), "publication", ("header", "terms", "shares"))
    read(members.cid("terms"))
    header = DatasetHeader.decode(read(members.cid("header")))
    for page in Card.decode(read(header.card)).pages:
        for manifest in decode_page(read(page), MEMBERS_KIND):
            read(manifest)
    table = read_document(read(members.cid("shares")), "share-table", ("head", "sig", "pages"))
    for page in table.cids("pages"):
        read(page)
    return found
