"""A job from its quote to its end: open → release → train → confirm or settle.

`run_job` begins a job or goes on with one that a crash, a kill or Ctrl-C left anywhere: it looks at the job's folder
and the chain and does what is missing. Training begins again at step 0 of a plan; nothing that was opened before is
left anywhere to go on from. `Finished` and the folder hold all that a statement needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consent.chain.account import Account
from consent.order import Order
from consent.recipe import Recipe
from consent.tree import SumTree
from core.errors import InvalidInput, Refused, Unavailable
from core.ids import ConsentId
from finetune.broker import UNSANDBOXED, Broker, Progress, Trained, measure, prepare
from finetune.ledger import Ledger, Tally, cut_torn_entry
from finetune.opening import RUN_SECONDS, finish_opening, licences_of, open_job
from finetune.recipe_settings import TrainSettings
from finetune.releasing import Doors, add_refusals, open_doors, refusals_of
from finetune.scratch import Scratch
from finetune.settle import StatementHook, close_books, finish_job, outcome_of, post_end, tally_of, tell_totals
from finetune.site import Site
from finetune.trainer_process import TrainerProcess
from finetune.watch import Watch, chain_look
from finetune.workspace import State, Workspace

if TYPE_CHECKING:
    from finetune.model.tokenizer import RecordTokenizer

Heldout = Mapping[str, Sequence[Mapping[str, Any]]]
_TRAINING = (State.OPEN, State.RELEASING, State.TRAINING)


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


@dataclass(frozen=True)
class Work:
    """What to train with: the base model's folder, records to measure loss on, prompts to try, the statement."""

    base: Path
    heldout: Heldout
    statement_hook: StatementHook | None = None
    on_trained: Callable[[TrainerProcess, RecordTokenizer], None] | None = None


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
    recipe = Recipe.decode(job.get("recipe.json"))
    opening = SumTree.decode(job.get("tree.cbor"))
    if job.state is State.DONE:
        return _finished(job, Order.decode(job.get("order.cbor")), opening)
    needs_training = job.state not in (State.CONFIRMING, State.SETTLING) and not job.facts.get("trained")
    if needs_training:
        _check_base(work.base, recipe)
    with ExitStack() as stack:
        # Its imports take seconds, in which the job is opened and the keepers are asked.
        trainer = stack.enter_context(site.trainer()) if needs_training else None
        if job.state is State.QUOTED:
            if payer is None:
                raise InvalidInput("The job is not open yet.", hint="Run it as its payer.")
            _check_gas(site)
            open_job(site, job, payer, seconds=seconds)
        elif job.state is State.OPENING:
            finish_opening(site, job)
        order = Order.decode(job.get("order.cbor"))
        cut_torn_entry(job.ledger, order.job_id)
        outcome = outcome_of(site, order)
        if outcome != "open":
            close_books(site, job, order, outcome)
            return _finished(job, order, opening)
        if job.state in _TRAINING and not job.facts.get("trained"):
            assert trainer is not None
            _train(site, job, order, recipe, work, trainer)
    if job.state in _TRAINING:
        finish_job(site, job, order, work.statement_hook)
    else:
        post_end(site, job, order, site.runner.account)
    return _finished(job, order, opening)


def _train(site: Site, job: Workspace, order: Order, recipe: Recipe, work: Work, trainer: TrainerProcess) -> None:
    from finetune.model.tokenizer import load_tokenizer
    from finetune.trainer import harden

    harden()
    site.report(Progress("release", note=UNSANDBOXED))
    job.advance(State.RELEASING)
    job.put_adapter({})  # of an attempt that was cut short: the ledger will not tell of it
    licences = licences_of(job)
    doors = open_doors(site, job, order, licences)
    try:
        if doors.accesses:
            taking = {access.consent_id: licences[access.consent_id] for access in doors.accesses}
            watch = Watch(chain_look(site.market, taking, order.payer, order.counted, clock=site.clock), site.pace)
            with Scratch(job.folder) as scratch:
                tokenizer = load_tokenizer(work.base)
                _walk(site, job, order, recipe, work, trainer, doors, watch, scratch, tokenizer)
        else:
            job.advance(State.TRAINING)
    finally:
        for access in doors.accesses:
            access.close()
    job.note(trained=True)


