"""What an owner earned, job by job, and claiming it through a relayer.

Promises: a tree is believed only if its root is the one on chain, so amounts and states come from the chain alone; a
claim that fails is reported, never a reason to lose the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from consent.market.lanes import Course, courses, remaining
from consent.market.place import Market, Relayer, Sent
from consent.tree import SumTree
from core.ids import Address, ConsentId, JobId

CLAIMS = 16  # claims of one call, the contract's bound
CLAIM_GAS = 120_000  # gas that one claim may take beside its proof: enough for the currency's own transfer

PAID_BEFORE = 4
_SKIPPED = {
    1: "The lane serves another job now.",
    2: "Its claims have not begun.",
    3: "Its tree is not the job's.",
    PAID_BEFORE: "It was paid before.",
    5: "The currency refused the transfer.",
    6: "It is nothing.",
}

TreeLookup = Callable[[JobId, int], SumTree | None]
"""Finds the tree of a job with this root word (the opening or the final one), from keepers or a provenance bundle."""


class EarningState(StrEnum):
    """Where an owner's money of one job is."""

    IN_ESCROW = "in escrow"  # claims have not begun
    CLAIMABLE = "claimable"
    PAID = "paid"
    EXPIRED = "expired"  # claims ended and the payer took it back, or the lane serves another job


@dataclass(frozen=True)
class Earning:
    """One leaf of one job: whose, how much (UNITs), where it is, from when it can be claimed, the paying transaction.

    `index` is the leaf's place in `tree`, the tree in force.
    """

    course: Course
    tree: SumTree
    index: int
    state: EarningState
    tx_hash: bytes | None

    @property
    def job_id(self) -> JobId:
        """The job that pays."""
        return self.course.opening.job_id

    @property
    def consent_id(self) -> ConsentId:
        """The consent that it pays for; 32 zero bytes for a runner's fee."""
        return self.tree.leaves[self.index].consent_id

    @property
    def payee(self) -> Address:
        """Who is paid."""
        return self.tree.leaves[self.index].payee

    @property
    def amount(self) -> int:
        """UNITs."""
        return self.tree.leaves[self.index].amount

    @property
    def claims_begin(self) -> int:
        """Unix seconds."""
        return self.course.start

    @property
    def claims_end(self) -> int:
        """Unix seconds."""
        return self.course.claims_end


@dataclass(frozen=True)
class Claimed:
    """What became of claims: those paid now, those skipped with the reason, the transactions.

    A skipped one that the contract says was paid before, by whoever claimed it, has that state.
    """

    paid: tuple[Earning, ...]
    skipped: tuple[tuple[Earning, str], ...]
    sent: tuple[Sent, ...]


def earnings(
    market: Market, payee: Address, trees: TreeLookup, everything: Sequence[Course] | None = None
) -> list[Earning]:
    """Every leaf that pays this account in a job whose tree `trees` finds, oldest job first.

    Leaves of 0 are left out. A tree whose root is not the job's root in force is ignored. `everything` are the courses
    of all jobs, where the caller has just read them.
    """
    everything = courses(market) if everything is None else everything
    paid = _payments(market, payee, everything)
    now = market.chain.block().timestamp
    out = []
    for course in everything:
        job_id = course.opening.job_id
        tree = trees(job_id, course.root)
        if tree is None or tree.root != course.root:
            continue
        mine = [i for i, leaf in enumerate(tree.leaves) if leaf.payee == payee and leaf.amount]
        if not mine:
            continue
        left: int | None = None
        for index in mine:
            tx_hash = paid.get((job_id, tree.leaves[index].consent_id))
            if left is None and tx_hash is None and now >= course.start:
                left = remaining(market, course)
            state = _state(course, left or 0, now, is_paid=tx_hash is not None)
            out.append(Earning(course, tree, index, state, tx_hash))
    return out


def _payments(market: Market, payee: Address, everything: Iterable[Course]) -> dict[tuple[JobId, bytes], bytes]:
    """The transaction that paid each (job, consent). A payment names its lane only: the lane's job at that moment."""
    lanes: dict[tuple[Address, int], list[tuple[tuple[int, int], JobId]]] = {}
    for course in everything:
        opening = course.opening
        place = (opening.block_number, opening.log_index)
        lanes.setdefault((opening.payer, opening.lane), []).append((place, opening.job_id))
    out = {}
    for event in market.events("escrow", "Paid", payee=payee):
        jobs = lanes.get((event.args["payer"], event.args["lane"]), [])
        before = [job_id for place, job_id in jobs if place < (event.block_number, event.log_index)]
        if before:
            out[before[-1], event.args["consent"]] = event.tx_hash
    return out


def _state(course: Course, left: int, now: int, *, is_paid: bool) -> EarningState:
    if is_paid:
        return EarningState.PAID
    if now < course.start:
        return EarningState.IN_ESCROW
    if left == 0 or not course.current:
        return EarningState.EXPIRED
    return EarningState.CLAIMABLE


def total(found: Iterable[Earning], state: EarningState) -> int:
    """UNITs of all earnings in this state."""
    return sum(earning.amount for earning in found if earning.state is state)


def claim(market: Market, relayer: Relayer, found: Sequence[Earning]) -> Claimed:
    """Pay the claimable ones of these earnings out to their payees, sixteen in a transaction, at the relayer's cost."""
    ready = [earning for earning in found if earning.state is EarningState.CLAIMABLE]
    skipped = [(x, f"It is {x.state.value}.") for x in found if x.state is not EarningState.CLAIMABLE]
    paid: list[Earning] = []
    sent: list[Sent] = []
    for start in range(0, len(ready), CLAIMS):
        done = claim_some(market, relayer, ready[start : start + CLAIMS])
        sent += done.sent
        skipped += done.skipped
        paid += done.paid
    return Claimed(tuple(paid), tuple(skipped), tuple(sent))


def claim_some(market: Market, relayer: Relayer, some: Sequence[Earning]) -> Claimed:
    """Claim at most sixteen earnings in one transaction, whatever their state; the contract skips what it must."""
    structs = [_claim_of(earning) for earning in some]
    gas = 60_000 + sum(CLAIM_GAS + 2_000 * len(struct["proof"]) for struct in structs)
    done = relayer.send("claim", market.escrow, "claim_many", structs, gas=gas)
    reasons = {
        int(event.args["index"]): int(event.args["reason"])
        for event in market.escrow.decode(done.receipt.logs)
        if event.name == "ClaimSkipped"
    }
    paid: list[Earning] = []
    skipped: list[tuple[Earning, str]] = []
    for index, earning in enumerate(some):
        if index in reasons:
            state = EarningState.PAID if reasons[index] == PAID_BEFORE else earning.state
            reason = _SKIPPED.get(reasons[index], "The contract skipped it for another reason.")
            skipped.append((replace(earning, state=state), reason))
        else:
            paid.append(replace(earning, state=EarningState.PAID, tx_hash=done.tx_hash))
    return Claimed(tuple(paid), tuple(skipped), (done,))


def _claim_of(earning: Earning) -> dict[str, Any]:
    """The contract's Claim struct."""
    opening = earning.course.opening
    return {
        "payer": opening.payer,
        "lane": opening.lane,
        "times": earning.course.times,
        "root": earning.course.root,
        "order": opening.order_hash,
        "consent": earning.consent_id,
        "payee": earning.payee,
        "amount": earning.amount,
        "position": earning.tree.position(earning.index),
        "proof": earning.tree.proof(earning.index),
    }
