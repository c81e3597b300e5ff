"""A job from its quote to its end: open → release → train → confirm or settle.

`run_job` begins a job or goes on with one that a crash, a kill or Ctrl-C left anywhere: it calls the stages one after
another (`finetune.stages`), and each does what is missing. `Finished` and the folder hold all that a statement needs.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from consent.chain.account import Account
from consent.order import Order
from consent.recipe import Recipe
from consent.tree import SumTree
from finetune.broker import UNSANDBOXED, Progress
from finetune.ledger import Tally
from finetune.opening import RUN_SECONDS
from finetune.releasing import refusals_of
from finetune.settle import tally_of
from finetune.site import Site
from finetune.stages import Work, check_base, open_stage, release_stage, settle_stage, train_stage
from finetune.workspace import State, Workspace, needs_training


@dataclass(frozen=True)
class Finished:
    """A job that is over. `job` is its folder, which holds every document; amounts are in the trees."""

    job: Workspace
    order: Order
    opening: SumTree
    final: SumTree
    outcome: str

    @property
    def adapter(self) -> dict[str, bytes]:
        """The adapter's files by name; empty if no step could be taken."""
        return self.job.adapter()

    @property
    def refusals(self) -> list[dict[str, Any]]:
        """Who took no part, or not to the end, and why."""
        return refusals_of(self.job)

    @property
    def losses(self) -> dict[str, dict[str, int]]:
        """Held-out loss in millionths of a nat by name: before, after, and the tokens measured."""
        return dict(self.job.get_value("losses.json")) if self.job.has("losses.json") else {}

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """The job's transactions: what, hash, gas, block."""
        return list(self.job.get_value("transactions.json")) if self.job.has("transactions.json") else []

    @property
    def tally(self) -> Tally:
        """What the ledger counts."""
        return tally_of(self.job, self.order)

    @property
    def sandbox(self) -> str:
        """What kept the trainer in: nothing, so far."""
        return UNSANDBOXED


def run_job(
    site: Site, job: Workspace, work: Work, *, payer: Account | None = None, seconds: int = RUN_SECONDS
) -> Finished:
    """Begin a job, or go on with it wherever it stopped.

    `payer` is needed until the job is open. `seconds` is how long it stays open at most. Ctrl-C ends the trainer and
    leaves the folder fit to go on; `money` says what happens to the money then.
    """
    with job.hold():
        try:
            return _run(site, job, work, payer, seconds)
        except KeyboardInterrupt:
            site.report(Progress("settle", note=money(job)))
            raise


def money(job: Workspace) -> str:
    """One sentence for people: what happens to the job's money if nothing more is done."""
    match job.state:
        case State.QUOTED:
            return "No money has moved."
        case State.OPENING:
            return "The opening may or may not be on chain: run the job again to find out."
        case State.CONFIRMING:
            return "The owners are to be paid in full; run the job again to let them claim now instead of at its end."
        case State.SETTLING:
            return "A refund is agreed but not posted: run the job again before it ends, or the owners get it all."
        case State.DONE:
            return f"The job is over: {job.facts.get('outcome', 'done')}."
        case _:
            return (
                "The money is locked. Run the job again to go on, or settle it for a refund of what was not released; "
                "if nothing is done, the owners can claim all of it at the job's end."
            )


def _run(site: Site, job: Workspace, work: Work, payer: Account | None, seconds: int) -> Finished:
    with ExitStack() as stack:
        trainer = None
        if needs_training(job):
            check_base(work.base, Recipe.decode(job.get("recipe.json")))
            # Its imports take seconds, in which the job is opened and the keepers are asked.
            trainer = stack.enter_context(site.trainer())
        open_stage(site, job, work, payer=payer, seconds=seconds)
        release_stage(site, job)
        train_stage(site, job, work, trainer)
    settle_stage(site, job, work.statement_hook)
    return finished(job)


def finished(job: Workspace) -> Finished:
    """What came of a job that is done."""
    opening, outcome = SumTree.decode(job.get("tree.cbor")), str(job.facts.get("outcome", ""))
    final = SumTree.decode(job.get("final.cbor")) if outcome == "settled" and job.has("final.cbor") else opening
    return Finished(job, Order.decode(job.get("order.cbor")), opening, final, outcome)
