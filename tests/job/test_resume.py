"""A job that loses its trainer or its process goes on from its checkpoint and ends as if nothing had happened."""

from __future__ import annotations

import dataclasses
import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import finetune.checkpoint
from consent.keeper.client import close_job
from consent.order import Order
from consent.recipe import Lora
from core.errors import Unavailable
from core.ids import ConsentId
from finetune.broker import Progress
from finetune.checkpoint import NAME, Checkpoints, Every
from finetune.plan import decode_plan
from finetune.replay import replay
from finetune.run import Finished, run_job
from finetune.settle import settle_job
from finetune.trainer_process import TrainerProcess
from finetune.watch import Pace
from finetune.workspace import State, Workspace
from tests.job.inner import InnerTrainer
from tests.job.paper import PaperTrainer
from tests.job.worlds import FEE_UNITS, FLAT, RATE, Template, World

pytestmark = [
    pytest.mark.needs_trainer,
    # peft 0.21 asks for what transformers 5.23 renamed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

DROPOUT = Lora(4, 8, 100_000, ("q_proj", "v_proj"))
CLOSE = Pace(steps=1)  # asks before every step, so that a drop falls on the same step in every run
Act = Callable[[int], None]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class Run:
    """A job in a world of its own, all alike: with real training, dropout and a checkpoint every few steps."""

    def __init__(self, template: Template, folder: Path, *, owners: tuple[str, ...] = ("ada", "bruno")) -> None:
        self.world = template.copy(folder)
        self.job = self.world.job(list(owners), epochs=4, lora=DROPOUT)
        self.losses: dict[int, float] = {}
        self.notes: list[str] = []
        self.children: list[Any] = []

    def go(self, act: Act = lambda step: None, *, every: int = 4, **site: Any) -> Finished:
        """Run, or run on; `act` is called with the number of completed steps after each."""

        def report(progress: Progress) -> None:
            if progress.note:
                self.notes.append(progress.note)
            if progress.loss is not None:
                self.losses[progress.step] = progress.loss
                act(progress.step)

        settings: dict[str, Any] = {
            "trainer": self.trainer,
            "report": report,
            "pace": CLOSE,
            "checkpoint": Every(steps=every),
        }
        return run_job(
            self.world.site(**{**settings, **site}),
            Workspace(self.job.folder),
            self.world.work(),
            payer=self.world.trainer,
        )

    def trainer(self) -> Any:
        self.children.append(InnerTrainer())
        return self.children[-1]

    def kill_child(self) -> None:
        self.children[-1].kill()

    def plan(self) -> Any:
        return dataclasses.replace(decode_plan(self.job.get("plan.cbor")), job=bytes(32))

    def counts(self, done: Finished) -> dict[str, tuple[Any, int]]:
        ids = {name: owner.consent_id for name, owner in self.world.owners.items()}
        return {name: (done.tally.used(one), done.tally.owed(one)) for name, one in ids.items()}


@dataclasses.dataclass
class Ended:
    """What of a run must be the same whether it was broken or not."""

    adapter: dict[str, bytes]
    losses: dict[int, float]
    heldout: dict[str, dict[str, int]]
    plan: Any
    counts: dict[str, tuple[Any, int]]
    dropped: frozenset[Any]
    total: int
    outcome: str


def ended(run: Run, done: Finished) -> Ended:
    return Ended(
        done.adapter, run.losses, done.losses, run.plan(), run.counts(done), done.tally.dropped, done.final.total,
        done.outcome,
    )  # fmt: skip


def at(step: int, act: Callable[[], object]) -> Act:
    """`act` once, when `step` steps are complete."""
    left = [act]

    def acting(done: int) -> None:
        if done == step and left:
            left.pop()()

    return acting


def die() -> None:
    raise Killed


@pytest.fixture(scope="module")
def unbroken(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The run that nothing happened to."""
    run = Run(template, tmp_path_factory.mktemp("unbroken"))
    try:
        return ended(run, run.go())
    finally:
        run.world.close()


@pytest.fixture(scope="module")
def unbroken_drop(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The run in which Ada revokes after six steps, and nothing else happens."""
    run = Run(template, tmp_path_factory.mktemp("unbroken-drop"))
    try:
        return ended(run, run.go(at(6, lambda: run.world.revoke("ada"))))
    finally:
        run.world.close()


@pytest.fixture
def run(template: Template, tmp_path: Path) -> Any:
    run = Run(template, tmp_path / "home")
    yield run
    run.world.close()


@pytest.mark.parametrize(("step", "goes_on"), [(2, 0), (4, 0), (5, 4), (11, 8)])
def test_a_trainer_killed_at_a_step_is_replaced_and_the_adapter_is_the_same(
    run: Run, unbroken: Ended, step: int, goes_on: int
) -> None:
    done = run.go(at(step, run.kill_child))
    assert len(run.children) == 2
    way = f"goes on from step {goes_on}" if goes_on else "begins again at step 0"
    assert any(way in note for note in run.notes), run.notes
    assert any("ended by itself" in note for note in run.notes)
    assert ended(run, done) == unbroken
    assert done.tally.attempts == 2
    replay(decode_plan(run.job.get("plan.cbor")), run.job.ledger.read_bytes(), done.order.job_id)


def test_a_real_child_that_is_killed_is_replaced_by_another(run: Run, unbroken: Ended) -> None:
    def trainer() -> Any:
        run.children.append(TrainerProcess())
        return run.children[-1]

    done = run.go(at(5, run.kill_child), trainer=trainer)
    assert any("exit status -9" in note for note in run.notes)
    assert ended(run, done) == unbroken


def test_a_process_killed_twice_ends_with_the_same_adapter(run: Run, unbroken: Ended) -> None:
    for step in (6, 10):
        with pytest.raises(Killed):
            run.go(at(step, die))
        assert run.job.state is State.TRAINING
        assert (run.job.folder / NAME).exists()
    done = run.go()
    assert ended(run, done) == unbroken
    assert [note for note in run.notes if "goes on" in note] == [
        f"Training goes on from step {step} of {max(run.losses)}." for step in (4, 8)
    ]
    assert not (run.job.folder / NAME).exists()
    assert done.outcome == "confirmed"


@pytest.mark.parametrize("step", [7, 8, 9])
def test_a_consent_dropped_after_the_last_checkpoint_is_dropped_at_the_same_step_again(
    run: Run, unbroken_drop: Ended, step: int
) -> None:
    """Ada is dropped at step 6; the run dies behind it, before and after the next checkpoint that is due."""

    def act(done: int) -> None:
        at(6, lambda: run.world.revoke("ada"))(done)
        if done == step:
            die()

    with pytest.raises(Killed):
        run.go(act)
    done = run.go()
    assert ended(run, done) == unbroken_drop
    assert done.tally.dropped == {run.world.owners["ada"].consent_id}


def test_a_consent_that_ends_between_the_crash_and_the_next_attempt_is_never_used_again(run: Run) -> None:
    with pytest.raises(Killed):
        run.go(at(6, die))
    run.world.revoke("ada")
    done = run.go()
    ada = run.world.owners["ada"].consent_id
    assert done.tally.dropped == {ada}
    # Four steps are in the adapter, six were taken: what was taken is owed.
    assert 0 < done.tally.used(ada).record_epochs < done.tally.owed(ada)
    assert run.world.amount(done.final, "ada") == FLAT + 1 + RATE * done.tally.owed(ada)
    replay(decode_plan(run.job.get("plan.cbor")), run.job.ledger.read_bytes(), done.order.job_id)


def test_a_trainer_that_is_lost_again_and_again_fails_the_stage_and_leaves_the_job_fit_to_go_on(
    run: Run, unbroken: Ended
) -> None:
    def every_time(step: int) -> None:
        if step == 6:
            run.kill_child()

    with pytest.raises(Unavailable, match="lost 3 times") as caught:
        run.go(every_time, restarts=2)
    assert "settle" in caught.value.hint
    assert len(run.children) == 3
    assert run.job.state is State.TRAINING
    assert ended(run, run.go()) == unbroken


def test_a_trainer_that_stalls_is_replaced(run: Run, unbroken: Ended) -> None:
    deaf = [sys.executable, "-P", "-c", "import sys; sys.stdin.buffer.read()"]

    def trainer() -> Any:
        run.children.append(InnerTrainer() if run.children else TrainerProcess(command=deaf, patience=0.5))
        return run.children[-1]

    done = run.go(trainer=trainer)
    assert len(run.children) == 2
    assert any("no answer for 0.5 seconds" in note for note in run.notes)
    assert ended(run, done) == unbroken


def test_a_state_that_does_not_fit_the_model_is_given_up(run: Run, unbroken: Ended) -> None:
    with pytest.raises(Killed):
        run.go(at(6, die))
    order = Order.decode(run.job.get("order.cbor"))
    own = Checkpoints(run.job.folder, run.world.runner.keys.open(order.job_pk), order.job_id)
    point = own.point()
    assert point is not None
    own.keep(point, 9, [b"not a run"])
    done = run.go()
    assert any("does not fit" in note for note in run.notes)
    assert any("begins again at step 0" in note for note in run.notes)
    assert ended(run, done) == unbroken


# With a trainer of paper: what is used and what is paid, whatever becomes of the checkpoint.


def paper(
    world: World, job: Workspace, trainer: PaperTrainer, act: Act = lambda step: None, **site: Any
) -> tuple[Finished, list[str]]:
    notes: list[str] = []

    def report(progress: Progress) -> None:
        if progress.note:
            notes.append(progress.note)
        if progress.loss is not None:
            act(progress.step)

    made: Any = trainer
    settings: dict[str, Any] = {"pace": CLOSE, "checkpoint": Every(steps=4), "report": report}
    surroundings = world.site(trainer=lambda: made, **{**settings, **site})
    return run_job(surroundings, Workspace(job.folder), world.work(), payer=world.trainer), notes


def broken(world: World, step: int, act: Act = lambda step: None) -> Workspace:
    """A job of Ada and Bruno that was killed when `step` steps were complete."""
    job = world.job(["ada", "bruno"], epochs=4)

    def acting(done: int) -> None:
        act(done)
        if done == step:
            die()

    with pytest.raises(Killed):
        paper(world, job, PaperTrainer(), acting)
    return job


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another job's", "another plan's", "another ledger's"])
def test_a_checkpoint_that_is_not_right_is_not_used_and_training_begins_again(world: World, damage: str) -> None:
    job = broken(world, 6)
    path, order = job.folder / NAME, Order.decode(job.get("order.cbor"))
    whole, private = path.read_bytes(), world.runner.keys.open(order.job_pk)
    own = Checkpoints(job.folder, private, order.job_id)
    point = own.point()
    assert point is not None
    assert point.step == 4
    match damage:
        case "cut":
            path.write_bytes(whole[:-1])
        case "flipped":
            path.write_bytes(flipped(whole, len(whole) - 3))
        case "empty":
            path.write_bytes(b"")
        case "another job's":
            path.write_bytes((broken(world, 6).folder / NAME).read_bytes())
        case "another plan's":
            own.keep(dataclasses.replace(point, plan=bytes(32)), 1, [b"3"])
        case "another ledger's":
            own.keep(dataclasses.replace(point, head=bytes(32)), 1, [b"3"])
    trainer = PaperTrainer()
    done, notes = paper(world, job, trainer)
    assert trainer.restored == []
    assert min(trainer.rows) == 0
    assert any("It is not used." in note for note in notes)
    assert any("begins again at step 0" in note for note in notes)
    assert done.outcome == "confirmed"
    assert done.tally.owed(world.owners["ada"].consent_id) == 12 * 4


def test_a_checkpoint_of_steps_that_were_taken_back_is_not_used(world: World) -> None:
    job = broken(world, 10)
    path = job.folder / NAME
    stale = path.read_bytes()
    path.unlink()
    with pytest.raises(Killed):
        paper(world, job, PaperTrainer(), at(2, die))
    path.write_bytes(stale)  # of step 8, while the model of the ledger has seen two
    trainer = PaperTrainer()
    done, notes = paper(world, job, trainer)
    assert trainer.restored == []
    assert any("does not stand on its ledger" in note for note in notes)
    assert done.outcome == "confirmed"


def test_a_dropped_consent_stays_dropped_where_its_own_checkpoint_is_lost(world: World) -> None:
    older: list[bytes] = []

    def act(step: int) -> None:
        if step == 5:
            older.append((path() / NAME).read_bytes())
        if step == 6:
            world.revoke("ada")

    def path() -> Path:
        return next((world.folder / "jobs").iterdir())

    job = broken(world, 8, act)
    ada = world.owners["ada"].consent_id
    (job.folder / NAME).write_bytes(older[0])  # the one of step 4; Ada was dropped at step 6
    trainer = PaperTrainer()
    done, _ = paper(world, job, trainer)
    assert min(trainer.rows) == 4
    assert not any("CANARY-ada" in text for texts in trainer.texts(world.base).values() for text in texts)
    assert done.tally.used(ada).record_epochs < done.tally.owed(ada)
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * done.tally.owed(ada)
    replay(decode_plan(job.get("plan.cbor")), job.ledger.read_bytes(), done.order.job_id)


def test_what_keepers_were_told_stays_what_is_paid(world: World) -> None:
    job = broken(world, 9, at(6, lambda: world.revoke("ada")))
    order, ada = Order.decode(job.get("order.cbor")), world.owners["ada"].consent_id

    def told() -> list[dict[ConsentId, int]]:
        return [dict(keeper._station.store.ledgers(order.job_id)) for keeper in world.keepers]

    before = told()
    assert before[:2] == [{ada: before[0][ada]}] * 2  # the two that released her shares
    done, _ = paper(world, job, PaperTrainer())
    assert told() == before
    assert done.tally.owed(ada) == before[0][ada]
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * before[0][ada]


def test_a_drop_that_was_told_to_nobody_before_the_crash_is_told_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import finetune.attempts

    def dies(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(finetune.attempts, "tell_totals", dies)
    job = broken(world, 99, at(6, lambda: world.revoke("ada")))
    monkeypatch.undo()
    done, _ = paper(world, job, PaperTrainer())
    ada = world.owners["ada"].consent_id
    closing = close_job(world.site().keepers, done.order, world.runner.account)
    assert {total for totals in closing.ledgers.values() for total in totals.values()} == {done.tally.owed(ada)}
    assert [entry["where"] for entry in done.refusals] == ["training"]
    assert "revoked" in done.refusals[0]["reasons"][0]["reason"]


def test_the_plan_stands_and_is_the_same_after_a_crash(world: World) -> None:
    job = broken(world, 6)
    plan, reading = job.get("plan.cbor"), job.get("reading.json")
    trainer = PaperTrainer()
    paper(world, job, trainer)
    assert (job.get("plan.cbor"), job.get("reading.json")) == (plan, reading)
    assert min(trainer.rows) == 4
    assert trainer.restored == [b"3"]


def test_records_that_are_gone_after_a_crash_cost_their_owner_nothing(world: World) -> None:
    job = broken(world, 6)
    gone = next(item for item in world.owners["ada"].licence.objects)
    world.blocks.delete(gone.payload)
    trainer = PaperTrainer()
    done, _ = paper(world, job, trainer)
    ada = world.owners["ada"].consent_id
    assert done.tally.dropped == {ada}
    assert not any("CANARY-ada" in text for texts in trainer.texts(world.base).values() for text in texts)
    assert done.final == done.opening  # her leaf stands in full
    assert any("no longer the ones" in entry["reasons"][0]["reason"] for entry in done.refusals)


def test_a_planned_consent_that_keepers_refuse_the_second_time_takes_no_further_part(world: World) -> None:
    job = broken(world, 6)
    job.put("shares.cbor", b"damaged")
    world.revoke("ada")
    trainer = PaperTrainer()
    done, _ = paper(world, job, trainer)
    ada = world.owners["ada"].consent_id
    assert trainer.restored == [b"3"]
    assert not any("CANARY-ada" in text for texts in trainer.texts(world.base).values() for text in texts)
    assert done.tally.dropped == {ada}
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * done.tally.owed(ada)
    replay(decode_plan(job.get("plan.cbor")), job.ledger.read_bytes(), done.order.job_id)


@pytest.mark.parametrize("lost", ["plan.cbor", "plan.sig"])
def test_a_plan_that_is_lost_is_made_again_from_the_same_records(world: World, lost: str) -> None:
    job = broken(world, 6)
    plan = job.get("plan.cbor")
    (job.folder / lost).write_bytes(b"")
    trainer = PaperTrainer()
    done, _ = paper(world, job, trainer)
    assert job.get("plan.cbor") == plan
    assert trainer.restored == [b"3"]  # the same plan: its checkpoint holds
    assert done.outcome == "confirmed"


def test_a_broken_job_can_be_settled_instead_and_nothing_sealed_to_it_is_left(world: World) -> None:
    job = broken(world, 6)
    assert job.has("shares.cbor")
    order = Order.decode(job.get("order.cbor"))
    job2 = world.job(["chiara", "dario"], epochs=4)
    with pytest.raises(Killed):
        paper(world, job2, PaperTrainer(), at(1, die))
    final = settle_job(world.site(), job2, world.trainer)
    assert final.total == FLAT + 3 + RATE * 5 * 4 + FEE_UNITS
    for name in (NAME, "shares.cbor"):
        assert not (job2.folder / name).exists()
    assert not world.runner.keys.holds(Order.decode(job2.get("order.cbor")).job_pk)
    assert world.runner.keys.holds(order.job_pk)


def test_a_full_disk_costs_checkpoints_and_not_the_training(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(finetune.checkpoint, "write_atomic", full)
    done, notes = paper(world, world.job(["ada"], epochs=4), PaperTrainer())
    assert done.outcome == "confirmed"
    assert [note for note in notes if "could not be kept: No space left" in note]


def test_all_that_is_sealed_to_a_job_is_gone_once_it_is_trained(world: World) -> None:
    job = world.job(["ada"], epochs=4)
    seen: list[bool] = []
    made: Any = PaperTrainer()

    def report(progress: Progress) -> None:
        if progress.phase == "settle":
            seen.append((job.folder / NAME).exists())

    site = world.site(trainer=lambda: made, checkpoint=Every(steps=1), report=report)
    run_job(site, job, world.work(), payer=world.trainer)
    assert seen == [False]
