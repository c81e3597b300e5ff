"""Consents as their owner and their trainers see them: who, what for, how often used, what the chain says of each now.

Promises: one page asks the chain a fixed number of questions at one block, however many tokens it shows, besides one
for each token whose uses are counted or that is not live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import LargeBinary, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session

from allod.chainview import ChainView, Snapshot, token_id
from allod.consenting import terms_of
from consent.grant import Consent
from consent.market.liveness import live
from consent.purposes import purpose_of_hash
from consent.records import ConsentRow
from consent.validity import TokenStatus
from core.database import UtcTime
from core.encoding import to_hex
from core.ids import NOBODY, Address, ConsentId

if TYPE_CHECKING:
    from allod.world import World

AT_ONCE = 8
MAX_TOKENS = 200  # of one offer that are shown, the newest takers first in no order
Adapters = Callable[[Iterable[bytes]], dict[bytes, bytes]]
"""The adapters' hashes of those of these jobs that made one."""


@dataclass(frozen=True)
class Token:
    """One token of a consent, minted or to be."""

    id: ConsentId
    holder: Address
    status: TokenStatus
    uses: int


@dataclass(frozen=True)
class Shown:
    """One consent of a page."""

    number: int
    row: ConsentRow
    consent: Consent
    tokens: tuple[Token, ...]
    is_nonce_revoked: bool


def page(
    world: World,
    view: ChainView,
    session: Session,
    account: Address,
    role: str,
    *,
    after: tuple[datetime, bytes] | None,
    at_most: int,
) -> list[Shown]:
    """The consents that an owner signed, or that name or were taken by a trainer, newest first."""
    snapshot = view.now()
    mine = ConsentRow.owner == account
    if role == "trainer":
        mine = or_(ConsentRow.grantee == account, ConsentRow.digest.in_(_taken(session, snapshot, account)))
    query = select(ConsentRow).where(mine)
    if after is not None:
        below = tuple_(literal(after[0], UtcTime), literal(after[1], LargeBinary))
        query = query.where(tuple_(ConsentRow.signed, ConsentRow.digest) < below)
    rows = list(session.scalars(query.order_by(ConsentRow.signed.desc(), ConsentRow.digest.desc()).limit(at_most)))
    if not rows:
        return []
    first = tuple_(literal(rows[0].signed, UtcTime), literal(rows[0].digest, LargeBinary))
    older = tuple_(ConsentRow.signed, ConsentRow.digest) < first
    number = 1 + (session.scalar(select(func.count()).select_from(ConsentRow).where(mine, older)) or 0)
    holders = [_holders(snapshot, row, account if role == "trainer" else None) for row in rows]
    consents = [Consent.decode(row.consent) for row in rows]
    tokens, revoked = _look(world, snapshot, rows, consents, holders)
    return [
        Shown(number - place, row, consent, tokens[place], revoked[place])
        for place, (row, consent) in enumerate(zip(rows, consents, strict=True))
    ]


def _taken(session: Session, snapshot: Snapshot, trainer: Address) -> list[bytes]:
    """The digests of the offers that this trainer took."""
    held = snapshot.minted.get(trainer, set())
    if not held:
        return []
    offers = session.scalars(select(ConsentRow.digest).where(ConsentRow.grantee == NOBODY))
    return [digest for digest in offers if token_id(digest, trainer) in held]


def _holders(snapshot: Snapshot, row: ConsentRow, only: Address | None) -> list[Address]:
    """Who holds a token of it, or is to hold it."""
    if row.grantee != NOBODY:
        return [Address(row.grantee)]
    if only is not None:
        return [only]
    takers = [who for who, ids in snapshot.minted.items() if token_id(row.digest, Address(who)) in ids]
    return [Address(who) for who in takers[:MAX_TOKENS]]


