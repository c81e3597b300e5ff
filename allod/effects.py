"""What each kind of operation does on chain, and what is told once it happened.

`perform` may be called again after a crash anywhere: its transactions are keyed by the operation, always the same ones
in the same order, and everything beside them is done as often as asked for. Who else has the signature may send it
first: what came about by another's transaction has come about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from allod import operations, requests
from allod.listing import list_dataset
from allod.operations import OperationRow, State, now
from consent.grant import Consent
from consent.keeper.revocation import Revocation, RevokeAll, RevokeNonces, read_revocation
from consent.market import granting, revoking
from consent.market.earnings import CLAIMS, Earning, EarningState, claim_some
from consent.market.granting import SignedConsent
from consent.market.place import Relayer, Sent
from consent.market.publication import Publication
from consent.market.revoking import SignedRevocation
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Conflict, NotFound, Refused, Unavailable
from core.ids import NOBODY, Address, Asset, JobId
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
    # An owner may name anybody, and nobody hears of what they never had.
    pairs = list(zip(revocation.consents, revocation.holders, strict=True))
    had = [who for (_, who), was in zip(pairs, _were_minted(hands.world, pairs), strict=True) if was]
    whom = dict.fromkeys([Address(row.account), *had])
    return Done((sent,), {}, tuple((who, "consent.revoked", told) for who in whom))


def _were_minted(world: World, pairs: Sequence[tuple[Consent, Address]]) -> list[bool]:
    """For each consent and holder whether there ever was a token, whatever became of it since."""
    if not pairs:
        return []
    world.index.follow()
    tokens = [int.from_bytes(granting.consent_id(world.market, *pair), "big") for pair in pairs]
    return [bool(world.index.events("token", "Transfer", sender=NOBODY, token_id=token)) for token in tokens]


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


def came_to_be(world: World, row: OperationRow) -> bool:
    """Whether a grant's token was minted, whoever sent it: then its trainer was answered, also if it ended since."""
    consent = _consent_of(row) if row.kind == "grant" else None
    return consent is not None and _were_minted(world, [(consent, consent.grantee)]) == [True]


def give_back(world: World, row: OperationRow) -> None:
    """After a revocation: let the failed grants that it ended be asked for again, as nothing can come of them any more.

    A request that one of them answered is open again, unless its trainer got the token by other ways.
    """
    if row.kind not in REVOCATIONS:
        return
    message = revocation_of(row).message
    mine = (OperationRow.account == row.account, OperationRow.kind == "grant")
    kept = (OperationRow.state == State.FAILED, OperationRow.effect.is_not(None))
    with transaction(world.engine) as session:
        rows = list(session.scalars(select(OperationRow).where(*mine, *kept)))
    grants = [(grant, consent) for grant in rows if _ends(world, message, consent := _consent_of(grant))]
    minted = _were_minted(world, [(consent, consent.grantee) for _, consent in grants])
    with transaction(world.engine) as session:
        for (grant, _), was_minted in zip(grants, minted, strict=True):
            if operations.give_back(session, grant) and not was_minted:
                failed(session, grant)


def _ends(world: World, message: Revocation, consent: Consent) -> bool:
    """Whether this ends a named consent of the same owner."""
    if isinstance(message, RevokeAll):
        return consent.epoch <= message.epoch
    if isinstance(message, RevokeNonces):
        return consent.word == message.word and message.mask >> consent.bit & 1 == 1
    return granting.consent_id(world.market, consent) in message.ids
