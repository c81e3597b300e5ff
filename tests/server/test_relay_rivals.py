"""Who else has a signature may send it before the relay does, or after it failed: it is one token, and one answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import vyper
from sqlalchemy import select

from allod import effects, operations
from allod.operations import OperationRow, State
from allod.relaying import Relay
from allod.trees import PointerBook
from allod.world import World
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.grant import Consent
from consent.keeper.revocation import write_revocation
from consent.market import granting
from consent.market.granting import SignedConsent, grant, take
from consent.market.place import Relayer
from consent.typed import revoke_all_digest
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.errors import Conflict, Refused, Unavailable
from tests.server.market import Owner, approved, fund, key, ok, open_a_job, refused, work
from tests.server.people import Person

WALLET = """
# pragma version 0.4.3
signer: immutable(address)
is_shut: bool
@deploy
def __init__(key: address):
    signer = key
@external
def shut(yes: bool):
    self.is_shut = yes
@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    r: uint256 = extract32(signature, 0, output_type=uint256)
    s: uint256 = extract32(signature, 32, output_type=uint256)
    return 0x1626ba7e if ecrecover(digest, v, r, s) == signer and not self.is_shut else 0xffffffff
"""


def count(world: World) -> int:
    """How many transactions the relayer has sent."""
    return world.chain.nonce(world.relayer.address)


def kinds(person: Person) -> list[str]:
    return [entry["kind"] for entry in ok(person.http.get("/v1/activity", params={"limit": 100}))["data"]]


def status(person: Person) -> list[str]:
    """What the chain says of the tokens that name this trainer, newest first."""
    rows = ok(person.http.get("/v1/consents", params={"role": "trainer"}))["data"]
    return [row["tokens"][0]["status"] for row in rows]


def test_a_grant_that_its_trainer_sent_first_is_granted_and_the_request_stays_answered(
    world: World, ada: Person, tom: Person
) -> None:
    owner = Owner(world, ada)
    made, request, consent, accepted = approved(owner, tom)
    fund(world, tom)
    [row] = ok(tom.http.get("/v1/consents", params={"role": "trainer"}))["data"]
    own = Relayer(world.chain, tom.account)
    done = grant(world.market, own, [SignedConsent(consent, from_hex(row["signature"]))])
    work(world)
    found = owner.operation(accepted)
    assert (found["state"], found["problem"]) == ("final", None)
    assert found["about"]["token"] == to_hex(done.minted[0])
    assert "consent.granted" in kinds(tom)
    assert ok(tom.http.get(f"/v1/requests/{request['id']}"))["state"] == "approved"
    second = owner.consent(made, tom.account.address)
    refused(owner.post_consent(second, request["id"]), 409, "is approved")
    assert status(tom) == ["live"]


def test_a_grant_that_was_sent_first_and_revoked_since_failed_for_good(world: World, ada: Person, tom: Person) -> None:
    owner = Owner(world, ada)
    _, request, consent, accepted = approved(owner, tom)
    fund(world, tom)
    grant(world.market, Relayer(world.chain, tom.account), [SignedConsent(consent, owner.sign(consent))])
    ok(owner.revoke([(consent, tom.account.address)]), 202)
    work(world)
    assert owner.operation(accepted)["problem"]["detail"] == "It was revoked, or given back."
    assert status(tom) == ["burned"]
    assert ok(tom.http.get(f"/v1/requests/{request['id']}"))["state"] == "approved", "tom had what he asked for"


def test_an_epoch_that_somebody_else_ended_with_the_owners_signature_has_ended(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, market = Owner(world, ada), world.market
    accepted = ok(owner.revoke_all(0), 202)
    fund(world, tom)
    digest = revoke_all_digest(market.chain_id, market.token.address, owner.address, 0)
    signature = ada.account.sign_hash(digest)
    theirs = market.token.transact(tom.account, "revoke_all_by_sig", owner.address, 0, signature)
    sent = count(world)
    true = Chain.block
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "is_development", False)
        patch.setattr(Chain, "block", lambda self, which="latest": true(self, 0 if which == "safe" else which))
        work(world)
        found = owner.operation(accepted)
        assert (found["state"], found["tx_hash"]) == ("included", to_hex(theirs.tx_hash))
        patch.setattr(Chain, "receipt", lambda *_: None)  # a reorganisation took it out
        Relay(world).finish_included()
    assert owner.operation(accepted)["state"] == "sent"
    work(world)
    assert owner.operation(accepted)["state"] == "final"
    assert count(world) == sent
    assert kinds(ada).count("consent.revoked") == 1


def test_who_never_held_a_token_hears_nothing_of_its_end(
    world: World, ada: Person, tom: Person, person: Callable[..., Person]
) -> None:
    owner, eve = Owner(world, ada), person("eve")
    made = owner.publish()
    offer, named = owner.consent(made), owner.consent(made, tom.account.address)
    ok(owner.post_consent(named), 202)
    work(world)
    ok(owner.revoke([(named, tom.account.address), (offer, eve.account.address)]), 202)
    work(world)
    assert kinds(tom).count("consent.revoked") == kinds(ada).count("consent.revoked") == 1
    assert "consent.revoked" not in kinds(eve)


def test_revocations_ask_for_no_trees_and_for_no_blocks(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    consent = owner.consent(owner.publish(), tom.account.address)
    ok(owner.post_consent(consent), 202)
    work(world)

    def away(*_: object) -> None:
        raise Unavailable("The IPFS node does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.view), "now", away)
        revoked = [owner.revoke([(consent, tom.account.address)]), owner.revoke_nonces(consent), owner.revoke_all(0)]
        work(world)
    assert [owner.operation(ok(one, 202))["state"] for one in revoked] == ["final"] * 3
    assert kinds(tom).count("consent.revoked") == 1


def test_another_epochs_signature_fails_with_the_contracts_reason(world: World, ada: Person) -> None:
    owner, market = Owner(world, ada), world.market
    accepted = ok(owner.revoke_all(0), 202)
    with transaction(world.engine) as session:
        [row] = session.scalars(select(OperationRow).where(OperationRow.kind == "revoke_all"))
        body = effects.revocation_of(row).message
    later = type(body)(owner.address, 1)
    digest = later.digest(market.chain_id, market.token.address)
    with transaction(world.engine) as session:
        signature = to_hex(ada.account.sign_hash(digest))
        operations.note(session, row, act={**row.act, "body": to_hex(write_revocation(later)), "signature": signature})
    work(world)
    assert "not the current epoch" in owner.operation(accepted)["problem"]["detail"]


def earned(world: World, owner: Owner, tom: Person) -> None:
    """A job of tom's that owes the owner 100, and whose claims have begun."""
    offer = owner.consent(owner.publish())
    ok(owner.post_consent(offer), 202)
    fund(world, tom)
    token, _ = take(world.market, tom.account, SignedConsent(offer, owner.sign(offer)))
    order = open_a_job(world, tom, [(token, owner.person, 100)])
    world.chain.advance(order.start - world.chain.block().timestamp)


