"""Deposits, jobs and claims: what the escrow does, and each of its refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consent.chain.account import SECP256K1_ORDER
from consent.chain.contract import create
from consent.chain.embedded import developer
from consent.contracts import load
from consent.order import CLAIM_TIME, MAX_RUN, Order
from consent.tree import Leaf, SumTree, join
from consent.typed import keccak, permit_digest
from core.errors import Refused
from core.ids import NOBODY, ConsentId
from tests.contracts.world import (
    BRIEF,
    DAY,
    KEEPER_ADDRESSES,
    KEEPERS,
    OTHER_OWNER,
    OWNER,
    QUORUM,
    RELAYER,
    RUNNER,
    STRANGER,
    TRAINER,
    Job,
    World,
    absent,
    account,
    hash_committee,
    tree_of,
)

NO_SUCH_JOB, NOT_YET, BAD_PROOF, SPENT, FAILED, NOTHING = range(1, 7)
TREE = tree_of(700, 200, 100)


@pytest.fixture
def job(world: World) -> Job:
    """A job of TRAINER over TREE, open, with 500 UNITs left in the deposit."""
    world.fund(TRAINER, 1500)
    return world.open(TREE.root)


# -- deployment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "words"), [(0, "wrong unit"), (10, "wrong unit")])
def test_the_unit_follows_from_the_tokens_decimals(world: World, unit: int, words: str) -> None:
    artifact = load("JobEscrow")
    with pytest.raises(Refused, match=words):
        create(
            world.chain, developer(), artifact.abi, artifact.bytecode,
            world.money.address, unit, world.token.address,
        )  # fmt: skip
    assert world.escrow.read("unit") == 1


def test_an_escrow_without_contracts_behind_it_is_not_deployed(world: World) -> None:
    artifact = load("JobEscrow")
    for token, consents in ((world.money.address, STRANGER.address), (STRANGER.address, world.token.address)):
        with pytest.raises(Refused):
            create(world.chain, developer(), artifact.abi, artifact.bytecode, token, 1, consents)
    assert world.escrow.read("token") == world.money.address
    assert world.escrow.read("consents") == world.token.address


# -- deposits ---------------------------------------------------------------------------------------------------------


def permit(world: World, amount: int, deadline: int, who: Any = TRAINER) -> tuple[int, bytes, bytes]:
    digest = permit_digest(
        world.money.read("DOMAIN_SEPARATOR"),
        who.address,
        world.escrow.address,
        amount,
        world.money.read("nonces", who.address),
        deadline,
    )
    made = who.sign_hash(digest)
    return made[64], made[:32], made[32:64]


def test_a_deposit_by_permit_needs_no_approval(world: World) -> None:
    world.send(developer(), world.money, "mint", TRAINER.address, 1000)
    deadline = world.now + 100
    receipt = world.send(TRAINER, world.escrow, "deposit", 600, deadline, *permit(world, 600, deadline))
    assert world.events(receipt, "Deposited") == [{"payer": TRAINER.address, "amount": 600}]
    assert (world.deposit_of(TRAINER), world.balance(TRAINER.address)) == (600, 400)
    assert world.balance(world.escrow.address) == 600


def test_a_permit_that_somebody_sent_first_does_not_stop_the_deposit(world: World) -> None:
    world.send(developer(), world.money, "mint", TRAINER.address, 1000)
    deadline = world.now + 100
    signature = permit(world, 600, deadline)
    world.send(STRANGER, world.money, "permit", TRAINER.address, world.escrow.address, 600, deadline, *signature)
    world.send(TRAINER, world.escrow, "deposit", 600, deadline, *signature)
    assert world.deposit_of(TRAINER) == 600


def test_anothers_permit_deposits_nothing_of_theirs(world: World) -> None:
    world.send(developer(), world.money, "mint", TRAINER.address, 1000)
    deadline = world.now + 100
    signature = permit(world, 600, deadline)
    with pytest.raises(Refused):
        world.send(STRANGER, world.escrow, "deposit", 600, deadline, *signature)
    assert (world.balance(TRAINER.address), world.deposit_of(STRANGER)) == (1000, 0)


def test_a_deposit_without_allowance_or_balance_is_refused(world: World) -> None:
    zeros = (0, 0, bytes(32), bytes(32))
    world.refused("allowance too low", TRAINER, world.escrow, "deposit", 5, *zeros)
    world.send(TRAINER, world.money, "approve", world.escrow.address, 5)
    world.refused("balance too low", TRAINER, world.escrow, "deposit", 5, *zeros)


def test_a_payer_takes_back_what_is_not_locked_and_nothing_more(world: World, job: Job) -> None:
    world.refused("deposit too low", TRAINER, world.escrow, "withdraw", 501)
    world.refused("deposit too low", STRANGER, world.escrow, "withdraw", 1)
    receipt = world.send(TRAINER, world.escrow, "withdraw", 500)
    assert world.events(receipt, "Withdrawn") == [{"payer": TRAINER.address, "amount": 500}]
    assert world.balance(TRAINER.address) == 500
    assert world.balance(world.escrow.address) == TREE.total


# -- opening ----------------------------------------------------------------------------------------------------------


def test_opening_locks_the_trees_sum_and_commits_to_everything(world: World, job: Job) -> None:
    assert world.deposit_of(TRAINER) == 500
    order = Order(
        chain_id=world.chain.chain_id,
        escrow=world.escrow.address,
        payer=TRAINER.address,
        lane=0,
        opened=job.times >> 40,
        start=job.start,
        runner=RUNNER.address,
        recipe_hash=bytes([1]) * 32,
        job_pk=bytes(1216),
        fee=0,
        q=QUORUM,
        keepers=tuple(KEEPER_ADDRESSES),
        root=TREE.root,
    )
    assert world.lane(job) == order.open_word
    assert order.job_id == world.job_id(job)


def opening(world: World, **changes: Any) -> tuple[Any, ...]:
    arguments = {
        "lane": 1, "stop": world.now + DAY, "runner": RUNNER.address, "spec": world.spec(), "root": tree_of(10).root,
        "counted": [], "prev": [0, 0, 0],
    }  # fmt: skip
    return tuple({**arguments, **changes}.values())


def test_stop_lies_after_now_and_within_thirty_days(world: World, job: Job) -> None:
    now = world.now  # the next block is at least one second later
    for stop in (0, now, now + MAX_RUN + 1000, 2**256 - 1):
        world.refused("stop out of range", TRAINER, world.escrow, "open", *opening(world, stop=stop))
    world.send(TRAINER, world.escrow, "open", *opening(world, stop=now + MAX_RUN))


def test_a_job_has_a_runner_and_the_money_for_its_tree(world: World, job: Job) -> None:
    world.refused("no runner", TRAINER, world.escrow, "open", *opening(world, runner=NOBODY))
    for root in (tree_of(501).root, tree_of(2**64 - 1).root):
        world.refused("deposit too low", TRAINER, world.escrow, "open", *opening(world, root=root))
        world.refused("deposit too low", STRANGER, world.escrow, "open", *opening(world, root=root))


def test_a_lane_is_not_reused_while_its_claims_run(world: World, job: Job) -> None:
    small = tree_of(10).root
    world.refused("claims still run", TRAINER, world.escrow, "open", *opening(world, lane=0, root=small, prev=job.prev))
    job = world.confirm(job)
    world.advance(CLAIM_TIME - 100)
    world.refused("claims still run", TRAINER, world.escrow, "open", *opening(world, lane=0, root=small, prev=job.prev))
    world.advance(200)
    world.open(small, prev=job.prev)
    assert world.deposit_of(TRAINER) == 500 + TREE.total - 10


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_lane_is_reused_only_by_who_knows_its_former_job(world: World, job: Job, place: int) -> None:
    world.advance(MAX_RUN + CLAIM_TIME + DAY)
    prev = job.prev
    prev[place] ^= 1 << 100
    words = "not the lane's former job"
    world.refused(words, TRAINER, world.escrow, "open", *opening(world, lane=0, prev=prev))
    world.refused(words, TRAINER, world.escrow, "open", *opening(world, lane=0, prev=[0, 0, 0]))
    world.refused("no such job", TRAINER, world.escrow, "reclaim", 0, prev)


def test_a_fully_paid_lane_is_free_at_once(world: World, job: Job) -> None:
    job = world.confirm(job)
    assert world.skipped(*[world.claim(job, TREE, i) for i in range(3)]) == {}
    again = world.open(tree_of(10).root, prev=job.prev)
    assert again.times >> 40 > job.times >> 40


# -- confirming -------------------------------------------------------------------------------------------------------


def test_the_runner_starts_the_claims_and_posts_its_statement(world: World, job: Job) -> None:
    receipt = world.send(RUNNER, world.escrow, "confirm", *world.confirming(job))
    (event,) = world.events(receipt, "Settled")
    assert event["statement"] == bytes([0x5A]) * 32
    assert (event["times"] >> 40, event["root"]) == (job.times >> 40, job.root)
    assert event["times"] & (2**40 - 1) == world.now
    assert world.remaining(job) == TREE.total


@pytest.mark.parametrize("who", [TRAINER, OWNER, KEEPERS[0]])
def test_only_the_runner_confirms(world: World, job: Job, who: Any) -> None:
    if who is KEEPERS[0]:
        world.chain.send(developer(), who.address, value=10**18, gas=21_000)
    world.refused("not the runner's open job", who, world.escrow, "confirm", *world.confirming(job))


@pytest.mark.parametrize(
    "change",
    [{"lane": 1}, {"payer": STRANGER.address}, {"root": TREE.root ^ 1}, {"spec": bytes(32)}, {"counted": b"\1" * 32}],
)
def test_a_confirmation_fits_its_job_exactly(world: World, job: Job, change: dict[str, Any]) -> None:
    other = replace(job, **change)
    world.refused("not the runner's open job", RUNNER, world.escrow, "confirm", *world.confirming(other))
    later = replace(job, times=job.times + 1)
    world.refused("not the runner's open job", RUNNER, world.escrow, "confirm", *world.confirming(later))


def test_once_claims_have_begun_nothing_is_confirmed_or_settled(world: World, job: Job) -> None:
    confirmed = world.confirm(job)
    for late in (confirmed, job):
        words = "claims have begun" if late is confirmed else "not the runner's open job"
        world.refused(words, RUNNER, world.escrow, "confirm", *world.confirming(late))
    world.refused("claims have begun", STRANGER, world.escrow, "settle", *world.settling(confirmed, 0))


def test_after_stop_the_opening_tree_stands(world: World, job: Job) -> None:
    world.advance(DAY + 1)
    world.refused("claims have begun", RUNNER, world.escrow, "confirm", *world.confirming(job))
    world.refused("claims have begun", STRANGER, world.escrow, "settle", *world.settling(job, 0))
    assert world.skipped(*[world.claim(job, TREE, i) for i in range(3)]) == {}
    assert world.balance(OWNER.address) == TREE.total


# -- settling ---------------------------------------------------------------------------------------------------------


def test_the_keepers_lower_the_tree_and_the_payer_gets_the_difference(world: World, job: Job) -> None:
    final = TREE.lowered({TREE.leaves[0].consent_id: 50, TREE.leaves[1].consent_id: 0})
    settled = world.settle(job, final.root, statement=bytes([9]) * 32)
    assert world.deposit_of(TRAINER) == 500 + TREE.total - 150
    assert world.remaining(settled) == 150
    assert world.skipped(*[world.claim(settled, final, i) for i in range(3)]) == {1: NOTHING}
    assert world.balance(OWNER.address) == 150
    assert world.skipped(world.claim(settled, TREE, 0)) == {0: BAD_PROOF}


def test_a_settlement_may_keep_the_sum(world: World, job: Job) -> None:
    settled = world.settle(job, TREE.root)
    assert (world.deposit_of(TRAINER), world.remaining(settled)) == (500, TREE.total)


def test_the_sum_never_rises(world: World, job: Job) -> None:
    richer = tree_of(700, 200, 101).root
    world.refused("the sum may not rise", STRANGER, world.escrow, "settle", *world.settling(job, richer))
    world.refused("the sum may not rise", STRANGER, world.escrow, "settle", *world.settling(job, 2**64 - 1))


@pytest.mark.parametrize(
    "signers",
    [
        (0, 1, None), (None, 1, 2), (None, None, 2), (0, 0, 1), (0, 2, 1), (2, 1, 0), (1, 1, 1), (0, 1, 1),
    ],
)  # fmt: skip
def test_q_different_keepers_sign_in_their_own_seats(world: World, job: Job, signers: tuple[int | None, ...]) -> None:
    words = "not the keepers' signatures"
    world.refused(words, STRANGER, world.escrow, "settle", *world.settling(job, 0, signers=signers))


def test_nobody_is_no_quorum(world: World, job: Job) -> None:
    for signers in ((), (None,), (None, None, None)):
        words = "not the quorum"
        world.refused(words, STRANGER, world.escrow, "settle", *world.settling(job, 0, signers=signers))


def test_the_seats_are_those_of_the_whole_committee_and_of_nobody_else(world: World, job: Job) -> None:
    *others, seats = world.settling(job, 0)
    stranger = absent(STRANGER.address)
    for wrong in (
        seats[:1], seats[:2], seats[1:], seats[::-1], [*seats, seats[0]], [*seats, stranger], [stranger, *seats],
        [*seats, [0, 0]], [*seats[:2], stranger], [seats[0]] * 16,
    ):  # fmt: skip
        words = "not the keepers' signatures"
        world.refused(words, STRANGER, world.escrow, "settle", *others, wrong)
    with pytest.raises(Refused):
        world.send(STRANGER, world.escrow, "settle", *others, [seats[0]] * 17)


def test_exactly_q_of_the_committee_sign_and_any_will_do(world: World) -> None:
    five = [account(number) for number in range(11, 16)]
    addresses = [keeper.address for keeper in five]
    world.fund(TRAINER, 1000)
    spec = world.spec(addresses, 4)
    for lane, signers in enumerate(((0, 1, 2, 3, None), (None, 1, 2, 3, 4), (0, 1, None, 3, 4))):
        stop = world.now + DAY
        arguments = (lane, stop, RUNNER.address, spec, tree_of(10).root, [], [0, 0, 0])
        receipt = world.send(TRAINER, world.escrow, "open", *arguments)
        (opened,) = world.events(receipt, "Opened")
        job = Job(TRAINER.address, lane, opened["times"], RUNNER.address, spec, tree_of(10).root, bytes(32))
        for wrong in ((0, 1, 2, 3, 4), (0, 1, 2, None, None)):
            words = "not the keepers' signatures"
            settled = world.settling(job, 0, signers=wrong, keepers=five, quorum=4)
            world.refused(words, STRANGER, world.escrow, "settle", *settled)
        settled = world.settling(job, 0, signers=signers, keepers=five, quorum=4)
        for seat, index in enumerate(signers):
            if index is None:  # the seat's address with anything above it is no address
                dirty = [list(pair) for pair in settled[-1]]
                dirty[seat][0] |= 1 << 160
                with pytest.raises(Refused):
                    world.send(STRANGER, world.escrow, "settle", *settled[:-1], dirty)
        world.send(STRANGER, world.escrow, "settle", *settled)
        assert world.lane(job) & (2**64 - 1) == 0


@pytest.mark.parametrize("quorum", [1, 11, 16])
def test_a_committee_of_sixteen_settles(world: World, quorum: int) -> None:
    keepers = [account(number) for number in range(11, 27)]
    addresses = [keeper.address for keeper in keepers]
    world.fund(TRAINER, 10)
    spec, root = world.spec(addresses, quorum), tree_of(10).root
    arguments = (0, world.now + DAY, RUNNER.address, spec, root, [], [0, 0, 0])
    (opened,) = world.events(world.send(TRAINER, world.escrow, "open", *arguments), "Opened")
    job = Job(TRAINER.address, 0, opened["times"], RUNNER.address, spec, root, bytes(32))
    signers = [None] * (16 - quorum) + list(range(16 - quorum, 16))
    settled = world.settling(job, 0, signers=signers, keepers=keepers, quorum=quorum)
    world.send(STRANGER, world.escrow, "settle", *settled)
    assert world.deposit_of(TRAINER) == 10


@pytest.mark.parametrize(
    "case", ["high s", "no point", "half a signature", "other statement", "other root", "other job", "other escrow"]
)
def test_a_keepers_signature_is_for_this_settlement_alone(world: World, job: Job, case: str) -> None:
    arguments = list(world.settling(job, 0))
    words = "not the keepers' signatures"
    if case == "high s":
        r, half = arguments[-1][0]
        high = SECP256K1_ORDER - (half & (2**255 - 1))
        arguments[-1][0] = [r, (high & (2**255 - 1)) | (1 - (half >> 255)) << 255]
    elif case == "no point":
        arguments[-1] = [[0, 1]] * 3
        words = "no signature"
    elif case == "half a signature":
        arguments[-1][0] = [arguments[-1][0][0], 1 << 255]
        words = "no signature"
    elif case == "other statement":
        arguments[8] = bytes([1]) * 32
    elif case == "other root":
        arguments[7] = tree_of(1).root
    elif case == "other job":
        again = replace(job, lane=5)
        arguments[-1] = world.settling(again, 0)[-1]
    else:
        arguments[-1] = world.settling(job, 0, digest=bytes([7]) * 32)[-1]
    world.refused(words, STRANGER, world.escrow, "settle", *arguments)


def test_a_foreign_committee_settles_nothing(world: World, job: Job) -> None:
    strangers = [account(number) for number in (31, 32, 33)]
    words = "no such open job"
    world.refused(words, TRAINER, world.escrow, "settle", *world.settling(job, 0, keepers=strangers))
    for quorum, signers in ((1, (0, None, None)), (2, (0, 1, None)), (0, ()), (0, (None, None, None))):
        arguments = world.settling(job, 0, quorum=quorum, signers=signers)
        world.refused(words, TRAINER, world.escrow, "settle", *arguments)


def test_a_committee_of_nobody_settles_nothing(world: World) -> None:
    """Whoever opens with keeper 0, or a quorum of none, waits until the opening tree stands."""
    world.fund(TRAINER, 100)
    for lane, (quorum, keepers) in enumerate(((1, [NOBODY]), (0, []), (0, [NOBODY]))):
        committee = hash_committee(quorum, keepers)
        spec, root = keccak(BRIEF + committee), tree_of(10).root
        arguments = (lane, world.now + DAY, RUNNER.address, spec, root, [], [0, 0, 0])
        (opened,) = world.events(world.send(TRAINER, world.escrow, "open", *arguments), "Opened")
        for words, seats in (
            ("not the quorum", [absent(keeper) for keeper in keepers]),
            ("no signature", [[0, 1]]),  # what recovers to nobody is not nobody's signature
            ("not the keepers' signatures", [[1, 1]]),
        ):
            world.refused(
                words, STRANGER, world.escrow, "settle", TRAINER.address, lane, opened["times"], RUNNER.address, BRIEF,
                root, bytes(32), 0, bytes(32), committee, seats,
            )  # fmt: skip


# -- claiming ---------------------------------------------------------------------------------------------------------


def test_anyone_claims_for_the_owners_and_each_leaf_once(world: World, job: Job) -> None:
    payees = (OWNER, OTHER_OWNER, RUNNER)
    tree = SumTree([Leaf(ConsentId(bytes([i]) * 32), who.address, 10 + i) for i, who in enumerate(payees)])
    job = world.confirm(world.open(tree.root, lane=1))
    receipt = world.claims(*[world.claim(job, tree, i) for i in range(3)])
    assert [event["amount"] for event in world.events(receipt, "Paid")] == [10, 11, 12]
    assert [world.balance(who.address) for who in payees] == [10, 11, 12]
    assert world.remaining(job) == 0
    assert world.skipped(*[world.claim(job, tree, i) for i in range(3)]) == dict.fromkeys(range(3), SPENT)


def test_claims_wait_for_their_start(world: World, job: Job) -> None:
    assert world.skipped(world.claim(job, TREE, 0)) == {0: NOT_YET}
    confirmed = world.confirm(job)
    assert world.skipped(world.claim(job, TREE, 0), world.claim(confirmed, TREE, 0)) == {0: NO_SUCH_JOB}


def test_one_bad_entry_never_costs_the_batch(world: World, job: Job) -> None:
    job = world.confirm(job)
    good = [world.claim(job, TREE, i) for i in range(3)]
    batch = [
        world.claim(replace(job, lane=9), TREE, 0),
        good[0],
        world.claim(job, TREE, 0, amount=699),
        world.claim(job, TREE, 1, payee=STRANGER.address),
        good[0],
        world.claim(job, TREE, 1, proof=TREE.proof(1)[:1]),
        good[1],
        world.claim(job, TREE, 2, amount=2**64 + 100),
        world.claim(job, TREE, 2, amount=2**256 - 1),
        world.claim(job, TREE, 2, position=TREE.position(2) + (1 << 255)),
        world.claim(job, TREE, 2, consent=bytes(32)),
        world.claim(job, TREE, 2, amount=0),
        good[2],
    ]
    assert world.skipped(*batch) == {
        0: NO_SUCH_JOB, 2: BAD_PROOF, 3: BAD_PROOF, 4: SPENT, 5: BAD_PROOF, 7: BAD_PROOF, 8: BAD_PROOF, 9: BAD_PROOF,
        10: BAD_PROOF, 11: NOTHING,
    }  # fmt: skip
    assert world.balance(OWNER.address) == TREE.total


def test_the_escrow_itself_and_nobody_are_no_payees(world: World, job: Job) -> None:
    leaves = [(world.escrow.address, 5), (NOBODY, 5), (OWNER.address, 7)]
    tree = SumTree([Leaf(ConsentId(bytes([i]) * 32), who, amount) for i, (who, amount) in enumerate(leaves)])
    job = world.confirm(world.open(tree.root, lane=1))
    assert world.skipped(*[world.claim(job, tree, i) for i in range(3)]) == {0: FAILED, 1: FAILED}
    assert (world.balance(OWNER.address), world.remaining(job)) == (7, 10)


def test_a_payee_with_many_leaves_is_paid_over_several_words_of_bits(world: World) -> None:
    tree = tree_of(*range(1, 301))  # depth 9: positions 512 … 811 lie in words 2 and 3
    world.fund(TRAINER, tree.total)
    job = world.confirm(world.open(tree.root))
    chosen = (0, 134, 135, 136, 299)
    assert world.skipped(*[world.claim(job, tree, i) for i in chosen]) == {}
    assert world.skipped(*[world.claim(job, tree, i) for i in chosen]) == dict.fromkeys(range(5), SPENT)
    assert world.balance(OWNER.address) == sum(i + 1 for i in chosen)
    opened = job.times >> 40
    assert world.escrow.read("paid", TRAINER.address, 0, 2) >> 216 == opened
    assert world.escrow.read("paid", TRAINER.address, 0, 4) == 0


def test_the_deepest_proof_has_twenty_steps(world: World) -> None:
    leaf = Leaf(ConsentId(bytes([1]) * 32), OWNER.address, 9)
    world.fund(TRAINER, 30)
    word, proof = leaf.word, [0] * 20
    for sibling in proof:
        word = join(word, sibling)
    job = world.confirm(world.open(word))
    tree = SumTree([leaf])
    assert world.skipped(world.claim(job, tree, 0, position=1 << 20, proof=proof)) == {}
    with pytest.raises(Refused):
        world.claims(world.claim(job, tree, 0, position=1 << 21, proof=[*proof, 0]))


# -- reclaiming -------------------------------------------------------------------------------------------------------


def test_the_payer_reclaims_only_after_the_claims_have_ended(world: World, job: Job) -> None:
    job = world.confirm(job)
    world.claims(world.claim(job, TREE, 1))
    world.refused("claims still run", TRAINER, world.escrow, "reclaim", 0, job.prev)
    world.advance(CLAIM_TIME - 60)
    world.refused("claims still run", TRAINER, world.escrow, "reclaim", 0, job.prev)
    assert world.skipped(world.claim(job, TREE, 2)) == {}
    world.advance(120)
    world.refused("no such job", STRANGER, world.escrow, "reclaim", 0, job.prev)
    world.refused("no such job", TRAINER, world.escrow, "reclaim", 1, [0, 0, 0])
    receipt = world.send(TRAINER, world.escrow, "reclaim", 0, job.prev)
    assert world.events(receipt, "Reclaimed") == [{"payer": TRAINER.address, "lane": 0, "amount": 700}]
    assert world.deposit_of(TRAINER) == 500 + 700
    world.refused("nothing left", TRAINER, world.escrow, "reclaim", 0, job.prev)
    assert world.skipped(world.claim(job, TREE, 0)) == {0: SPENT}
    assert world.lane(job) != 0


def test_claims_that_nobody_reclaimed_go_on_after_their_end(world: World, job: Job) -> None:
    job = world.confirm(job)
    world.advance(3 * CLAIM_TIME)
    assert world.skipped(world.claim(job, TREE, 0)) == {}


def test_lanes_and_payers_are_apart(world: World, job: Job) -> None:
    world.fund(STRANGER, 500)
    other = world.open(tree_of(30).root, payer=STRANGER, lane=0)
    third = world.open(tree_of(40).root, lane=2**96 - 1)
    assert [world.remaining(x) for x in (job, other, third)] == [1000, 30, 40]
    with pytest.raises(Exception, match=r"do not fit"):
        world.open(tree_of(1).root, lane=2**96)


def test_nothing_is_sent_to_the_escrow_in_ether(world: World) -> None:
    with pytest.raises(Refused):
        world.chain.send(RELAYER, world.escrow.address, b"", value=1, gas=100_000)


def test_the_escrow_names_its_signing_domain(world: World) -> None:
    assert world.escrow.read("eip712Domain")[:5] == (
        b"\x0f", "Allod Escrow", "1", world.chain.chain_id, world.escrow.address
    )  # fmt: skip
