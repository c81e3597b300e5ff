"""The broker: the one process that holds released keys, and feeds a trainer child that holds none.

`prepare` opens every object once, tokenises it into a scratch of this process and makes the plan; `prepare_again` does
so for a plan that is signed already. `Broker.train` walks the plan step by step. Before each step the consents are
known to hold; a consent that ended loses its records at once and for good. A step counts, durably, when the child has
completed it.

There is no sandbox around the child yet: `UNSANDBOXED` says so wherever a run is shown.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from consent.recipe import Recipe
from core.errors import AllodError, Corrupted, InvalidInput, NotFound, Unavailable
from core.ids import ConsentId, JobId, ObjectId
from finetune.access import Access
from finetune.ledger import Ledger, Use
from finetune.packing import NO_LOSS, Document, Row, pack
from finetune.plan import Plan, PlannedObject, Step
from finetune.scratch import Scratch
from finetune.watch import Watch
from vault.readers import BrokenRecord

if TYPE_CHECKING:
    from finetune.model.tokenizer import RecordTokenizer
    from finetune.trainer_process import TrainerProcess

MAX_UNREAD = 1000  # places that are named for one consent; more are counted
UNSANDBOXED = "UNSANDBOXED: the trainer runs as a child process without a sandbox."


@dataclass(frozen=True)
class Progress:
    """Where a job is. `loss` in nats; `owners` is how many consents still take part; `note` is a sentence or empty."""

    phase: Literal["quote", "open", "release", "read", "train", "measure", "settle", "done"]
    note: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens: int = 0
    tokens_per_second: float = 0.0
    owners: int = 0
    records: int = 0


Report = Callable[[Progress], None]


@dataclass
class Reading:
    """What came of reading one consent's objects."""

    records: int = 0
    tokens: int = 0
    unread: list[tuple[ObjectId, str, str]] = field(default_factory=list)  # object, place, reason
    further: int = 0  # places that were not read either, and are not named

    def leave_out(self, object_id: ObjectId, place: str, reason: str) -> None:
        """Name a place that is not used, as long as there are not too many: a file may be nothing but such places."""
        if len(self.unread) < MAX_UNREAD:
            self.unread.append((object_id, place, reason))
        else:
            self.further += 1


@dataclass(frozen=True)
class Prepared:
    """The plan, and where each of its objects begins in the scratch: None for one that was not opened again."""

    plan: Plan
    bases: tuple[int | None, ...]
    readings: dict[ConsentId, Reading]

    def scratch_number(self, record: int) -> int:
        """The scratch's number of a record of the plan."""
        item, index = self.plan.locate(record)
        base = self.bases[item]
        if base is None:
            raise NotFound("This record was not opened, because its consent has ended.")
        return base + index