def test_a_claim_waits_for_a_tree_that_nobody_has_just_now(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    earned(world, owner, tom)
    accepted = ok(ada.http.post("/v1/claims", json={}, headers=key()), 202)
    del world.__dict__["view"]  # as after a restart
    with monkeypatch.context() as patch:
        patch.setattr(PointerBook, "tree", lambda *_: None)
        work(world)
    assert owner.operation(accepted)["state"] == "accepted"
    del world.__dict__["view"]
    later(120)
    work(world)
    assert owner.operation(accepted)["state"] == "final"
    assert "earning.paid" in kinds(ada)


def test_a_claim_that_waits_holds_back_nothing_else_of_its_account(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    earned(world, owner, tom)
    claimed = ok(ada.http.post("/v1/claims", json={}, headers=key()), 202)
    del world.__dict__["view"]  # as after a restart
    granted = ok(owner.post_consent(owner.consent(made, tom.account.address)), 202)
    monkeypatch.setattr(PointerBook, "tree", lambda *_: None)
    work(world)
    assert [owner.operation(one)["state"] for one in (claimed, granted)] == ["accepted", "final"]


@pytest.mark.parametrize("was_sent", [True, False])
def test_a_claim_whose_job_is_gone_waits_if_it_was_sent_and_not_for_ever(
    was_sent: bool,
    world: World,
    ada: Person,
    tom: Person,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[int], None],
) -> None:
    owner = Owner(world, ada)
    earned(world, owner, tom)
    accepted = ok(ada.http.post("/v1/claims", json={}, headers=key()), 202)
    if was_sent:
        with transaction(world.engine) as session:
            [row] = session.scalars(select(OperationRow).where(OperationRow.kind == "claim"))
            operations.advance(session, row, State.SENT, sent=[operations.sent_fields(b"t" * 32)])

    def gone(*_: object) -> None:
        raise Conflict("A job whose payment was to be claimed is not on the chain any more.")

    monkeypatch.setattr(type(world.view), "leaves", gone)
    work(world)
    assert owner.operation(accepted)["state"] == ("sent" if was_sent else "failed")
    later(effects.SOUGHT)
    work(world)
    found = owner.operation(accepted)
    assert found["problem"]["type"] == "urn:allod:problem:conflict"


# -- what failed, and may still come about ----------------------------------------------------------------------------


@pytest.fixture
def walleted(world: World, person: Callable[..., Person]) -> tuple[Owner, Contract]:
    """An owner whose account is a contract that can be told to deny what it signed."""
    ada = person("ada", signed_in=False)
    output = vyper.compile_code(WALLET, output_formats=["abi", "bytecode"])
    bytecode = bytes.fromhex(output["bytecode"][2:])
    wallet, _ = create(world.chain, world.developer, output["abi"], bytecode, ada.account.address)
    ada.sign_in(address=to_hex(wallet.address))
    return Owner(world, ada, wallet.address), wallet


def test_a_wallet_that_denies_its_signature_on_chain_costs_one_transaction_and_leaves_the_request_answered(
    world: World, walleted: tuple[Owner, Contract], tom: Person
) -> None:
    owner, wallet = walleted
    made, request, consent, accepted = approved(owner, tom)
    wallet.transact(world.developer, "shut", True)
    work(world)
    found = owner.operation(accepted)
    assert found["problem"]["detail"] == "Its owner did not sign it."
    assert "revoke it" in found["problem"]["hint"]

    def answer() -> str:
        return str(ok(tom.http.get(f"/v1/requests/{request['id']}"))["state"])

    assert answer() == "approved", "tom has a signature that may hold tomorrow"
    wallet.transact(world.developer, "shut", False)
    sent = count(world)
    assert ok(owner.post_consent(consent), 202)["id"] == accepted["id"]
    work(world)
    assert count(world) == sent, "the same signature is not tried again"
    refused(owner.post_consent(owner.consent(made, tom.account.address), request["id"]), 409, "is approved")

    ok(owner.revoke_nonces(consent), 202)
    work(world)
    assert answer() == "open"
    refused(owner.post_consent(consent), 409, "nonce was revoked")
    again = ok(owner.post_consent(owner.consent(made, tom.account.address), request["id"]), 202)
    work(world)
    assert owner.operation(again)["state"] == "final"
    assert answer() == "approved"
    assert sorted(status(tom)) == ["live", "never_minted"]


def denied(world: World, walleted: tuple[Owner, Contract], tom: Person) -> tuple[Consent, Callable[[], str]]:
    """A consent whose grant failed while its signature holds, and how the request that it answered stands."""
    owner, wallet = walleted
    _, request, consent, accepted = approved(owner, tom)
    wallet.transact(world.developer, "shut", True)
    work(world)
    assert owner.operation(accepted)["state"] == "failed"
    wallet.transact(world.developer, "shut", False)
    return consent, lambda: str(ok(tom.http.get(f"/v1/requests/{request['id']}"))["state"])


@pytest.mark.parametrize("kind", ["revoke", "revoke_nonces", "revoke_all"])
@pytest.mark.parametrize("was_minted", [True, False])
def test_a_request_is_open_again_only_if_its_consent_never_came_to_be(
    was_minted: bool, kind: str, world: World, walleted: tuple[Owner, Contract], tom: Person
) -> None:
    owner, _ = walleted
    consent, answer = denied(world, walleted, tom)
    fund(world, tom)
    if was_minted:
        grant(world.market, Relayer(world.chain, tom.account), [SignedConsent(consent, owner.sign(consent))])
    if kind == "revoke":
        ok(owner.revoke([(consent, tom.account.address)]), 202)
    else:
        ok(owner.revoke_nonces(consent) if kind == "revoke_nonces" else owner.revoke_all(0), 202)
    work(world)
    assert answer() == ("approved" if was_minted else "open")
    with transaction(world.engine) as session:
        effects_left = session.scalars(select(OperationRow.effect).where(OperationRow.kind == "grant")).all()
    assert effects_left == [None]


def test_a_revocation_does_not_ask_what_became_of_other_grants(
    world: World, walleted: tuple[Owner, Contract], tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _ = walleted
    consent, answer = denied(world, walleted, tom)

    def broken(*_: object) -> None:
        raise Refused("The endpoint says no.")

    monkeypatch.setattr(granting, "is_over", broken)
    other = replace(consent, nonce=consent.nonce ^ 1)
    for revoked in (owner.revoke_nonces(other), owner.revoke([(other, tom.account.address)])):
        work(world)
        assert owner.operation(ok(revoked, 202))["state"] == "final"
    assert answer() == "approved"


def test_a_revocation_has_happened_also_if_what_it_gives_back_is_not_known_yet(
    world: World, walleted: tuple[Owner, Contract], tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _ = walleted
    consent, answer = denied(world, walleted, tom)
    asked: list[str] = []
    true = type(world.index).events

    def events(self: Any, contract: str, name: str, **wanted: Any) -> Any:
        if name == "Transfer":
            asked.append(answer())
            if len(asked) == 1:
                raise Unavailable("The database is away.")
        return true(self, contract, name, **wanted)

    monkeypatch.setattr(type(world.index), "events", events)
    revoked = ok(owner.revoke_nonces(consent), 202)
    work(world)
    assert owner.operation(revoked)["state"] == "final"
    assert (asked, answer()) == (["approved", "approved"], "open")


def test_a_wallet_that_remembers_its_signature_gives_one_token(
    world: World, walleted: tuple[Owner, Contract], tom: Person
) -> None:
    owner, wallet = walleted
    made, request, consent, _ = approved(owner, tom)
    wallet.transact(world.developer, "shut", True)
    work(world)
    wallet.transact(world.developer, "shut", False)
    fund(world, tom)
    grant(world.market, Relayer(world.chain, tom.account), [SignedConsent(consent, owner.sign(consent))])
    refused(owner.post_consent(owner.consent(made, tom.account.address), request["id"]), 409, "is approved")
    assert status(tom) == ["live"]
