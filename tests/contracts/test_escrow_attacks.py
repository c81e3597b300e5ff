"""Everybody tries to take what is not theirs. Each test is one attack, whole, and what it leaves behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.chain.contract import Contract
from consent.order import CLAIM_TIME, MAX_RUN
from consent.tree import Leaf, SumTree, join, sum_of
from consent.typed import keccak
from core.errors import Refused
from core.ids import ConsentId
from tests.contracts.world import (
    DAY,
    OTHER_OWNER,
    OWNER,
    RELAYER,
    RUNNER,
    STRANGER,
    TRAINER,
    Job,
    World,
    attach,
    tree_of,
)

NO_SUCH_JOB, NOT_YET, BAD_PROOF, SPENT, FAILED, NOTHING = range(1, 7)
M64 = 2**64 - 1
TREE = tree_of(700, 200, 100)


@pytest.fixture
def rich(world: World) -> World:
    """OTHER_OWNER has 10,000 UNITs in the escrow, which every thief would like to have."""
    world.fund(OTHER_OWNER, 10_000)
    world.fund(TRAINER, 1_000)
    return world


def solvent(world: World, *jobs: Job) -> bool:
    held = sum(world.deposit_of(who) for who in (OTHER_OWNER, TRAINER, STRANGER)) + sum(map(world.remaining, jobs))
    return world.balance(world.escrow.address) == held


def test_a_runner_cannot_settle_to_nothing_or_to_itself(rich: World) -> None:
    job = rich.open(TREE.root)
    mine = SumTree([Leaf(ConsentId(bytes(32)), RUNNER.address, TREE.total)])
    for final in (0, mine.root):
        for signers in ((), (0,), (0, 0, 0)):
            arguments = rich.settling(job, final, keepers=[RUNNER] * 3, signers=signers)
            rich.refused("no such open job", RUNNER, rich.escrow, "settle", *arguments)
        honest_list = list(rich.settling(job, final))
        honest_list[-1] = rich.settling(job, final, keepers=[RUNNER] * 3)[-1]
        rich.refused("not the keepers' signatures", RUNNER, rich.escrow, "settle", *honest_list)
        changed = replace(job, root=final)
        rich.refused("not the runner's open job", RUNNER, rich.escrow, "confirm", *rich.confirming(changed))
    confirmed = rich.confirm(job)
    assert rich.skipped(rich.claim(replace(confirmed, root=mine.root), mine, 0)) == {0: NO_SUCH_JOB}
    assert rich.skipped(rich.claim(confirmed, mine, 0)) == {0: BAD_PROOF}
    assert rich.balance(RUNNER.address) == 0


def test_a_withheld_tree_pays_nobody_and_returns_only_after_its_claims(rich: World) -> None:
    withheld = int.from_bytes(keccak(b"never shown"), "big") & ~M64 | 1_000
    job = rich.open(withheld)
    rich.advance(DAY + 1)
    for position, proof in ((1, []), (2, [5]), (3, [withheld])):
        leaf = SumTree([Leaf(ConsentId(bytes(32)), TRAINER.address, 1_000)])
        assert rich.skipped(rich.claim(job, leaf, 0, position=position, proof=proof)) == {0: BAD_PROOF}
    rich.refused("claims still run", TRAINER, rich.escrow, "reclaim", 0, job.prev)
    assert rich.deposit_of(TRAINER) == 0
    rich.advance(CLAIM_TIME + 1)
    rich.send(TRAINER, rich.escrow, "reclaim", 0, job.prev)
    assert rich.deposit_of(TRAINER) == 1_000


def test_sums_that_wrap_at_64_bits_do_not_pay_other_peoples_deposits(rich: World) -> None:
    """A root whose low half says 10, above leaves of 2^64 − 5 and 15: only an unchecked sum fits."""
    big, small = Leaf(ConsentId(b"\1" * 32), TRAINER.address, M64 - 4), Leaf(ConsentId(b"\2" * 32), TRAINER.address, 15)
    digest = keccak(big.word.to_bytes(32, "big") + small.word.to_bytes(32, "big"))
    root = int.from_bytes(digest, "big") & ~M64 | (big.amount + small.amount) & M64
    assert sum_of(root) == 10
    job = rich.confirm(rich.open(root))
    trees = [SumTree([leaf]) for leaf in (big, small)]
    entries = [
        rich.claim(job, trees[0], 0, position=2, proof=[small.word]),
        rich.claim(job, trees[1], 0, position=3, proof=[big.word]),
    ]
    assert rich.skipped(*entries) == {0: BAD_PROOF, 1: BAD_PROOF}
    assert rich.balance(TRAINER.address) == 0
    assert solvent(rich, job)


def test_an_amount_beyond_64_bits_is_no_leaf_even_in_a_tree_made_for_it(rich: World) -> None:
    """The low half of 2^64 + 5 is 5: a tree of such a word opens for 5 UNITs."""
    amount, who = 2**64 + 5, TRAINER.address
    digest = keccak(bytes(32) + bytes(12) + who + amount.to_bytes(32, "big"))
    word = int.from_bytes(digest, "big") & ~M64 | amount
    job = rich.confirm(rich.open(join(word, 0)))
    entry = rich.claim(job, TREE, 0, consent=bytes(32), payee=who, amount=amount, position=2, proof=[0])
    assert rich.skipped(entry) == {0: BAD_PROOF}
    assert rich.balance(who) == 0


def test_a_node_that_lies_about_its_sum_proves_nothing(rich: World) -> None:
    leaf = Leaf(ConsentId(b"\1" * 32), TRAINER.address, 5_000)
    honest = join(leaf.word, 0)
    for lie in (1_000, 0, 4_999):
        root = honest & ~M64 | lie
        lane = {1_000: 0, 0: 1, 4_999: 2}[lie]
        if lie > 1_000:
            rich.fund(TRAINER, 5_000)
        job = rich.confirm(rich.open(root, lane=lane))
        tree = SumTree([leaf])
        assert rich.skipped(rich.claim(job, tree, 0, position=2, proof=[0])) == {0: BAD_PROOF}
        lying_leaf = rich.claim(job, tree, 0, position=2, proof=[0], amount=lie or 1)
        assert rich.skipped(lying_leaf) == {0: BAD_PROOF}
    assert rich.balance(TRAINER.address) == 0


def test_one_leaf_is_paid_at_its_one_position(rich: World) -> None:
    tree = tree_of(400, 300, 200, 100)
    job = rich.confirm(rich.open(tree.root))
    right = rich.claim(job, tree, 1)
    position, proof = tree.position(1), tree.proof(1)
    wrong = [
        {**right, "position": other}
        for other in (0, 1, 2, 4, 6, 7, position + 8, position | 1 << 200, position << 1, position + 216, 2**256 - 1)
    ]
    longer = {**right, "position": position << 1, "proof": [0, *proof]}
    assert set(rich.skipped(*wrong, longer).values()) == {BAD_PROOF}
    assert rich.skipped(right) == {}
    assert rich.skipped(right) == {0: SPENT}
    assert rich.balance(OWNER.address) == 300


def test_twins_are_paid_twice_only_because_the_sum_holds_both(rich: World) -> None:
    twin = Leaf(ConsentId(b"\1" * 32), OWNER.address, 500)
    root = join(twin.word, twin.word)
    job = rich.confirm(rich.open(root))
    entries = [rich.claim(job, SumTree([twin]), 0, position=position, proof=[twin.word]) for position in (2, 3, 2, 3)]
    assert rich.skipped(*entries) == {2: SPENT, 3: SPENT}
    assert rich.balance(OWNER.address) == sum_of(root) == 1_000
    assert solvent(rich, job)


def test_an_inner_node_is_no_leaf(rich: World) -> None:
    """The 96 bytes of a leaf cannot be made from the 64 of a node: whoever tries has the wrong hash."""
    tree = tree_of(400, 300, 200, 100)
    job = rich.confirm(rich.open(tree.root))
    left, right = tree_of(400, 300).root, tree.proof(0)[1]
    nodes = tree.words
    inner = rich.claim(
        job, tree, 0, consent=nodes[0].to_bytes(32, "big"), amount=sum_of(left), position=2, proof=[right]
    )
    assert rich.skipped(inner) == {0: BAD_PROOF}
    assert rich.balance(OWNER.address) == 0


def test_a_claim_from_an_older_use_of_the_lane_is_unknown(rich: World) -> None:
    old_tree, new_tree = tree_of(30, 40), tree_of(50, 60)
    old = rich.confirm(rich.open(old_tree.root))
    assert rich.skipped(rich.claim(old, old_tree, 0)) == {}
    rich.advance(CLAIM_TIME + DAY)
    new = rich.confirm(rich.open(new_tree.root, prev=old.prev))
    assert rich.skipped(
        rich.claim(old, old_tree, 1),
        rich.claim(replace(new, times=old.times), new_tree, 1),
        rich.claim(new, old_tree, 1),
    ) == {0: NO_SUCH_JOB, 1: NO_SUCH_JOB, 2: BAD_PROOF}
    # Position 2 was paid in the older job; in the new one it is fresh.
    assert rich.skipped(rich.claim(new, new_tree, 0), rich.claim(new, new_tree, 1)) == {}
    assert rich.balance(OWNER.address) == 30 + 50 + 60
    assert solvent(rich, new)


def wallet_of(world: World) -> Contract:
    """A contract that pays for jobs and does two things in one transaction, with 1,000 UNITs deposited."""
    wallet = world.deploy(STRANGER, "Wallet", STRANGER.address)
    world.send(STRANGER, world.money, "mint", wallet.address, 1_000)
    act(world, wallet, world.money.address, world.money.encode("approve", world.escrow.address, 1_000))
    act(world, wallet, world.escrow.address, world.escrow.encode("deposit", 1_000, 0, 0, bytes(32), bytes(32)))
    return wallet


def act(world: World, wallet: Contract, target: bytes, *payloads: bytes) -> Any:
    return world.send(STRANGER, wallet, "act" if len(payloads) == 1 else "act_twice", target, *payloads)


def open_data(world: World, root: int, prev: list[int]) -> bytes:
    return world.escrow.encode("open", 0, world.now + DAY, RUNNER.address, world.spec(), root, [], prev)


def job_of(world: World, wallet: Contract, receipt: Any) -> Job:
    opened = world.events(receipt, "Opened")[-1]
    return Job(wallet.address, 0, opened["times"], RUNNER.address, world.spec(), opened["root"], bytes(32))


def test_a_lane_is_not_opened_twice_in_one_block(rich: World) -> None:
    """Two uses with one `opened` would share their paid bits and could share a job id."""
    wallet = wallet_of(rich)
    rich.chain.mine()
    now = rich.now + 1
    empty = Job(wallet.address, 0, now << 40 | now + DAY, RUNNER.address, rich.spec(), 0, bytes(32))
    first = rich.escrow.encode("open", 0, now + DAY, RUNNER.address, rich.spec(), 0, [], [0, 0, 0])
    second = rich.escrow.encode("open", 0, now + DAY, RUNNER.address, rich.spec(), 0, [], empty.prev)
    call = {"from": "0x" + STRANGER.address.hex(), "to": "0x" + wallet.address.hex()}
    data = wallet.encode("act_twice", rich.escrow.address, first, second)
    with pytest.raises(Refused) as caught:
        rich.chain.request("eth_call", {**call, "data": "0x" + data.hex()}, "pending")
    assert caught.value.detail["reason"] == "lane opened in this very block"
    receipt = act(rich, wallet, rich.escrow.address, first)
    opened = job_of(rich, wallet, receipt)
    act(rich, wallet, rich.escrow.address, open_data(rich, TREE.root, opened.prev))  # a block later it is free


def test_reclaiming_and_opening_in_one_block_revives_no_old_claim(rich: World) -> None:
    wallet = wallet_of(rich)
    old = job_of(rich, wallet, act(rich, wallet, rich.escrow.address, open_data(rich, TREE.root, [0, 0, 0])))
    rich.advance(MAX_RUN)
    assert rich.skipped(rich.claim(old, TREE, 0)) == {}
    rich.advance(CLAIM_TIME)
    reclaim = rich.escrow.encode("reclaim", 0, old.prev)
    assert rich.remaining(old) == 300
    receipt = act(rich, wallet, rich.escrow.address, reclaim, open_data(rich, tree_of(250, 50).root, old.prev))
    new = rich.confirm(job_of(rich, wallet, receipt))
    assert new.times >> 40 > old.times >> 40
    assert rich.skipped(rich.claim(old, TREE, 1), rich.claim(old, TREE, 0)) == {0: NO_SUCH_JOB, 1: NO_SUCH_JOB}
    assert rich.remaining(new) == 300
    # A lane whose word was cleared by `reclaim` would now open as if it were fresh.
    rich.refused(
        "not the lane's former job", STRANGER, wallet, "act", rich.escrow.address, open_data(rich, 0, [0, 0, 0])
    )


def test_a_strangers_proposal_without_the_keepers_moves_nothing(rich: World) -> None:
    job = rich.open(TREE.root)
    arguments = list(rich.settling(job, 0))
    arguments[-1] = rich.settling(job, 0, keepers=[STRANGER, RELAYER, RUNNER])[-1]
    rich.refused("not the keepers' signatures", STRANGER, rich.escrow, "settle", *arguments)
    assert rich.remaining(job) == TREE.total


def test_a_settlement_of_one_job_does_not_fit_its_lanes_next(rich: World) -> None:
    first = rich.open(TREE.root)
    signatures = rich.settling(first, 0)[-1]
    settled = rich.settle(first, 0)
    second = rich.open(TREE.root, prev=settled.prev)
    arguments = list(rich.settling(second, 0))
    arguments[-1] = signatures
    rich.refused("not the keepers' signatures", TRAINER, rich.escrow, "settle", *arguments)
    elsewhere = rich.open(0, lane=7)
    arguments = list(rich.settling(elsewhere, 0))
    arguments[-1] = signatures
    rich.refused("not the keepers' signatures", TRAINER, rich.escrow, "settle", *arguments)


def test_the_payer_cannot_reach_the_money_of_an_open_job(rich: World) -> None:
    job = rich.open(TREE.root)
    rich.refused("deposit too low", TRAINER, rich.escrow, "withdraw", 1)
    rich.refused("claims still run", TRAINER, rich.escrow, "reclaim", 0, job.prev)
    rich.refused("claims still run", TRAINER, rich.escrow, "open", *_again(rich, job))
    rich.refused("not the runner's open job", TRAINER, rich.escrow, "confirm", *rich.confirming(job))
    rich.advance(DAY + 1)
    rich.refused("claims still run", TRAINER, rich.escrow, "reclaim", 0, job.prev)
    assert rich.skipped(*[rich.claim(job, TREE, i) for i in range(3)]) == {}
    assert rich.balance(OWNER.address) == TREE.total


def _again(world: World, job: Job) -> tuple[Any, ...]:
    return job.lane, world.now + DAY, RUNNER.address, world.spec(), 0, [], job.prev


@pytest.fixture(scope="module")
def claimable(deployed: World) -> Any:
    assert deployed.embedded is not None
    with deployed.embedded.duplicate() as embedded:
        world = attach(embedded, deployed)
        world.fund(OTHER_OWNER, 10_000)
        world.fund(TRAINER, 1_000)
        yield world, world.confirm(world.open(TREE.root))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    index=st.integers(0, 2),
    field=st.sampled_from(
        ["payer", "lane", "times", "root", "order", "consent", "payee", "amount", "position", "proof"]
    ),
    bit=st.integers(0, 255),
)
def test_a_claim_with_one_bit_changed_is_never_paid(claimable: Any, index: int, field: str, bit: int) -> None:
    world, job = claimable
    entry = world.claim(job, TREE, index)
    value = entry[field]
    if isinstance(value, bytes):
        place = bit % (8 * len(value))
        entry[field] = bytes(b ^ (1 << place % 8 if i == place // 8 else 0) for i, b in enumerate(value))
    elif isinstance(value, list):
        entry[field] = [value[0] ^ 1 << bit, *value[1:]]
    else:
        entry[field] = value ^ 1 << (bit % 96 if field == "lane" else bit)
    before = world.balance(world.escrow.address)
    assert world.skipped(entry).keys() == {0}
    assert world.balance(world.escrow.address) == before
