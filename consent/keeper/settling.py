"""The /settlement and /ledger desks: closing a job, and the one final tree that a keeper signs for it.

Promises (DESIGN §6): the job is closed durably before anything is signed, and nothing is released afterwards; a leaf
of which this keeper released a share keeps its amount, or after the owner's own revocation at least what the runner's
ledger total is worth; the fee falls only if the runner proposes or nothing was released; the statement's hash is zero
unless the runner proposes. A keeper signs one final tree and statement per job and no other, ever: where q > n/2, two
that differ cannot both be signed; where it is smaller, the chain takes one, and each keeps these rules.
"""

from __future__ import annotations

from consent.chain.account import recover
from consent.keeper.proposal import NO_STATEMENT, LedgerTotal, Proposal
from consent.keeper.station import Station
from consent.keeper.store import Settled
from consent.keeper.wire import unsign
from consent.order import Order
from consent.terms import Terms
from consent.tree import FEE, SumTree
from consent.typed import settlement_digest
from core.encoding import encode_cbor
from core.errors import Conflict, InvalidInput, Refused
from core.ids import Address, ConsentId

LEDGER_WINDOW = 600  # seconds from a keeper's first sight of a revocation


def settle(station: Station, data: bytes) -> bytes:
    """The reply to a proposal: what was released for one that only closes, else this keeper's signature."""
    body, signature = unsign(data)
    proposal = Proposal.decode(body)
    order, final = proposal.order, proposal.final
    station.require_place(order)
    proposer = _proposer(station, proposal, signature)
    by_runner = proposer == order.runner
    job = order.job_id
    known = station.store.settled(job)
    if known is None:
        station.admit(proposer)
        station.require_open(order, station.facts.look())
        station.store.close_job(job, station.now)
    if final is None:
        return _closed(station, order)
    if known is None:
        _check(station, order, final, proposal.statement, by_runner=by_runner)
        digest = settlement_digest(station.chain_id, station.escrow, job, final.root, proposal.statement)
        signed = station.keys.account.sign_hash(digest)
        fresh = Settled(final.root, proposal.statement, proposal.tree, signed)
        known = station.store.record_settlement(job, fresh, station.now)
    if (known.root, known.statement) != (final.root, proposal.statement):
        raise Conflict("This keeper has signed another final tree for this job, and signs no second one.")
    return encode_cbor({"v": 1, "signature": known.signature})


def _proposer(station: Station, proposal: Proposal, signature: bytes) -> Address:
    try:
        signer = recover(proposal.digest, signature)
    except InvalidInput:
        signer = None
    order = proposal.order
    if signer in (order.payer, order.runner):
        return signer
    if station.facts.wallet_accepts(order.payer, proposal.digest, signature, station.facts.look().latest):
        return order.payer
    raise Refused("Only the job's payer or its runner may propose a settlement.")


def _closed(station: Station, order: Order) -> bytes:
    job = order.job_id
    settled = station.store.settled(job)
    return encode_cbor(
        {
            "v": 1,
            "released": sorted(station.store.released(job)),
            "ledgers": [[consent_id, total] for consent_id, total in sorted(station.store.ledgers(job).items())],
            "root": settled.root.to_bytes(32, "big") if settled else None,
        }
    )


def floors(station: Station, order: Order, opening: SumTree) -> dict[ConsentId, int]:
    """The least that each consent's leaf may carry, in UNITs, for those of which this keeper released a share."""
    ledgers = station.store.ledgers(order.job_id)
    least = {}
    for consent_id, released in station.store.released(order.job_id).items():
        amount = _amount(opening, consent_id)
        if consent_id in ledgers:
            amount = min(amount, _worth(Terms.decode(released.terms), ledgers[consent_id]))
        least[consent_id] = amount
    return least


def _amount(opening: SumTree, consent_id: ConsentId) -> int:
    index = opening.find(consent_id)
    if index is None:
        raise Refused("The job's tree has no leaf for this consent.")
    return opening.leaves[index].amount


def _worth(terms: Terms, record_epochs: int) -> int:
    return terms.flat + terms.per_record_epoch * record_epochs


def _check(station: Station, order: Order, final: SumTree, statement: bytes, *, by_runner: bool) -> None:
    opening = station.tree(order)
    least = floors(station, order, opening)
    if len(final.leaves) != len(opening.leaves):
        raise Refused("The final tree has other leaves than the opening tree.")
    for before, after in zip(opening.leaves, final.leaves, strict=True):
        if (before.consent_id, before.payee) != (after.consent_id, after.payee):
            raise Refused("The final tree has other leaves than the opening tree.")
        if after.amount > before.amount:
            raise Refused("A leaf of the final tree is higher than in the opening tree.")
        if after.amount == before.amount:
            continue
        if after.consent_id == FEE:
            if not by_runner and least:
                raise Refused("The runner's fee falls only if the runner proposes it or nothing was released.")
        elif after.amount < least.get(after.consent_id, 0):
            raise Refused(
                "A leaf falls below what its owner is owed: a share of this data was released.",
                consent="0x" + after.consent_id.hex(),
            )
    if final.total >= opening.total:
        raise Refused("The final tree refunds nothing.", hint="The runner confirms the job instead.")
    if statement != NO_STATEMENT and not by_runner:
        raise Refused("Only the runner may post a statement.")


def take_ledger(station: Station, data: bytes) -> bytes:
    """The reply to a runner's ledger total: stored, if it came in time after the owner's own revocation."""
    body, signature = unsign(data)
    total = LedgerTotal.decode(body)
    order, consent = total.order, total.consent
    station.require_place(order)
    consent_id = total.consent_id(station.token)
    try:
        signer = recover(total.digest(station.token), signature)
    except InvalidInput:
        signer = None
    if signer != order.runner:
        raise Refused("The ledger total is not signed by the job's runner.")
    released = station.store.released(order.job_id).get(consent_id)
    if released is None:
        raise Refused("This keeper released nothing for this consent, so its leaf needs no ledger total.")
    if _worth(Terms.decode(released.terms), total.record_epochs) > _amount(station.tree(order), consent_id):
        raise Refused("The ledger total is worth more than the consent's leaf.")
    now = station.now
    if station.store.ledgers(order.job_id).get(consent_id) is None:
        sight = station.facts.look()
        station.require_open(order, sight)
        seen = station.store.revoked_at(consent, consent_id)
        if seen is None and station.facts.ended_by_owner(consent, sight.latest):
            station.store.record_sighting(consent.owner, consent_id, now)
            seen = now
        if seen is None:
            raise Refused("This keeper knows no revocation of this consent by its owner, so its leaf stands in full.")
        if now - seen > LEDGER_WINDOW:
            raise Refused("The ledger total comes too late after the revocation: the leaf stands in full.")
        station.admit(order.runner)
    station.store.record_ledger(order.job_id, consent_id, total.record_epochs, signature, now)
    return encode_cbor({"v": 1, "consent": consent_id, "record_epochs": total.record_epochs})
