"""Escrows over tokens that cheat: what they can spoil is their own money, never the books."""

from __future__ import annotations

from typing import Any

import pytest

from consent.chain.contract import Contract, create
from consent.chain.embedded import developer
from consent.contracts import load
from consent.order import CLAIM_TIME
from consent.tree import Leaf, SumTree
from core.ids import NOBODY, ConsentId
from tests.contracts.world import DAY, OTHER_OWNER, OWNER, RUNNER, STRANGER, TRAINER, Job, World, tree_of

FAILED = 5
WORKS, ANSWERS_FALSE, REVERTS, SILENT, ANSWERS_TWO, BURNS_GAS, BLOCKS, PRETENDS = range(8)
TREE = tree_of(700, 200, 100)
NO_PERMIT = (0, 0, bytes(32), bytes(32))


def over(world: World, name: str) -> World:
    """The same world with an escrow over a hostile token."""
    money = world.deploy(STRANGER, name)
    artifact = load("JobEscrow")
    escrow, _ = create(world.chain, developer(), artifact.abi, artifact.bytecode, money.address, 1, world.token.address)
    return world.at(escrow, money=money)


def fund(world: World, payer: Any, units: int) -> None:
    world.send(STRANGER, world.money, "mint", payer.address, units)
    world.send(payer, world.escrow, "deposit", units, *NO_PERMIT)


def feel(world: World, mood: int, blocked: bytes = NOBODY) -> None:
    world.send(STRANGER, world.money, "feel", mood, blocked)


def books(world: World, *jobs: Job) -> int:
    """What the escrow owes: deposits and what remains in lanes."""
    people = (TRAINER, OTHER_OWNER, STRANGER)
    return sum(map(world.deposit_of, people)) + sum(map(world.remaining, jobs))


def test_a_token_that_takes_a_fee_is_refused_at_the_door(world: World) -> None:
    world = over(world, "FeeToken")
    world.send(STRANGER, world.money, "mint", TRAINER.address, 1_000)
    world.refused("the token keeps a part", TRAINER, world.escrow, "deposit", 1_000, *NO_PERMIT)
    assert world.deposit_of(TRAINER) == 0


@pytest.mark.parametrize(
    ("mood", "words"),
    [(ANSWERS_FALSE, "transfer failed"), (PRETENDS, "the token keeps a part"), (REVERTS, "no reason given")],
)
def test_a_deposit_that_did_not_arrive_is_none(world: World, mood: int, words: str) -> None:
    world = over(world, "MoodyToken")
    world.send(STRANGER, world.money, "mint", TRAINER.address, 1_000)
    feel(world, mood)
    world.refused(words, TRAINER, world.escrow, "deposit", 1_000, *NO_PERMIT)
    assert world.deposit_of(TRAINER) == 0


def test_a_token_without_answers_works(world: World) -> None:
    world = over(world, "MoodyToken")
    feel(world, SILENT)
    fund(world, TRAINER, 1_500)
    job = world.confirm(world.open(TREE.root))
    assert world.skipped(*[world.claim(job, TREE, i) for i in range(3)]) == {}
    world.send(TRAINER, world.escrow, "withdraw", 500)
    assert [world.balance(who.address) for who in (OWNER, TRAINER)] == [1_000, 500]


@pytest.mark.parametrize("mood", [ANSWERS_FALSE, REVERTS, ANSWERS_TWO])
def test_a_payment_that_fails_is_reported_and_can_be_claimed_later(world: World, mood: int) -> None:
    world = over(world, "MoodyToken")
    fund(world, TRAINER, 1_000)
    job = world.confirm(world.open(TREE.root))
    feel(world, mood)
    if mood == ANSWERS_TWO:
        # It moved the money and then gave an answer that no standard knows: its books and ours may differ, in its own
        # money, and only to its holders' gain; nothing is paid from another token's escrow.
        assert world.skipped(world.claim(job, TREE, 0)) == {0: FAILED}
        assert world.remaining(job) == TREE.total
        return
    before = world.lane(job)
    assert world.skipped(world.claim(job, TREE, 0), world.claim(job, TREE, 1)) == {0: FAILED, 1: FAILED}
    assert world.lane(job) == before
    feel(world, WORKS)
    assert world.skipped(*[world.claim(job, TREE, i) for i in range(3)]) == {}
    assert world.balance(OWNER.address) == TREE.total