def prepare(
    accesses: Sequence[Access],
    tokenizer: RecordTokenizer,
    recipe: Recipe,
    job: JobId,
    scratch: Scratch,
    watch: Watch,
    report: Report,
) -> Prepared:
    """Open, read and tokenise every object once, and plan the job.

    A record that cannot be read or tokenised, or bears no loss, is left out and named by its place; an object whose
    bytes are missing or wrong is left out whole. More records than the header promised are not paid for, so they are
    not used either.
    """
    from finetune.model.tokenizer import encode_record

    planned: list[PlannedObject] = []
    bases: list[int] = []
    readings: dict[ConsentId, Reading] = {}
    for access in sorted(accesses, key=lambda access: access.consent_id):
        consent = access.consent_id
        reading = readings[consent] = Reading()
        _drop_ended(watch, scratch)
        if consent in watch.ended:
            continue
        scratch.begin(consent)
        for object_id in sorted({item.object_id for item in access.licence.objects} - _ids(access)):
            reading.leave_out(object_id, "the object", "Its key was not released.")
        for manifest in access.objects:
            base, tokens = len(scratch), array("I")
            try:
                for record in access.records(manifest.object_id):
                    _drop_ended(watch, scratch)
                    if consent in watch.ended:
                        break
                    if isinstance(record, BrokenRecord):
                        reading.leave_out(manifest.object_id, record.place, record.reason)
                        continue
                    if reading.records + len(tokens) >= access.licence.header.records:
                        reading.leave_out(manifest.object_id, record.place, "It is beyond the count of records.")
                        break
                    try:
                        ids, labels = encode_record(tokenizer, record.document())
                    except AllodError as error:
                        reading.leave_out(manifest.object_id, record.place, error.message)
                        continue
                    if all(label == NO_LOSS for label in labels[1:]):
                        reading.leave_out(manifest.object_id, record.place, "Nothing in it can be learned.")
                        continue
                    scratch.add(ids, labels)
                    tokens.append(len(ids))
            except (Corrupted, NotFound, InvalidInput) as error:  # any other, such as a silent chain, stops the job
                reading.leave_out(manifest.object_id, "the object", error.message)
                continue
            if consent in watch.ended:
                break
            if tokens:
                owner = access.licence.consent.owner
                planned.append(PlannedObject(manifest.object_id, consent, owner, manifest.payload.link, tokens))
                bases.append(base)
                reading.records += len(tokens)
                reading.tokens += sum(tokens)
                report(Progress("read", owners=len(readings), records=len(scratch)))
    plan = Plan(job, recipe.hash, recipe.seed, recipe.epochs, recipe.sequence, recipe.batch_rows, tuple(planned))
    return Prepared(plan, tuple(bases), readings)


def prepare_again(
    plan: Plan,
    accesses: Sequence[Access],
    tokenizer: RecordTokenizer,
    recipe: Recipe,
    scratch: Scratch,
    watch: Watch,
    report: Report,
) -> tuple[Prepared, frozenset[ConsentId]]:
    """The same for a plan that stands; and the consents of which not every planned record is there, token for token.

    These take no further part: nothing takes a planned record's place.
    """
    found = prepare(accesses, tokenizer, recipe, plan.job, scratch, watch, report)
    places = {
        (item.consent, item.object_id): (item.tokens, base)
        for item, base in zip(found.plan.objects, found.bases, strict=True)
    }
    bases: list[int | None] = []
    for planned in plan.objects:
        tokens, base = places.get((planned.consent, planned.object_id), (None, None))
        bases.append(base if tokens == planned.tokens else None)
    lacking = {item.consent for item, base in zip(plan.objects, bases, strict=True) if base is None}
    return Prepared(plan, tuple(bases), found.readings), frozenset(lacking)


class Saver(Protocol):
    """Who takes checkpoints of the child that a broker drives."""

    def after_step(self) -> None:
        """A step is complete and in the ledger: a checkpoint may be due."""
        ...

    def save(self) -> None:
        """Take a checkpoint now, unless there is one of this very step."""
        ...


@dataclass(frozen=True)
class Trained:
    """What a walk through the plan did: steps completed now, of all, the mean loss of each, and why it ended early."""

    steps: int
    planned: int
    losses: tuple[float, ...]
    stopped: str


