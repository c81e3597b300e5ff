"""The training of a job, through crashes: from the newest checkpoint that fits, along the one plan that was signed.

What an attempt does is never undone, only gone on from:

- The plan is made once. A later attempt opens the records again, into a new scratch, and must find the planned ones; a
  consent whose records are not the same takes no further part.
- A checkpoint counts only if it is whole, of this job and this plan, and stands on the ledger's present lineage. Else a
  note says why, and training begins again at step 0.
- A consent that ended, or was dropped in an earlier attempt, is not opened again, and no step uses it from the one on
  at which this attempt begins. Since a checkpoint is taken before every drop, that is the step it was dropped at.

A trainer child that dies or stalls is replaced within the attempt's process, which still has the scratch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consent.chain.account import recover
from consent.order import Order
from consent.recipe import Recipe
from core.errors import Corrupted, InvalidInput, Unavailable
from core.ids import ConsentId
from finetune.access import Released as Shares
from finetune.broker import UNSANDBOXED, Broker, Prepared, Progress, Report, measure, prepare, prepare_again
from finetune.checkpoint import Checkpoints, Every, Point, destroy_checkpoint
from finetune.ledger import Ledger, Tally
from finetune.licence import Licence
from finetune.opening import licences_of
from finetune.plan import Plan, decode_plan
from finetune.recipe_settings import TrainSettings
from finetune.releasing import add_refusals, open_doors
from finetune.scratch import Scratch
from finetune.settle import tally_of, tell_totals
from finetune.site import Site
from finetune.trainer_process import TrainerLost, TrainerProcess
from finetune.watch import Watch, chain_look
from finetune.workspace import State, Workspace

if TYPE_CHECKING:
    from finetune.model.tokenizer import RecordTokenizer
    from finetune.stages import Work

OTHER_RECORDS = "Its records are no longer the ones that were planned."
DROPPED_BEFORE = "It took no further part after an earlier attempt."


def train_job(
    site: Site,
    job: Workspace,
    order: Order,
    recipe: Recipe,
    work: Work,
    shares: Mapping[ConsentId, Shares],
    trainer: TrainerProcess | None,
) -> None:
    """Train on what `shares` open, or go on with it, and keep the adapter. `trainer` is a child that runs already."""
    from finetune.model.tokenizer import load_tokenizer
    from finetune.trainer import harden

    harden()
    site.report(Progress("read", note=UNSANDBOXED))
    job.put_adapter({})  # of an attempt that was cut short: the ledger will not tell of it
    licences = licences_of(job)
    if shares:
        taking = {consent: licences[consent] for consent in sorted(shares)}
        watch = Watch(chain_look(site.market, taking, order.payer, order.counted, clock=site.clock), site.pace)
        with Scratch(job.folder) as scratch:
            tokenizer = load_tokenizer(work.base)
            prepared, lacking = _prepare(site, job, order, recipe, licences, shares, tokenizer, scratch, watch)
            _enter(job, State.TRAINING)
            checkpoints = Checkpoints(job.folder, site.runner.keys.open(order.job_pk), order.job_id)
            with Ledger(job.ledger, order.job_id) as ledger:
                run = _Run(site, job, order, recipe, work, licences, watch, scratch, tokenizer, prepared, ledger)
                run.ended = dict.fromkeys(lacking, OTHER_RECORDS) | run.ended
                files = run.train(checkpoints, trainer)
        if files is not None:
            job.put_adapter(files)
    else:
        _enter(job, State.TRAINING)
    job.note(trained=True)
    destroy_checkpoint(job.folder)


def _enter(job: Workspace, state: State) -> None:
    if job.state is not state:
        job.advance(state)


def _prepare(
    site: Site,
    job: Workspace,
    order: Order,
    recipe: Recipe,
    licences: Mapping[ConsentId, Licence],
    shares: Mapping[ConsentId, Shares],
    tokenizer: RecordTokenizer,
    scratch: Scratch,
    watch: Watch,
) -> tuple[Prepared, frozenset[ConsentId]]:
    """The plan that stands, or a new one, its records in the scratch; and the consents that lack some of theirs."""
    tally = tally_of(job, order)
    plan = _standing_plan(job, order, recipe, tally)
    watch.poll()  # before anything is opened
    accesses = open_doors(site, order, licences, shares, tally.dropped | set(watch.ended))
    try:
        if plan is not None:
            return prepare_again(plan, accesses, tokenizer, recipe, scratch, watch, site.report)
        prepared = prepare(accesses, tokenizer, recipe, order.job_id, scratch, watch, site.report)
    finally:
        for access in accesses:
            access.close()  # every object was opened once; from here on only the scratch can be read
    job.put_value("reading.json", _reading(prepared.readings))
    job.put("plan.sig", prepared.plan.sign(site.runner.account))
    job.put("plan.cbor", prepared.plan.encode())  # the last: where a plan lies, all that belongs to it does
    return prepared, frozenset()


def _standing_plan(job: Workspace, order: Order, recipe: Recipe, tally: Tally) -> Plan | None:
    """The plan that this runner signed for this job and that the ledger follows, if there is one."""
    if not job.has("plan.cbor") or not job.has("plan.sig"):
        return None
    try:
        plan = decode_plan(job.get("plan.cbor"))
        signer = recover(plan.hash(), job.get("plan.sig"))
    except InvalidInput:
        return None
    of_job = (plan.job, plan.recipe) == (order.job_id, recipe.hash) and tally.plan in (None, plan.hash())
    return plan if of_job and signer == order.runner else None


@dataclass
class _Run:
    """One process's way along the plan, with one trainer child after another."""

    site: Site
    job: Workspace
    order: Order
    recipe: Recipe
    work: Work
    licences: Mapping[ConsentId, Licence]
    watch: Watch
    scratch: Scratch
    tokenizer: RecordTokenizer
    prepared: Prepared
    ledger: Ledger
    ended: dict[ConsentId, str] = field(default_factory=dict)
    before: dict[str, tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        # Also what an earlier attempt dropped: it may have been killed before it told anyone.
        self.ended = dict.fromkeys(self.ledger.tally.dropped, DROPPED_BEFORE)

    def train(self, checkpoints: Checkpoints, trainer: TrainerProcess | None) -> dict[str, bytes] | None:
        """The adapter's files; None if no step could be taken."""
        steps = self.prepared.plan.count_steps()
        lost = 0
        while True:
            with ExitStack() as stack:
                child = trainer or stack.enter_context(self.site.trainer())
                trainer = None
                try:
                    return self._walk(checkpoints, child, steps)
                except TrainerLost as error:
                    child.close()
                    self.site.report(Progress("train", note=error.message))
                    lost += 1
                    if lost > self.site.restarts:
                        hint = f"{error.hint} Run the job again to go on from its last checkpoint, or settle it."
                        raise Unavailable(
                            f"The trainer was lost {lost} times. {error.message}", hint=hint.strip(), **error.detail
                        ) from None

    def _walk(self, checkpoints: Checkpoints, child: TrainerProcess, steps: int) -> dict[str, bytes] | None:
        plan, tally, report = self.prepared.plan, self.ledger.tally, self.site.report
        point = self._point(checkpoints)
        if steps:
            settings = TrainSettings.of_recipe(
                self.recipe, base=str(self.work.base), total_steps=steps, threads=self.site.threads
            )
            child.configure(settings)
            report(Progress("measure", steps=steps))
            if self.before is None:
                self.before = measure(child, self.tokenizer, self.work.heldout, plan.sequence, base=True)
            if point is not None:
                self._restore(checkpoints, child)
        start = 0 if point is None else point.step
        if point is None:
            self.ledger.start(plan.hash())
        else:
            self.ledger.resume(start)
        if tally.attempts > 1:
            way = f"goes on from step {start}" if start else "begins again at step 0"
            report(Progress("train", step=start, steps=steps, note=f"Training {way} of {steps}."))
        self._drop_ended(start)
        saver = _Saver(self.site.checkpoint, checkpoints, child, self.ledger, plan.hash(), report, start)
        broker = Broker(self.prepared, self.scratch, child, self.ledger, self.watch, report, self._on_drop, saver)
        broker.train(steps, start)
        if tally.completed == 0:
            return None
        report(Progress("measure", step=tally.next_step, steps=steps))
        after = measure(child, self.tokenizer, self.work.heldout, plan.sequence, base=False)
        if self.work.on_trained is not None:
            self.work.on_trained(child, self.tokenizer)
        files = child.finish()
        before = self.before or {}
        self.job.put_value(
            "losses.json",
            {name: {"before": before[name][0], "after": after[name][0], "tokens": after[name][1]} for name in after},
        )
        return files

    def _point(self, checkpoints: Checkpoints) -> Point | None:
        """Where the kept checkpoint stands, if this run may go on from it."""
        try:
            point = checkpoints.point()
            if point is None:
                return None
            if point.plan != self.prepared.plan.hash() or self.ledger.tally.plan != point.plan:
                raise Corrupted("The job's checkpoint is of another plan.")
            if not self.ledger.tally.stands_at(point.head, point.step):
                raise Corrupted("The job's checkpoint does not stand on its ledger.")
        except Corrupted as error:
            self.site.report(Progress("train", note=f"{error.message} It is not used."))
            return None
        return point

    def _restore(self, checkpoints: Checkpoints, child: TrainerProcess) -> None:
        """Give the kept state to the child; one that does not fit, as after an upgrade, is never tried again."""
        try:
            child.restore(*checkpoints.state())
        except Corrupted as error:
            destroy_checkpoint(self.job.folder)
            raise TrainerLost(f"{error.message} It is not used.") from None

    def _drop_ended(self, step: int) -> None:
        """Drop what ended before this attempt's first step, and tell of everything that ever was."""
        # Here and not in the walk: a consent that ended while records were read may have none in the plan.
        ended = self.ended | {c: reason for c, reason in self.watch.ended.items() if c in self.licences}
        new = sorted(set(ended) - self.ledger.tally.dropped)
        if new:
            self.ledger.drop(step, new)
        untold = {c: reason for c, reason in ended.items() if c in new or c in self.ended}
        self.ended = {}
        if untold:
            self._on_drop(untold)

    def _on_drop(self, ended: Mapping[ConsentId, str]) -> None:
        add_refusals(self.job, self.licences, {c: {0: reason} for c, reason in ended.items()}, "training")
        tell_totals(self.site, self.order, self.licences, {c: self.ledger.tally.owed(c) for c in ended})
        for reason in ended.values():
            self.site.report(Progress("train", note=reason))


@dataclass
class _Saver:
    """Takes checkpoints of a child between two steps, at its pace."""

    every: Every
    checkpoints: Checkpoints
    child: TrainerProcess
    ledger: Ledger
    plan: bytes
    report: Report
    last: int
    taken: float = field(default_factory=time.monotonic)

    def after_step(self) -> None:
        """Take one if enough steps or seconds have gone by."""
        steps, seconds = self.ledger.tally.next_step - self.last, time.monotonic() - self.taken
        if steps >= self.every.steps or seconds >= self.every.seconds:
            self.save()

    def save(self) -> None:
        """Take one, unless there is one of this very step. A disk that refuses it does not stop the training."""
        tally = self.ledger.tally
        if tally.next_step == self.last:
            return
        size, pieces = self.child.save()
        try:
            self.checkpoints.keep(Point(tally.next_step, self.plan, tally.head), size, pieces)
        except OSError as error:
            for _ in pieces:  # the rest of what the child says
                pass
            self.report(Progress("train", note=f"The checkpoint could not be kept: {error.strerror}."))
        self.last, self.taken = tally.next_step, time.monotonic()


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
