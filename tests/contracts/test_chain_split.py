"""After a chain splits, each side's signatures are its own: the domain follows the chain's id."""

from __future__ import annotations

from unittest import mock

import pytest

from consent.chain import embedded
from consent.chain.embedded import Call
from consent.chain.reverts import ExecutionReverted, revert_reason
from tests.contracts.world import OWNER, STRANGER, TRAINER, World, tree_of

OTHER_SIDE = 4_242


@pytest.fixture
def world(embedded_world: World) -> World:
    """Only the embedded chain's id can be changed while it runs."""
    return embedded_world


def call(world: World, to: bytes, data: bytes) -> bytes:
    """A call on the other side of the split: the same state under another chain id."""
    assert world.embedded is not None
    with mock.patch.object(embedded, "CHAIN_ID", OTHER_SIDE):
        return world.embedded.call(Call(sender=STRANGER.address, to=to, data=data), world.embedded.head)


def test_digests_are_of_the_side_on_which_they_are_asked(world: World) -> None:
    consent = world.consent()
    answer = call(world, world.token.address, world.token.encode("digest_of", consent.as_tuple()))
    assert answer == consent.digest(OTHER_SIDE, world.token.address)
    assert answer != world.digest(consent)


def test_an_offer_signed_for_one_side_is_not_taken_on_the_other(world: World) -> None:
    offer = world.consent(grantee=bytes(20))
    here, there = world.sign(offer), OWNER.sign_hash(offer.digest(OTHER_SIDE, world.token.address))
    assert call(world, world.token.address, world.token.encode("take", offer.as_tuple(), there)) == b""
    with pytest.raises(ExecutionReverted) as caught:
        call(world, world.token.address, world.token.encode("take", offer.as_tuple(), here))
    assert revert_reason(caught.value.data) == "bad signature"
    world.send(TRAINER, world.token, "take", offer.as_tuple(), here)


def test_a_settlement_signed_for_one_side_does_not_settle_the_other(world: World) -> None:
    world.fund(TRAINER, 100)
    job = world.open(tree_of(100).root)
    with pytest.raises(ExecutionReverted) as caught:
        call(world, world.escrow.address, world.escrow.encode("settle", *world.settling(job, 0)))
    assert revert_reason(caught.value.data) == "not the keepers' signatures"
    with mock.patch.object(type(world.chain), "chain_id", OTHER_SIDE):
        there = world.settling(job, 0)
    assert call(world, world.escrow.address, world.escrow.encode("settle", *there)) == b""
    world.settle(job, 0)
