"""The stages of a job: open, release, train, settle. Each may be called again after a crash anywhere in it.

A stage looks at the job's folder and at the chain, does what is missing of its own part, and returns; called twice it
does nothing the second time. Whoever calls one holds the job (`Workspace.hold`) and calls them in this order. A job
that the chain shows to be over is closed by whichever stage notices it; the stages behind it then return at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consent.chain.account import Account
from consent.order import Order
from consent.recipe import Recipe
from core.errors import Conflict, InvalidInput, Refused, Unavailable
from finetune.attempts import train_job
from finetune.broker import Progress
from finetune.ledger import cut_torn_entry
from finetune.opening import (
    RUN_SECONDS,
    await_opening,
    finish_opening,
    follow_opening,
    licences_of,
    open_job,
)
from finetune.releasing import ask_keepers, kept_shares
from finetune.settle import StatementHook, close_books, finish_job, outcome_of, post_end
from finetune.site import Site
from finetune.trainer_process import TrainerProcess
from finetune.workspace import State, Workspace, needs_training

if TYPE_CHECKING:
    from finetune.model.tokenizer import RecordTokenizer

Heldout = Mapping[str, Sequence[Mapping[str, Any]]]
_TRAINING = (State.OPEN, State.RELEASING, State.TRAINING)


@dataclass(frozen=True)
class Work:
    """What to train with: the base model's folder, records to measure loss on, prompts to try, the statement."""

    base: Path
    heldout: Heldout
    statement_hook: StatementHook | None = None
    on_trained: Callable[[TrainerProcess, RecordTokenizer], None] | None = None


def open_stage(
    site: Site, job: Workspace, work: Work, *, payer: Account | None = None, seconds: int = RUN_SECONDS
) -> Order:
    """Lock the money: one transaction, stored before it is sent. `payer` is needed until it is stored."""
    match job.state:
        case State.QUOTED:
            check_base(work.base, Recipe.decode(job.get("recipe.json")))
            if payer is None:
                raise InvalidInput("The job is not open yet.", hint="Run it as its payer.")
            _check_gas(site)
            open_job(site, job, payer, seconds=seconds)
        case State.OPENING:
            finish_opening(site, job)
    return _order(job)


def release_stage(site: Site, job: Workspace) -> None:
    """Have keepers release every consent's shares and keep these, sealed to the job's key, in the job's folder.

    A crash before they are kept asks again. What a keeper refused then stays refused for this job.
    """
    if not needs_training(job) or _is_over(site, job):
        return
    order = _order(job)
    if kept_shares(job, order) is None:
        job.advance(State.RELEASING)
        site.report(Progress("release"))
        await_opening(site, job)
        ask_keepers(site, job, _order(job), licences_of(job))


def train_stage(site: Site, job: Workspace, work: Work, trainer: TrainerProcess | None = None) -> None:
    """Train on what was released, and keep the adapter; a job of which nothing was released is trained at once.

    `trainer` is a child that was started already: its imports take seconds, in which other stages can run.
    """
    if not needs_training(job) or _is_over(site, job):
        return
    order, recipe = _order(job), Recipe.decode(job.get("recipe.json"))
    shares = kept_shares(job, order)
    if shares is None:
        raise Conflict("The keepers' shares of this job are not here.", hint="Release comes before training.")
    check_base(work.base, recipe)
    train_job(site, job, order, recipe, work, shares, trainer)


def settle_stage(site: Site, job: Workspace, hook: StatementHook | None = None) -> None:
    """Choose the final tree, have the statement written, and post the end: then the job is done."""
    if job.state is State.DONE or _is_over(site, job):
        return
    if needs_training(job):
        raise Conflict("The job is not trained yet.", hint="Train it, or settle it as its payer: `allod job settle`.")
    if job.state in _TRAINING:
        finish_job(site, job, _order(job), hook)
    else:
        post_end(site, job, _order(job), site.runner.account)


def check_base(base: Path, recipe: Recipe) -> None:
    """`InvalidInput` unless the folder holds the very base model of the recipe."""
    from finetune.model.load import base_model_hash

    if base_model_hash(base) != recipe.base_hash:
        raise InvalidInput(
            f"The model in {base} is not the one that the recipe names.",
            hint="Give the folder of the recipe's base model, unchanged.",
        )


def _order(job: Workspace) -> Order:
    return Order.decode(job.get("order.cbor"))


def _is_over(site: Site, job: Workspace) -> bool:
    """Whether the chain shows the end of the job; then its books are closed."""
    follow_opening(site, job)
    order = _order(job)
    cut_torn_entry(job.ledger, order.job_id)
    outcome = outcome_of(site, order)
    if outcome == "open":
        return False
    close_books(site, job, order, outcome)
    return True


def _check_gas(site: Site) -> None:
    account = site.runner.account
    if site.market.chain.balance(account.address) == 0:
        raise Refused(
            f"The runner 0x{account.address.hex()} has no money for gas, so it could not end the job.",
            hint="Send it some, on a development chain by `allod faucet`.",
        )
    if len(site.ports) < site.committee.t:
        raise Unavailable("Too few keepers can be reached.", hint="Check the committee's endpoints.")