class Broker:
    """Walks a plan: records out of the scratch, rows to the child, completed steps into the ledger."""

    def __init__(
        self,
        prepared: Prepared,
        scratch: Scratch,
        trainer: TrainerProcess,
        ledger: Ledger,
        watch: Watch,
        report: Report,
        on_drop: Callable[[Mapping[ConsentId, str]], None],
        saver: Saver | None = None,
    ) -> None:
        """`on_drop` is told once of every consent that ended, after the ledger has it.

        Before a consent is dropped the child's state is saved: so a run that is killed later goes on from behind the
        steps that this consent took part in, and neither repeats them without it nor touches its data again.
        """
        self._plan = prepared.plan
        self._prepared = prepared
        self._scratch = scratch
        self._trainer = trainer
        self._ledger = ledger
        self._watch = watch
        self._report = report
        self._on_drop = on_drop
        self._saver = saver
        self._consents = sorted({item.consent for item in self._plan.objects})
        self._numbers = {consent: number for number, consent in enumerate(self._consents)}
        # What was dropped before the first step, or in an earlier attempt, never comes back.
        self._gone = set(ledger.tally.dropped).intersection(self._consents)

    def train(self, planned: int, start: int = 0) -> Trained:
        """Take every step of the plan from `start` on, `planned` in all, or stop where no consent is left."""
        losses: list[float] = []
        last, stopped = start, ""
        steps = _with_next(self._plan.steps(start))
        ready: tuple[int, list[Row], dict[ConsentId, Use]] | None = None
        for step, following in steps:
            self._drop(step.number, self._watch.before_step())
            if len(self._gone) == len(self._consents):
                stopped = "No consent of this job is left."
                break
            if ready is None or ready[0] != len(self._gone):
                ready = self._rows(step)
            _, rows, uses = ready
            ready = None
            if rows:
                began = time.monotonic()
                self._trainer.begin_step(step.number, rows)
                ready = self._rows(following) if following else None  # while the child computes
                measured = self._trainer.end_step(step.number)
                if measured.tokens != sum(use.tokens for use in uses.values()):
                    raise Unavailable("The trainer counted other tokens than it was given.", hint="Run the job again.")
                self._ledger.commit(step.number, uses)
                losses.append(measured.loss_micro / 1e6)
                last = step.number + 1
                spent = max(1e-9, time.monotonic() - began)
                self._report(
                    Progress(
                        "train",
                        step=last,
                        steps=planned,
                        loss=losses[-1],
                        tokens=measured.tokens,
                        tokens_per_second=measured.tokens / spent,
                        owners=len(self._consents) - len(self._gone),
                    )
                )
                if self._saver is not None:
                    self._saver.after_step()
        return Trained(len(losses), planned, tuple(losses), stopped)

    def _drop(self, step: int, ended: Mapping[ConsentId, str]) -> None:
        new = {c: reason for c, reason in self._watch.ended.items() if c in self._numbers and c not in self._gone}
        assert set(ended) <= set(self._watch.ended)
        if not new:
            return
        for consent in new:
            self._scratch.forget(consent)
            self._gone.add(consent)
        if self._saver is not None:
            self._saver.save()
        self._ledger.drop(step, sorted(new))
        self._on_drop(new)

    def _rows(self, step: Step) -> tuple[int, list[Row], dict[ConsentId, Use]]:
        """The rows of a step without the consents that are gone, and what completing it will count."""
        documents, uses = [], dict[ConsentId, Use]()
        for record in step.records:
            consent = self._plan.objects[self._plan.locate(record)[0]].consent
            if consent in self._gone:
                continue
            ids, labels = self._scratch.read(self._prepared.scratch_number(record))
            documents.append(Document(record.to_bytes(8, "big"), self._numbers[consent], ids, labels))
            uses[consent] = uses.get(consent, Use()) + Use(1, 0)
        rows = pack(documents, self._plan.sequence)
        for row in rows:
            for part in row.parts:
                consent = self._consents[part.owner]
                uses[consent] += Use(0, part.loss_tokens)
        return len(self._gone), rows, uses


def measure(
    trainer: TrainerProcess,
    tokenizer: RecordTokenizer,
    heldout: Mapping[str, Sequence[Mapping[str, Any]]],
    sequence: int,
    *,
    base: bool,
) -> dict[str, tuple[int, int]]:
    """For each name: mean loss in millionths of a nat over its records, and the tokens it was measured on."""
    from finetune.model.tokenizer import encode_record

    found = {}
    for name, records in heldout.items():
        if not records:
            continue
        documents = []
        for record in records:
            ids, labels = encode_record(tokenizer, record)
            documents.append(Document(b"", 0, ids, labels))
        measured = trainer.evaluate(pack(documents, sequence), base=base)
        found[name] = (measured.loss_micro, measured.tokens)
    return found


def _ids(access: Access) -> set[ObjectId]:
    return {item.object_id for item in access.objects}


def _drop_ended(watch: Watch, scratch: Scratch) -> None:
    for consent in watch.poll():
        scratch.forget(consent)


def _with_next(steps: Iterator[Step]) -> Iterator[tuple[Step, Step | None]]:
    step = next(steps, None)
    while step is not None:
        following = next(steps, None)
        yield step, following
        step = following
