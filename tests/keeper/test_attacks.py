"""Attacks on keepers that the protocol does not name: disks that fail, requests that cost nothing, liars' numbers."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from consent.keeper.client import Closing, read_log
from consent.keeper.node import LIMITS
from consent.keeper.proposal import NO_STATEMENT, Proposal
from consent.keeper.trees import write_deposit
from consent.keeper.wire import read_reply, sign
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
