"""What each kind of operation does on chain, and what is told once it happened.

`perform` may be called again after a crash anywhere: its transactions are keyed by the operation, always the same ones
in the same order, and everything beside them is done as often as asked for. Who else has the signature may send it
first: what came about by another's transaction has come about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from allod import operations, requests
from allod.listing import list_dataset
from allod.operations import OperationRow, State, now
from consent.grant import Consent
from consent.keeper.revocation import RevokeAll, read_revocation
from consent.market import granting, revoking
from consent.market.earnings import CLAIMS, Earning, EarningState, claim_some
from consent.market.granting import SignedConsent
from consent.market.place import Relayer, Sent
from consent.market.publication import Publication
from consent.market.revoking import SignedRevocation
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Conflict, NotFound, Refused, Unavailable
from core.ids import Address, Asset, JobId
from vault.cid import Cid

if TYPE_CHECKING:
    from allod.chainview import ChainView
    from allod.world import World

REVOCATIONS = ("revoke", "revoke_nonces", "revoke_all")
SOUGHT = 86_400  # seconds for which a job or a tree that a claim needs, and that was there before, is looked for


@dataclass(frozen=True)
class Hands:
    """What an operation is done with: the home, what its chain says, and the relayer under the operation's key."""

    world: World
    view: ChainView
    relayer: Relayer


@dataclass(frozen=True)
class Done:
    """What became of it: the transactions, what its account is told besides, and entries for activity logs."""

    sent: tuple[Sent, ...]
    about: Mapping[str, Any]
    told: tuple[tuple[Address, str, dict[str, Any]], ...] = ()


def perform(hands: Hands, row: OperationRow) -> Done:
    """Do it; what the contract refuses is `Refused`, what is away `Unavailable`."""
    return _KINDS[row.kind](hands, row)


def _register(hands: Hands, row: OperationRow) -> Done:
    act, world = row.act, hands.world
    owner, asset, cid = Address(row.account), Asset(from_hex(act["asset"], 32)), Cid.parse(act["cid"])
    args = (owner, from_hex(act["digest"], 32), from_hex(act["terms"], 32), from_hex(act["signature"]))
    sent = hands.relayer.send("register", world.market.registry, "register_by_sig", *args)
    list_dataset(world, owner, asset, Publication.load(world.blocks, cid), cid)
    told = {"asset": act["asset"], "terms": act["terms"]}
    return Done((sent,), {}, ((owner, "dataset.published", told),))


def _grant(hands: Hands, row: OperationRow) -> Done:
    market, consent = hands.world.market, _consent_of(row)
    done = granting.grant(market, hands.relayer, [SignedConsent(consent, from_hex(row.act["signature"]))])
    if done.skipped and not granting.is_granted(market, consent):
        raise Refused(done.skipped[0][1], hint="Sign a new consent.")
    told = {"asset": to_hex(consent.asset), "token": to_hex(granting.consent_id(market, consent))}
    both = (consent.owner, consent.grantee)
    return Done(done.sent, {"token": told["token"]}, tuple((who, "consent.granted", told) for who in both))


def _consent_of(row: OperationRow) -> Consent:
    return Consent.decode(from_hex(row.act["consent"]))


def revocation_of(row: OperationRow) -> SignedRevocation:
    """The signed revocation that an operation relays."""
    act = row.act
    return SignedRevocation(
        read_revocation(from_hex(act["body"])),
        from_hex(act["signature"]),
        tuple(Consent.decode(from_hex(one)) for one in act["consents"]),
        tuple(Address(from_hex(one, 20)) for one in act["holders"]),
    )


def _revoke(hands: Hands, row: OperationRow) -> Done:
    revocation = revocation_of(row)
    try:
        sent = revoking.relay_revocation(hands.world.market, hands.relayer, revocation)
    except Refused:
        before = _sent_before(hands.world, revocation)
        if before is None:
            raise
        sent = before
    told = {"kind": row.kind, "owner": to_hex(row.account)}
    whom = dict.fromkeys([Address(row.account), *_had_tokens(hands, revocation)])
    return Done((sent,), {}, tuple((who, "consent.revoked", told) for who in whom))


