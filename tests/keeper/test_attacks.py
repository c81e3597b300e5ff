"""Attacks on keepers that the protocol does not name: disks that fail, requests that cost nothing, liars' numbers."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from consent.grant import nonce_of
from consent.keeper.client import Closing, hand_in_ledger, read_log, revoke_everywhere
from consent.keeper.node import LIMITS
from consent.keeper.proposal import NO_STATEMENT, Proposal
from consent.keeper.revocation import Revoke, RevokeAll, RevokeNonces
from consent.keeper.trees import write_deposit
from consent.keeper.wire import read_reply, sign
from consent.market.paying import confirm
from consent.market.place import Market
from consent.order import CLAIM_TIME
from consent.tree import Leaf, SumTree
from core.encoding import encode_cbor
from core.errors import AllodError, InvalidInput, Refused


class FullDisk:
    """A connection on which the next COMMIT fails and leaves its transaction open, as SQLite does on a full disk."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.failures = 1

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "COMMIT" and self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("database or disk is full")
        return self._db.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def propose(world: Any, tree: SumTree) -> Any:
    proposal = Proposal(world.order, tree.encode(), NO_STATEMENT)
    data = sign(proposal.encode(), world.trainer.sign_hash(proposal.digest))
    return read_reply(world.keepers[0].handle("settlement", data), ("signature",), "The reply")["signature"]


def test_a_settlement_that_the_disk_did_not_take_is_not_signed_at_the_next_try(world: Any) -> None:
    """Otherwise a restart forgets the signed tree, and the keeper signs a second one."""
    store = world.keepers[0]._station.store
    none, less = world.tree.lowered({world.consent_id(): 0}), world.tree.lowered({world.consent_id("bob"): 0})
    read_reply(
        world.keepers[0].handle(
            "settlement", sign(Proposal(world.order).encode(), world.trainer.sign_hash(Proposal(world.order).digest))
        ),
        ("released", "ledgers", "root"),
        "The reply",
    )
    store._db = FullDisk(store._db)
    with pytest.raises(AllodError):
        propose(world, none)
    assert store.settled(world.order.job_id) is None
    assert propose(world, none)
    world.stop_keepers()
    world.start_keepers()
    with pytest.raises(AllodError, match="another final tree"):
        propose(world, less)


def test_a_keeper_goes_on_after_its_disk_was_full_once(world: Any) -> None:
    store = world.keepers[0]._station.store
    store._db = FullDisk(store._db)
    with pytest.raises(AllodError):
        world.ask(world.request())
    assert read_log(world.ports[1]) == []
    assert world.ask(world.request())["shares"]
    assert [entry.kind for entry in read_log(world.ports[1])] == ["release"]