def test_a_token_that_burns_all_gas_pays_nobody_and_loses_nobody_anything(world: World) -> None:
    world = over(world, "MoodyToken")
    fund(world, TRAINER, 1_000)
    job = world.confirm(world.open(TREE.root))
    feel(world, BURNS_GAS)
    before = world.lane(job)
    world.refused("out of gas", STRANGER, world.escrow, "claim_many", [world.claim(job, TREE, 0)] * 2)
    feel(world, WORKS)
    assert world.lane(job) == before
    assert world.skipped(world.claim(job, TREE, 0)) == {}


def test_a_blocked_payee_costs_nobody_else_anything(world: World) -> None:
    world = over(world, "MoodyToken")
    fund(world, TRAINER, 100)
    payees = (OWNER, OTHER_OWNER, RUNNER)
    tree = SumTree([Leaf(ConsentId(bytes([i]) * 32), who.address, 20) for i, who in enumerate(payees)])
    job = world.confirm(world.open(tree.root))
    feel(world, BLOCKS, OTHER_OWNER.address)
    assert world.skipped(*[world.claim(job, tree, i) for i in range(3)]) == {1: FAILED}
    assert [world.balance(who.address) for who in payees] == [20, 0, 20]
    assert world.balance(world.escrow.address) == books(world, job) == 60


@pytest.mark.parametrize("mood", [ANSWERS_FALSE, REVERTS])
def test_a_withdrawal_that_fails_leaves_the_deposit(world: World, mood: int) -> None:
    world = over(world, "MoodyToken")
    fund(world, TRAINER, 100)
    feel(world, mood)
    words = "transfer failed" if mood == ANSWERS_FALSE else "no reason given"
    world.refused(words, TRAINER, world.escrow, "withdraw", 60)
    assert world.deposit_of(TRAINER) == 100


# -- a token that calls back ------------------------------------------------------------------------------------------


def arm(world: World, payload: bytes, answer: bool) -> None:
    world.send(STRANGER, world.money, "arm", world.escrow.address, payload, answer)


def payer_is_the_token(world: World) -> tuple[World, Contract]:
    """An escrow over a token that is a payer itself: it has 1,000 UNITs deposited and strikes where it is armed."""
    world = over(world, "ReentrantToken")
    token = world.money
    world.send(STRANGER, token, "mint", token.address, 1_000)
    act(world, token, "deposit", 1_000, *NO_PERMIT)
    fund(world, OTHER_OWNER, 5_000)
    return world, token


def act(world: World, token: Contract, name: str, *args: Any) -> Any:
    return world.send(STRANGER, token, "act", world.escrow.address, world.escrow.encode(name, *args))


def opened_by(world: World, token: Contract, root: int, prev: list[int], lane: int = 0) -> Job:
    receipt = act(world, token, "open", lane, world.now + DAY, RUNNER.address, world.spec(), root, [], prev)
    (opened,) = world.events(receipt, "Opened")
    return Job(token.address, lane, opened["times"], RUNNER.address, world.spec(), root, bytes(32))


