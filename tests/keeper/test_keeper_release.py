"""What a consented, funded job gets from keepers."""

from __future__ import annotations

from typing import Any

from consent.keeper.client import read_log, release
from consent.keeper.receipt import Receipt, release_root
from vault.shares import combine


def test_t_keepers_release_the_key_of_every_object_to_the_job(world: Any) -> None:
    found = release(
        world.ports, world.committee, world.place.consent_token, world.request(), world.runner, world.check()
    )
    data = world.datasets["ada"]
    assert sorted(found.shares) == data.ids
    for object_id, shares in found.shares.items():
        opened = [world.open("ada", object_id, keeper, sealed) for keeper, sealed in shares]
        assert combine(opened) == data.deks[object_id]
    assert [receipt.keeper for receipt in found.receipts] == [1, 2]
    assert not found.reasons


def test_a_receipt_follows_from_the_log_and_names_both_blocks(world: Any) -> None:
    reply = world.ask(world.request())
    receipt = Receipt.read(reply["receipt"])
    receipt.verify(world.place.chain_id, world.place.escrow, world.committee.addresses[0])
    entries = read_log(world.ports[1])
    assert entries[-1].kind == "release"
    assert entries[-1].previous == receipt.previous
    assert entries[-1].facts["root"] == receipt.root
    assert receipt.root == release_root(list(zip(world.datasets["ada"].ids, reply["shares"], strict=True)))
    latest = world.chain.block()
    assert (receipt.safe, receipt.latest) == (latest.hash, latest.hash)
