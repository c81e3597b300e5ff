"""What each kind of operation does on chain, and what is told once it happened.

`perform` may be called again after a crash anywhere: its transactions are keyed by the operation, always the same ones
in the same order, and everything beside them is done as often as asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from allod import requests
from allod.listing import list_dataset
from allod.operations import OperationRow
from consent.grant import Consent
from consent.keeper.revocation import read_revocation
from consent.market import granting, revoking
from consent.market.earnings import CLAIMS, claim_some
from consent.market.granting import SignedConsent
from consent.market.place import Relayer, Sent
from consent.market.publication import Publication
from consent.market.revoking import SignedRevocation
from core.encoding import from_hex, to_hex
from core.errors import Refused
from core.ids import Address, Asset, JobId
from vault.cid import Cid

if TYPE_CHECKING:
    from allod.chainview import ChainView
    from allod.world import World

REVOCATIONS = ("revoke", "revoke_nonces", "revoke_all")


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
    signed = SignedConsent(Consent.decode(from_hex(row.act["consent"])), from_hex(row.act["signature"]))
    done = granting.grant(hands.world.market, hands.relayer, [signed])
    if done.skipped:
        raise Refused(done.skipped[0][1], hint="Sign a new consent.")
    told = {"asset": to_hex(signed.consent.asset), "token": to_hex(done.minted[0])}
    both = (signed.consent.owner, signed.consent.grantee)
    return Done(done.sent, {"token": told["token"]}, tuple((who, "consent.granted", told) for who in both))


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
    sent = revoking.relay_revocation(hands.world.market, hands.relayer, revocation)
    told = {"kind": row.kind, "owner": to_hex(row.account)}
    whom = dict.fromkeys([Address(row.account), *revocation.holders])
    return Done((sent,), {}, tuple((who, "consent.revoked", told) for who in whom))


def _claim(hands: Hands, row: OperationRow) -> Done:
    """The leaves were fixed when the operation was accepted, so that each transaction is the same after a crash."""
    found = hands.view.leaves([(JobId(from_hex(job, 32)), index) for job, index in row.act["leaves"]])
    sent: list[Sent] = []
    paid, skipped = [], []
    for start in range(0, len(found), CLAIMS):
        done = claim_some(hands.world.market, hands.relayer, found[start : start + CLAIMS])
        sent += done.sent
        paid += [{"job_id": to_hex(one.job_id), "amount": str(one.amount)} for one in done.paid]
        skipped += [{"job_id": to_hex(one.job_id), "reason": reason} for one, reason in done.skipped]
    if not paid:
        raise Refused(skipped[0]["reason"], hint="GET /v1/earnings says what can be claimed.")
    who = Address(row.account)
    told = tuple((who, "earning.paid", dict(one)) for one in paid)
    return Done(tuple(sent), {"paid": paid, "skipped": skipped}, told)


_KINDS: dict[str, Callable[[Hands, OperationRow], Done]] = {
    "register": _register,
    "grant": _grant,
    "claim": _claim,
    **dict.fromkeys(REVOCATIONS, _revoke),
}


def failed(session: Session, row: OperationRow) -> None:
    """What follows from its failure, in the same transaction: a request that it answered is open again."""
    if (request := row.about.get("request")) is not None:
        requests.reopen(session, request)