def _walk(
    site: Site,
    job: Workspace,
    order: Order,
    recipe: Recipe,
    work: Work,
    trainer: TrainerProcess,
    doors: Doors,
    watch: Watch,
    scratch: Scratch,
    tokenizer: RecordTokenizer,
) -> Trained | None:
    licences = {access.consent_id: access.licence for access in doors.accesses}
    prepared = prepare(doors.accesses, tokenizer, recipe, order.job_id, scratch, watch, site.report)
    for access in doors.accesses:
        access.close()  # every object was opened once; from here on only the scratch can be read
    job.put("plan.cbor", prepared.plan.encode())
    job.put("plan.sig", prepared.plan.sign(site.runner.account))
    job.put_value("reading.json", _reading(prepared.readings))
    job.advance(State.TRAINING)
    with Ledger(job.ledger, order.job_id) as ledger:

        def on_drop(ended: Mapping[ConsentId, str]) -> None:
            add_refusals(job, licences, {c: {0: reason} for c, reason in ended.items()}, "training")
            tell_totals(site, order, licences, {c: ledger.tally.owed(c) for c in ended})
            for reason in ended.values():
                site.report(Progress("train", note=reason))

        ledger.start(prepared.plan.hash())
        # Here and not in the walk: a consent that ended while records were read may have none in the plan.
        early = {consent: reason for consent, reason in watch.ended.items() if consent in licences}
        if early:
            ledger.drop(0, sorted(early))
            on_drop(early)
        steps = prepared.plan.count_steps()
        if steps == 0:
            return None
        settings = TrainSettings.of_recipe(recipe, base=str(work.base), total_steps=steps, threads=site.threads)
        trainer.configure(settings)
        site.report(Progress("measure", steps=steps))
        before = measure(trainer, tokenizer, work.heldout, recipe.sequence, base=True)
        broker = Broker(prepared, scratch, trainer, ledger, watch, site.report, on_drop)
        trained = broker.train(steps)
        if trained.steps == 0:
            return trained
        site.report(Progress("measure", step=trained.steps, steps=steps))
        after = measure(trainer, tokenizer, work.heldout, recipe.sequence, base=False)
        if work.on_trained is not None:
            work.on_trained(trainer, tokenizer)
        files = trainer.finish()
    job.put_value(
        "losses.json",
        {name: {"before": before[name][0], "after": after[name][0], "tokens": after[name][1]} for name in after},
    )
    job.put_adapter(files)
    job.note(trained=True)
    return trained


def _reading(readings: Mapping[ConsentId, Any]) -> list[dict[str, Any]]:
    return [
        {
            "consent": "0x" + consent.hex(),
            "records": reading.records,
            "tokens": reading.tokens,
            "unread": [
                {"object": "0x" + object_id.hex(), "place": place, "reason": reason}
                for object_id, place, reason in reading.unread
            ],
            "further": reading.further,
        }
        for consent, reading in sorted(readings.items())
    ]


def _finished(job: Workspace, order: Order, opening: SumTree) -> Finished:
    outcome = str(job.facts.get("outcome", ""))
    final = SumTree.decode(job.get("final.cbor")) if outcome == "settled" and job.has("final.cbor") else opening
    return Finished(job, order, opening, final, outcome)


def _check_base(base: Path, recipe: Recipe) -> None:
    from finetune.model.load import base_model_hash

    if base_model_hash(base) != recipe.base_hash:
        raise InvalidInput(
            f"The model in {base} is not the one that the recipe names.",
            hint="Give the folder of the recipe's base model, unchanged.",
        )


def _check_gas(site: Site) -> None:
    account = site.runner.account
    if site.market.chain.balance(account.address) == 0:
        raise Refused(
            f"The runner 0x{account.address.hex()} has no money for gas, so it could not end the job.",
            hint="Send it some, on a development chain by `allod faucet`.",
        )
    if len(site.ports) < site.committee.t:
        raise Unavailable("Too few keepers can be reached.", hint="Check the committee's endpoints.")