def _look(
    world: World,
    snapshot: Snapshot,
    rows: Sequence[ConsentRow],
    consents: Sequence[Consent],
    holders: Sequence[Sequence[Address]],
) -> tuple[list[tuple[Token, ...]], list[bool]]:
    """The tokens of each consent with what the chain says of them, and whether its nonce is revoked."""
    market, block = world.market, snapshot.head
    owners = {consent.owner for consent in consents}
    words = {(consent.owner, consent.word) for consent in consents}
    epochs = {owner: int(market.token.read("epochs", owner, block=block)) for owner in owners}
    bits = {key: int(market.token.read("revoked_words", *key, block=block)) for key in words}
    asked = [
        (place, holder, token_id(row.digest, holder)) for place, row in enumerate(rows) for holder in holders[place]
    ]
    pairs = [one + consents[place].owner + consents[place].nonce.to_bytes(12, "big") for place, _, one in asked]
    alive = live(market, pairs, block)

    def word_of(index: int) -> int | None:
        place, _, one = asked[index]
        if alive[index] and not consents[place].max_uses:
            return None
        return int(market.token.read("token", one, block=block))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        stored = list(pool.map(word_of, range(len(asked))))
    ended = [epochs[one.owner] != one.epoch or bool(bits[one.owner, one.word] >> one.bit & 1) for one in consents]
    time = world.chain.block(block).timestamp
    tokens: list[list[Token]] = [[] for _ in rows]
    for index, (place, holder, one) in enumerate(asked):
        consent, word = consents[place], stored[index]
        status = TokenStatus.LIVE
        if word is not None:
            status = _status(consent, word, epochs[consent.owner], ended[place], time)
        counted = 0 if word is None or not consent.max_uses else word & 0xFFFF
        uses = max(counted, len(snapshot.by_consent.get(one, [])))
        tokens[place].append(Token(one, holder, status, uses))
    return [tuple(some) for some in tokens], ended


def _status(consent: Consent, word: int, epoch: int, is_ended: bool, time: int) -> TokenStatus:
    """What ConsentToken.status answers for a token whose stored word is this."""
    if word == 0:
        return TokenStatus.NEVER_MINTED
    if word >> 96 == 0:
        return TokenStatus.BURNED
    if consent.epoch != epoch:
        return TokenStatus.OTHER_EPOCH
    if is_ended:
        return TokenStatus.NONCE_REVOKED
    if time < consent.not_before:
        return TokenStatus.NOT_YET
    if time >= consent.expiry:
        return TokenStatus.EXPIRED
    return TokenStatus.USED_UP if consent.max_uses and word & 0xFFFF >= consent.max_uses else TokenStatus.LIVE


def consent_fields(consent: Consent) -> dict[str, Any]:
    """A consent's struct as the API writes it."""
    return {
        "owner": to_hex(consent.owner),
        "grantee": to_hex(consent.grantee),
        "asset": to_hex(consent.asset),
        "terms": to_hex(consent.terms),
        "purpose": to_hex(consent.purpose),
        "runner": to_hex(consent.runner),
        "escrow": to_hex(consent.escrow),
        "not_before": consent.not_before,
        "expiry": consent.expiry,
        "max_uses": consent.max_uses,
        "nonce": str(consent.nonce),
    }


def describe(world: World, snapshot: Snapshot, found: Sequence[Shown], adapters: Adapters) -> list[dict[str, Any]]:
    """The page as the API writes it."""
    datasets = world.catalogue.known(one.consent.asset for one in found)
    used = {one.row.digest: _jobs(snapshot, one) for one in found}
    made = adapters(job["id"] for jobs in used.values() for job in jobs)
    return [_fields(world, one, datasets.get(one.consent.asset), used[one.row.digest], made) for one in found]


def _jobs(snapshot: Snapshot, one: Shown) -> list[dict[str, Any]]:
    """The jobs that were opened with its tokens, newest first."""
    openings = [course.opening for token in one.tokens for course in snapshot.by_consent.get(token.id, [])]
    openings.sort(key=lambda opening: (opening.block_number, opening.log_index), reverse=True)
    return [{"id": opening.job_id, "opened": opening.opened} for opening in openings]


def _fields(
    world: World, one: Shown, dataset: Any, jobs: list[dict[str, Any]], adapters: dict[bytes, bytes]
) -> dict[str, Any]:
    consent, terms = one.consent, terms_of(world, one.consent.terms)
    purpose = purpose_of_hash(consent.purpose)
    price = None
    if terms is not None:
        price = {"flat": str(terms.flat), "per_record_epoch": str(terms.per_record_epoch)}
    return {
        "number": one.number,
        "digest": to_hex(one.row.digest),
        "consent": consent_fields(consent),
        "signature": to_hex(one.row.signature),
        "signed": int(one.row.signed.timestamp()),
        "is_offer": consent.is_offer,
        "purpose": None if purpose is None else purpose.code,
        "tokens": [
            {
                "id": to_hex(token.id),
                "holder": to_hex(token.holder),
                "status": token.status.name.lower(),
                "uses": token.uses,
                "uses_left": max(0, consent.max_uses - token.uses) if consent.max_uses else None,
            }
            for token in one.tokens
        ],
        "price": price,
        "title": None if dataset is None else dataset.title,
        "last_used": jobs[0]["opened"] if jobs else None,
        "jobs": [
            {
                "job_id": to_hex(job["id"]),
                "opened": job["opened"],
                "adapter": to_hex(adapters[job["id"]]) if job["id"] in adapters else None,
            }
            for job in jobs
        ],
        "nonce_revoked": one.is_nonce_revoked,
    }