def owed(world: World, token: Contract, *jobs: Job) -> int:
    return books(world, *jobs) + int(world.escrow.read("deposits", token.address))


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("call", ["claim_many", "withdraw", "deposit", "reclaim"])
def test_what_moves_money_is_locked_while_money_moves(world: World, call: str, answer: bool) -> None:
    world, token = payer_is_the_token(world)
    job = world.confirm(opened_by(world, token, tree_of(300, 100).root, [0, 0, 0]))
    tree = tree_of(300, 100)
    arguments: dict[str, tuple[Any, ...]] = {
        "claim_many": ([world.claim(job, tree, 0)],),
        "withdraw": (600,),
        "deposit": (1, *NO_PERMIT),
        "reclaim": (0, job.prev),
    }
    world.send(STRANGER, token, "mint", token.address, 1)  # so that only the lock stands between it and a deposit
    if call == "reclaim":
        world.advance(CLAIM_TIME + 10)  # it would be allowed now
    arm(world, world.escrow.encode(call, *arguments[call]), answer)
    assert world.skipped(world.claim(job, tree, 0)) == ({} if answer else {0: FAILED})
    assert (token.read("tried"), token.read("succeeded")) == (True, False)
    assert world.balance(world.escrow.address) == owed(world, token, job)
    assert world.balance(OWNER.address) == (300 if answer else 0)


def test_a_token_that_reopens_the_lane_while_it_pays_gains_nothing(world: World) -> None:
    world, token = payer_is_the_token(world)
    tree = tree_of(300)
    job = world.confirm(opened_by(world, token, tree.root, [0, 0, 0]))
    reopen = world.escrow.encode(
        "open", 0, world.now + DAY, RUNNER.address, world.spec(), tree_of(50).root, [], job.prev
    )
    # It pays the last leaf properly: the lane is free by then, and the new job is like any other.
    arm(world, reopen, True)
    receipt = world.claims(world.claim(job, tree, 0))
    (opened,) = world.events(receipt, "Opened")
    second = Job(token.address, 0, opened["times"], RUNNER.address, world.spec(), tree_of(50).root, bytes(32))
    assert world.remaining(second) == 50
    assert world.balance(world.escrow.address) == owed(world, token, second)


def test_a_token_that_reopens_the_lane_and_then_fails_undoes_everything(world: World) -> None:
    world, token = payer_is_the_token(world)
    tree = tree_of(300)
    job = world.confirm(opened_by(world, token, tree.root, [0, 0, 0]))
    reopen = world.escrow.encode(
        "open", 0, world.now + DAY, RUNNER.address, world.spec(), tree_of(50).root, [], job.prev
    )
    arm(world, reopen, False)
    world.refused("the token interferes", STRANGER, world.escrow, "claim_many", [world.claim(job, tree, 0)])
    assert world.remaining(job) == 300
    assert world.balance(world.escrow.address) == owed(world, token, job)


@pytest.mark.parametrize("answer", [True, False])
def test_opening_confirming_and_settling_from_inside_a_payment_keep_the_books(world: World, answer: bool) -> None:
    world, token = payer_is_the_token(world)
    tree = tree_of(300)
    paying = world.confirm(opened_by(world, token, tree.root, [0, 0, 0]))
    waiting = opened_by(world, token, tree_of(200).root, [0, 0, 0], lane=1)
    arm(world, world.escrow.encode("settle", *world.settling(waiting, 0)), answer)
    world.claims(world.claim(paying, tree, 0))
    assert token.read("succeeded") is True
    assert world.remaining(waiting) == 0
    assert world.balance(world.escrow.address) == owed(world, token, paying, waiting)


def test_a_deposit_that_opens_a_job_meanwhile_is_booked_once(world: World) -> None:
    world, token = payer_is_the_token(world)
    open_data = world.escrow.encode(
        "open", 3, world.now + DAY, RUNNER.address, world.spec(), tree_of(900).root, [], [0, 0, 0]
    )
    world.send(STRANGER, token, "mint", token.address, 500)
    arm(world, open_data, True)
    act(world, token, "deposit", 500, *NO_PERMIT)
    assert token.read("succeeded") is True
    assert world.escrow.read("deposits", token.address) == 1_000 - 900 + 500
    job = Job(token.address, 3, 0, RUNNER.address, world.spec(), 0, bytes(32))
    assert world.balance(world.escrow.address) == owed(world, token, job)