def test_a_stranger_cannot_make_a_keeper_work_through_a_tree_of_no_job(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree of 100,000 leaves costs seconds; the chain is asked first, whether anybody locked money for it."""
    built: list[bytes] = []

    def decode(data: bytes) -> SumTree:
        built.append(data)
        raise InvalidInput("The attack reached the tree.")

    monkeypatch.setattr(SumTree, "decode", decode)
    tree = SumTree([Leaf(bytes([n]) * 32, bytes([n]) * 20, n) for n in range(1, 9)])  # type: ignore[arg-type]
    for order in (
        replace(world.order, root=tree.root),
        replace(world.order, root=tree.root, chain_id=7),
        replace(world.order, root=tree.root, opened=0, lane=9),
    ):
        reply = world.keepers[0].handle("tree", write_deposit(order, tree))
        with pytest.raises(AllodError):
            read_reply(reply, ("job",), "The reply")
    assert built == []
    world.hand_in()  # one that is held already is compared, not built again
    assert built == []


def test_another_tree_for_a_job_that_is_held_is_refused(world: Any) -> None:
    other = world.tree.lowered({world.consent_id(): 0})
    with pytest.raises(Refused, match="not the one that the job was opened with"):
        world.hand_in(tree=other)


@pytest.mark.parametrize("path", ["service", "revoke", "ledger", "log"])
def test_only_paths_that_take_trees_or_tables_read_megabytes(world: Any, path: str) -> None:
    assert LIMITS[path] <= 1 << 19
    data = encode_cbor({"v": 1, "kind": path, "pad": bytes(LIMITS[path])})
    with pytest.raises(InvalidInput, match="larger than"):
        read_reply(world.keepers[0].handle(path, data), (), "The reply")


def test_a_liars_ledger_total_does_not_keep_the_others_from_refunding(world: Any) -> None:
    """A total whose price exceeds 64 bits leaves the leaf as it is instead of ending the settlement with an error."""
    ada = world.consent_id()
    closing = Closing({1: frozenset({ada})}, {1: {ada: 2**64 - 1}}, {})
    tree = closing.lowest(world.tree, {ada: world.datasets["ada"].terms}, keep_fee=True)
    assert tree.leaves[world.tree.find(ada)] == world.tree.leaves[world.tree.find(ada)]
    assert tree.leaves[world.tree.find(world.consent_id("bob"))].amount == 0


def test_a_tree_is_served_until_its_claims_end(world: Any) -> None:
    """Without its leaves nobody can claim: a keeper forgets a tree only when the escrow pays nothing of it any more."""
    store, job = world.keepers[0]._station.store, world.order.job_id
    store.drop_trees(world.order.start + CLAIM_TIME)
    assert store.tree(job)
    assert store.jobs_paying(world.datasets["ada"].owner.address, bytes(32), 10) == [job]
    store.drop_trees(world.order.start + CLAIM_TIME + 1)
    assert store.tree(job) is None
    assert store.jobs_paying(world.datasets["ada"].owner.address, bytes(32), 10) == []


def test_revoking_all_ends_earlier_epochs_and_no_later_one(world: Any) -> None:
    ada = world.datasets["ada"]
    revoke_everywhere(
        world.ports,
        world.committee,
        world.place.chain_id,
        world.place.consent_token,
        message := RevokeAll(ada.owner.address, 3),
        ada.owner.sign_hash(message.digest(world.place.chain_id, world.place.consent_token)),
    )
    ended = {
        epoch: world.keepers[0]._station.store.revoked_at(ada.consent.with_nonce(nonce_of(epoch, 7, 3)), bytes(32))
        for epoch in (0, 2, 3, 4, 256)
    }
    assert [epoch for epoch, seen in ended.items() if seen] == [0, 2, 3]


def test_a_revocation_ends_consents_of_the_one_who_signed_it_alone(world: Any) -> None:
    """Bob names Ada's token, Ada's nonce and Ada's epoch; only his own are ended."""
    bob, place = world.datasets["bob"].owner, (world.place.chain_id, world.place.consent_token)
    nonce = world.datasets["ada"].consent
    for message in (
        Revoke(bob.address, (world.consent_id("ada"),)),
        RevokeNonces(bob.address, nonce.word, 1 << nonce.bit),
        RevokeAll(bob.address, 9),
    ):
        assert revoke_everywhere(
            world.ports, world.committee, *place, message, bob.sign_hash(message.digest(*place))
        ).certain
    assert world.ask(world.request("ada"))["shares"]
    with pytest.raises(Refused, match="revoked"):
        world.ask(world.request("bob"))


@pytest.mark.parametrize("end", ["confirmed", "over"])
def test_no_ledger_total_is_taken_for_a_job_that_ended(world: Any, end: str) -> None:
    ada, place = world.datasets["ada"], (world.place.chain_id, world.place.consent_token)
    world.ask(world.request())
    message = RevokeAll(ada.owner.address, 0)
    revoke_everywhere(world.ports, world.committee, *place, message, ada.owner.sign_hash(message.digest(*place)))
    if end == "confirmed":
        confirm(Market(world.chain, world.place), world.runner, world.order, bytes([5]) * 32)
    else:
        world.chain.advance(7200)
    reasons = hand_in_ledger(world.ports, world.order, world.place.consent_token, ada.consent, 0, world.runner)
    assert ("confirmed or settled" if end == "confirmed" else "time to settle has passed") in reasons[1]
    assert not world.keepers[0]._station.store.ledgers(world.order.job_id)


def test_a_consent_that_only_the_newest_blocks_know_opens_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job stands in a safe block, the consent does not: a reorganisation could take it back after the release."""
    safe = world.chain.block()
    cyd, place = world.datasets["cyd"], (world.place.chain_id, world.place.consent_token)
    signature = cyd.owner.sign_hash(cyd.consent.digest(*place))
    world.transact(world.stranger, "consent_token", "redeem", [cyd.consent.as_tuple()], [signature])
    with monkeypatch.context() as patch:
        block = world.chain.block
        patch.setattr(world.chain, "block", lambda which="latest": safe if which == "safe" else block(which))
        with pytest.raises(Refused, match="never granted on chain"):
            world.ask(world.request("cyd"))
    assert world.ask(world.request("cyd"))["shares"]
