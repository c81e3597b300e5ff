"""The test token: an ERC-20 with permits, which anyone may mint."""

from __future__ import annotations

import pytest

from consent.typed import permit_digest
from core.ids import NOBODY
from tests.contracts.world import OWNER, RELAYER, STRANGER, TRAINER, World


def permit(world: World, value: int, deadline: int, nonce: int = 0) -> tuple[int, bytes, bytes]:
    digest = permit_digest(world.money.read("DOMAIN_SEPARATOR"), OWNER.address, TRAINER.address, value, nonce, deadline)
    made = OWNER.sign_hash(digest)
    return made[64], made[:32], made[32:64]


def test_anyone_mints_and_holders_pay(world: World) -> None:
    world.send(STRANGER, world.money, "mint", OWNER.address, 100)
    receipt = world.send(OWNER, world.money, "transfer", TRAINER.address, 30)
    assert world.events(receipt, "Transfer") == [{"sender": OWNER.address, "receiver": TRAINER.address, "value": 30}]
    assert (world.balance(OWNER.address), world.balance(TRAINER.address)) == (70, 30)
    assert world.money.read("totalSupply") == 100
    assert (world.money.read("name"), world.money.read("decimals")) == ("Allod Test Dollar", 6)


def test_nobody_pays_more_than_they_have_or_were_allowed(world: World) -> None:
    world.send(STRANGER, world.money, "mint", OWNER.address, 100)
    world.refused("balance too low", OWNER, world.money, "transfer", TRAINER.address, 101)
    world.refused("to nobody", OWNER, world.money, "transfer", NOBODY, 1)
    world.refused("to nobody", OWNER, world.money, "mint", NOBODY, 1)
    world.send(OWNER, world.money, "approve", TRAINER.address, 40)
    world.refused("allowance too low", TRAINER, world.money, "transferFrom", OWNER.address, TRAINER.address, 41)
    world.send(TRAINER, world.money, "transferFrom", OWNER.address, STRANGER.address, 40)
    assert world.money.read("allowance", OWNER.address, TRAINER.address) == 0
    world.send(OWNER, world.money, "approve", TRAINER.address, 2**256 - 1)
    world.send(TRAINER, world.money, "transferFrom", OWNER.address, STRANGER.address, 10)
    assert world.money.read("allowance", OWNER.address, TRAINER.address) == 2**256 - 1


def test_a_permit_counts_once(world: World) -> None:
    deadline = world.now + 100
    arguments = (OWNER.address, TRAINER.address, 55, deadline, *permit(world, 55, deadline))
    world.send(RELAYER, world.money, "permit", *arguments)
    assert world.money.read("allowance", OWNER.address, TRAINER.address) == 55
    assert world.money.read("nonces", OWNER.address) == 1
    world.refused("bad signature", RELAYER, world.money, "permit", *arguments)


@pytest.mark.parametrize("case", ["late", "other value", "other spender", "nobody's"])
def test_a_permit_is_for_what_was_signed_and_in_time(world: World, case: str) -> None:
    deadline = world.now + 100
    signature = permit(world, 55, deadline)
    owner, spender, value, words = OWNER.address, TRAINER.address, 55, "bad signature"
    if case == "late":
        world.advance(200)
        words = "permit expired"
    elif case == "other value":
        value = 56
    elif case == "other spender":
        spender = STRANGER.address
    else:
        owner, signature = NOBODY, (27, bytes(32), bytes(32))
    world.refused(words, RELAYER, world.money, "permit", owner, spender, value, deadline, *signature)
