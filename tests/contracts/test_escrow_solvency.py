"""Whatever payers, runners, keepers, owners and thieves do in whatever order: the escrow holds exactly what it owes.

A model of plain numbers runs beside the contract. It knows which actions must work; everything else must be refused.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from consent.chain.embedded import developer
from consent.order import CLAIM_TIME
from consent.tree import SumTree
from core.errors import Refused
from tests.contracts.world import DAY, OTHER_OWNER, OWNER, RUNNER, STRANGER, TRAINER, Account, Job, World, tree_of

PAYERS = (TRAINER, STRANGER)
ACTIONS = (
    "deposit", "deposit", "withdraw", "open", "open", "open", "confirm", "settle", "claim", "claim", "claim", "reclaim",
    "wait",
)  # fmt: skip


@dataclass
class Lane:
    """A lane as the model sees it."""

    job: Job
    tree: SumTree
    left: int
    paid: set[int] = field(default_factory=set)


class Model:
    """Random actions on the escrow, each with its expected outcome."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(seed)
        self.deposits = {payer.address: 0 for payer in PAYERS}
        self.lanes: dict[tuple[bytes, int], Lane] = {}
        self.earned = 0
        self.worked = 0

    def expect(self, allowed: bool, act: object, *args: object) -> bool:
        """Do it; it works exactly where it is allowed."""
        self.world.chain.mine()
        assert callable(act)
        if allowed:
            act(*args)
            self.worked += 1
            return True
        with pytest.raises(Refused):
            act(*args)
        return False

    def lane_of(self) -> tuple[Account, int, Lane | None]:
        payer, number = self.random.choice(PAYERS), self.random.randrange(2)
        return payer, number, self.lanes.get((payer.address, number))

    def is_over(self, lane: Lane) -> bool:
        """Whether the time of claims has ended, by a block that comes two seconds from now at the latest."""
        return self.world.now > lane.job.start + CLAIM_TIME

    def deposit(self) -> None:
        payer, units = self.random.choice(PAYERS), self.random.randrange(1, 2_000)
        self.world.fund(payer, units)
        self.deposits[payer.address] += units

    def withdraw(self) -> None:
        payer, units = self.random.choice(PAYERS), self.random.randrange(1_500)
        allowed = units <= self.deposits[payer.address]
        if self.expect(allowed, self.world.send, payer, self.world.escrow, "withdraw", units):
            self.deposits[payer.address] -= units

    def open(self) -> None:
        payer, number, lane = self.lane_of()
        tree = tree_of(*(self.random.randrange(300) for _ in range(self.random.randrange(1, 6))))
        back = lane.left if lane else 0
        free = lane is None or lane.left == 0 or self.is_over(lane)
        allowed = free and tree.total <= self.deposits[payer.address] + back
        prev = lane.job.prev if lane else [0, 0, 0]
        opened: list[Job] = []

        def act() -> None:
            opened.append(self.world.open(tree.root, payer=payer, lane=number, prev=prev))

        if self.expect(allowed, act):
            self.deposits[payer.address] += back - tree.total
            self.lanes[payer.address, number] = Lane(opened[0], tree, tree.total)

    def confirm(self) -> None:
        _, _, lane = self.lane_of()
        if lane is None:
            return
        allowed = self.world.now + 2 < lane.job.start
        moved: list[Job] = []
        if self.expect(allowed, lambda: moved.append(self.world.confirm(lane.job))):
            lane.job = moved[0]

    def settle(self) -> None:
        _, _, lane = self.lane_of()
        if lane is None:
            return
        lowered = {leaf.consent_id: self.random.randrange(leaf.amount + 1) for leaf in lane.tree.leaves[:2]}
        final = lane.tree.lowered(lowered)
        honest = self.random.random() < 0.7
        signers = (0, 1, 2) if honest else (0, 1, 1)
        allowed = honest and self.world.now + 2 < lane.job.start
        moved: list[Job] = []

        def act() -> None:
            moved.append(self.world.settle(lane.job, final.root, signers=signers))

        if self.expect(allowed, act):
            self.deposits[lane.job.payer] += lane.tree.total - final.total
            lane.job, lane.tree, lane.left = moved[0], final, final.total

    def claim(self) -> None:
        _, _, lane = self.lane_of()
        if lane is None:
            return
        entries, fresh = [], []
        started = self.world.now >= lane.job.start
        reclaimed = lane.left == 0
        for _ in range(self.random.randrange(1, 6)):
            index = self.random.randrange(len(lane.tree.leaves))
            entry = self.world.claim(lane.job, lane.tree, index)
            lie = self.random.random() < 0.3
            if lie:
                entry["amount"] += self.random.choice((1, 2**64, -1 if entry["amount"] else 1))
            amount = lane.tree.leaves[index].amount
            good = started and not lie and amount and index not in lane.paid and index not in fresh and not reclaimed
            entries.append(entry)
            if good:
                fresh.append(index)
        skipped = self.world.skipped(*entries)
        assert len(entries) - len(skipped) == len(fresh)
        lane.paid.update(fresh)
        total = sum(lane.tree.leaves[index].amount for index in fresh)
        lane.left -= total
        self.earned += total
        self.worked += bool(fresh)

    def reclaim(self) -> None:
        payer, number, lane = self.lane_of()
        if lane is None:
            return
        allowed = lane.left > 0 and self.is_over(lane)
        if self.expect(allowed, self.world.send, payer, self.world.escrow, "reclaim", number, lane.job.prev):
            self.deposits[payer.address] += lane.left
            lane.left = 0

    def wait(self) -> None:
        self.world.advance(self.random.choice((60, 60, DAY, CLAIM_TIME + DAY)))

    def check(self) -> None:
        """The contract's numbers are the model's, and the money is there."""
        world = self.world
        for payer in PAYERS:
            assert world.deposit_of(payer) == self.deposits[payer.address]
        for lane in self.lanes.values():
            assert world.remaining(lane.job) == lane.left
        owed = sum(self.deposits.values()) + sum(lane.left for lane in self.lanes.values())
        assert world.balance(world.escrow.address) == owed
        assert world.balance(OWNER.address) == self.earned


@pytest.mark.parametrize("seed", range(6))
def test_the_escrow_always_holds_what_it_owes(world: World, seed: int) -> None:
    model = Model(world, seed)
    model.deposit()
    for _ in range(70):
        getattr(model, model.random.choice(ACTIONS))()
        model.check()
    assert model.worked > 12


def test_tokens_sent_without_a_deposit_belong_to_nobodys_books(world: World) -> None:
    world.send(developer(), world.money, "mint", world.escrow.address, 77)
    world.fund(OTHER_OWNER, 10)
    assert world.deposit_of(OTHER_OWNER) == 10
    world.send(OTHER_OWNER, world.escrow, "withdraw", 10)
    assert world.balance(world.escrow.address) == 77
    job = Job(OTHER_OWNER.address, 0, 0, RUNNER.address, world.spec(), 0, bytes(32))
    assert world.remaining(replace(job, lane=1)) == 0