def _had_tokens(hands: Hands, revocation: SignedRevocation) -> list[Address]:
    """Those who ever held a token that it names: an owner may name anybody, and nobody hears of what they never had."""
    market, minted = hands.world.market, hands.view.now().minted
    pairs = zip(revocation.consents, revocation.holders, strict=True)
    return [who for consent, who in pairs if granting.consent_id(market, consent, who) in minted.get(who, ())]


def _sent_before(world: World, revocation: SignedRevocation) -> Sent | None:
    """The transaction by which somebody else ended that epoch; the contract takes every other revocation twice."""
    message = revocation.message
    if not isinstance(message, RevokeAll):
        return None
    raised = world.market.events("token", "EpochRaised", owner=message.owner)
    hashes = [event.tx_hash for event in raised if event.args["epoch"] == message.epoch + 1]
    if not hashes:
        return None
    receipt = world.chain.receipt(hashes[0])
    if receipt is None:
        raise Unavailable("The transaction that ended the epoch has no receipt.", hint="Ask again.")
    return Sent("revoke all", receipt)


def _claim(hands: Hands, row: OperationRow) -> Done:
    """The leaves were fixed when the operation was accepted, so that each transaction is the same after a crash."""
    found = _leaves(hands, row)
    sent: list[Sent] = []
    paid, skipped = [], []
    for start in range(0, len(found), CLAIMS):
        done = claim_some(hands.world.market, hands.relayer, found[start : start + CLAIMS])
        sent += done.sent
        paid += [{"job_id": to_hex(one.job_id), "amount": str(one.amount)} for one in done.paid]
        for one, reason in done.skipped:
            if one.state is EarningState.PAID:
                paid.append({"job_id": to_hex(one.job_id), "amount": str(one.amount)})
            else:
                skipped.append({"job_id": to_hex(one.job_id), "reason": reason})
    if not paid:
        raise Refused(skipped[0]["reason"], hint="GET /v1/earnings says what can be claimed.")
    who = Address(row.account)
    told = tuple((who, "earning.paid", dict(one)) for one in paid)
    return Done(tuple(sent), {"paid": paid, "skipped": skipped}, told)


def _leaves(hands: Hands, row: OperationRow) -> list[Earning]:
    """What is claimed. A tree may lie at keepers that still start, a job in a block that comes back: a day for it."""
    try:
        return hands.view.leaves([(JobId(from_hex(job, 32)), index) for job, index in row.act["leaves"]])
    except (NotFound, Conflict) as error:
        if (isinstance(error, NotFound) or row.sent) and now() - row.changed < SOUGHT:
            raise Unavailable(error.message) from None
        raise Conflict(error.message, hint="GET /v1/earnings says what can be claimed.") from None


_KINDS: dict[str, Callable[[Hands, OperationRow], Done]] = {
    "register": _register,
    "grant": _grant,
    "claim": _claim,
    **dict.fromkeys(REVOCATIONS, _revoke),
}


# -- failures ---------------------------------------------------------------------------------------------------------


def is_over(world: World, row: OperationRow) -> bool:
    """Whether nothing can come of it any more. A grant's trainer has the signature, and may use it without us."""
    return row.kind != "grant" or granting.is_over(world.market, _consent_of(row))


def not_over(error: AllodError) -> AllodError:
    """Why a grant failed whose signature still holds, and what its owner can do."""
    hint = "The trainer may still use this signature: revoke it, then sign a new consent."
    return type(error)(error.message, hint=hint)


def failed(session: Session, row: OperationRow) -> None:
    """What follows once nothing can come of what failed: a request that it answered is open again."""
    if (request := row.about.get("request")) is not None:
        requests.reopen(session, request)


def ended_with(world: World, row: OperationRow) -> list[OperationRow]:
    """The failed grants of which nothing can come any more now that this operation is done: they keep their effects."""
    if row.kind not in REVOCATIONS:
        return []
    mine = (OperationRow.account == row.account, OperationRow.kind == "grant")
    kept = (OperationRow.state == State.FAILED, OperationRow.effect.is_not(None))
    with transaction(world.engine) as session:
        grants = list(session.scalars(select(OperationRow).where(*mine, *kept)))
    return [grant for grant in grants if is_over(world, grant)]


def give_back(session: Session, grants: Iterable[OperationRow]) -> None:
    """Let these be asked for again, and open the requests that they answered."""
    for grant in grants:
        operations.note(session, grant, effect=None)
        failed(session, grant)
