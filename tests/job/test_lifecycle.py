"""What happens to consents and money on the way of a job: refusals, revocation, crashes, silence, time."""

from __future__ import annotations

import dataclasses
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import finetune.attempts
import finetune.opening
import finetune.settle
import finetune.stages
from consent.keeper.port import KeeperPort
from consent.market.lanes import courses
from consent.market.paying import balance
from consent.tree import SumTree
from core.errors import Busy, InvalidInput, NotFound, Refused, Unavailable
from finetune.broker import Progress
from finetune.opening import open_job
from finetune.plan import decode_plan
from finetune.releasing import receipts_of
from finetune.run import Finished, money, run_job
from finetune.settle import settle_job
from finetune.site import Site
from finetune.watch import Pace
from finetune.workspace import State, Workspace
from tests.job.paper import PaperTrainer
from tests.job.worlds import FEE_UNITS, FLAT, RATE, YEAR, World, publish_owner

pytestmark = pytest.mark.needs_trainer

RECORDS = {"ada": 12, "bruno": 8, "chiara": 5, "dario": 4}
NUMBER = {name: number for number, name in enumerate(RECORDS, start=1)}


def full(name: str, epochs: int = 2) -> int:
    """What the whole of an owner's leaf comes to."""
    return FLAT + NUMBER[name] + RATE * RECORDS[name] * epochs


def paper(world: World, trainer: PaperTrainer | None = None, **other: Any) -> Site:
    """A site whose trainer is of paper."""
    made: Any = trainer or PaperTrainer()
    return world.site(trainer=lambda: made, **other)


def finish(world: World, job: Workspace, site: Site | None = None, **work: Any) -> Finished:
    return run_job(site or paper(world), job, world.work(**work), payer=world.trainer)


def test_refused_owners_are_left_out_and_refunded_and_the_others_paid(world: World) -> None:
    before = balance(world.market, world.trainer.address).deposited
    trainer = PaperTrainer()
    job = world.job(["ada", "bruno", "chiara", "dario"])
    world.revoke("chiara")
    done = finish(world, job, paper(world, trainer))
    assert done.outcome == "settled"
    amounts = {name: world.amount(done.final, name) for name in RECORDS}
    assert amounts == {"ada": full("ada"), "bruno": full("bruno"), "chiara": 0, "dario": 0}
    assert done.final.total == full("ada") + full("bruno") + FEE_UNITS
    assert balance(world.market, world.trainer.address).deposited == before - done.final.total
    reasons = {entry["owner"]: [said["reason"] for said in entry["reasons"]] for entry in done.refusals}
    assert (
        reasons["0x" + world.owners["dario"].account.address.hex()] == ["This consent was never granted on chain."] * 3
    )
    assert all("revoked" in reason for reason in reasons["0x" + world.owners["chiara"].account.address.hex()])
    text = "\n".join(text for texts in trainer.texts(world.base).values() for text in texts)
    assert "CANARY-ada" in text
    assert "CANARY-bruno" in text
    assert "CANARY-chiara" not in text
    assert "CANARY-dario" not in text
    assert {receipt.keeper for receipt in receipts_of(job)} == {1, 2}


def test_a_revocation_between_two_checks_stops_the_data_and_fixes_the_pay(world: World) -> None:
    before = balance(world.market, world.trainer.address).deposited
    trainer = PaperTrainer()
    revoked_at = 13

    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == revoked_at and "ada" not in gone:
            gone.append("ada")
            world.revoke("ada")

    gone: list[str] = []
    job = world.job(["ada", "bruno"], epochs=10)
    done = finish(world, job, paper(world, trainer, report=report))
    plan = decode_plan(job.get("plan.cbor"))
    ada = world.owners["ada"].consent_id
    texts = trainer.texts(world.base)
    last = max(step for step, rows in texts.items() if any("CANARY-ada" in row for row in rows))
    assert last < revoked_at + 20
    assert max(texts) > last
    completed = sum(
        plan.objects[plan.locate(record)[0]].consent == ada
        for step in plan.steps()
        if step.number <= last
        for record in step.records
    )
    assert 0 < completed < RECORDS["ada"] * 10
    assert done.tally.owed(ada) == completed
    assert done.outcome == "settled"
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * completed
    assert world.amount(done.final, "bruno") == full("bruno", 10)
    refund = full("ada", 10) - (FLAT + 1 + RATE * completed)
    assert done.opening.total - done.final.total == refund
    assert balance(world.market, world.trainer.address).deposited == before - done.opening.total + refund
    assert any(entry["where"] == "training" for entry in done.refusals)


def test_a_job_whose_owners_all_leave_stops_and_pays_for_what_was_done(world: World) -> None:
    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == 4:
            world.revoke("chiara")

    job = world.job(["chiara"], epochs=30)
    done = finish(world, job, paper(world, report=report, pace=Pace(steps=2)))
    owed = done.tally.owed(world.owners["chiara"].consent_id)
    assert world.amount(done.final, "chiara") == FLAT + 3 + RATE * owed
    assert 0 < owed < RECORDS["chiara"] * 30
    assert done.adapter


def test_a_job_nobody_consents_to_costs_its_payer_nothing(world: World) -> None:
    before = balance(world.market, world.trainer.address).deposited
    calls: list[object] = []
    job = world.job(["dario"])
    done = finish(world, job, statement_hook=lambda *_: calls.append(1) or bytes(32))
    assert (done.outcome, done.final.total, done.adapter, calls) == ("settled", 0, {}, [])
    assert balance(world.market, world.trainer.address).deposited == before


def test_the_statement_is_written_over_the_final_tree_and_posted(world: World) -> None:
    seen: list[SumTree] = []

    def hook(job: Workspace, final: SumTree) -> bytes:
        assert job.adapter()
        assert job.ledger.exists()
        seen.append(final)
        return b"\x5a" * 32

    done = finish(world, world.job(["ada", "dario"]), statement_hook=hook)
    assert seen == [done.final]
    assert courses(world.market, world.trainer.address)[-1].statement == b"\x5a" * 32


CRASHES: list[tuple[Any, str, bool]] = [
    (finetune.opening, "prepare_open", True),
    (finetune.opening, "read_opening", True),
    (finetune.opening, "note_transaction", True),
    (finetune.stages, "ask_keepers", False),
    (finetune.stages, "ask_keepers", True),
    (finetune.attempts, "open_doors", True),
    (finetune.attempts, "prepare", True),
    (finetune.attempts, "measure", False),
    (finetune.stages, "finish_job", False),
    (finetune.settle, "close_job", True),
    (finetune.settle, "collect_settlement", True),
    (finetune.settle, "settle", False),
    (finetune.settle, "settle", True),
    (finetune.settle, "close_books", False),
]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize(("module", "name", "after"), CRASHES, ids=[f"{n}-{a}" for _, n, a in CRASHES])
def test_a_job_killed_anywhere_comes_to_one_right_end(
    world: World, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, after: bool
) -> None:
    before = balance(world.market, world.trainer.address).deposited
    job = world.job(["chiara", "dario"])
    real: Callable[..., Any] = getattr(module, name)
    armed = [True]

    def killed(*args: Any, **named: Any) -> Any:
        if armed and not after:
            armed.clear()
            raise Killed
        result = real(*args, **named)
        if armed:
            armed.clear()
            raise Killed
        return result

    monkeypatch.setattr(module, name, killed)
    with pytest.raises(Killed):
        finish(world, job)
    assert not armed
    again = Workspace(job.folder)
    done = finish(world, again)
    assert (done.outcome, again.state) == ("settled", State.DONE)
    assert len(courses(world.market, world.trainer.address)) == 1
    assert done.final.total == full("chiara") + FEE_UNITS
    assert balance(world.market, world.trainer.address).deposited == before - done.final.total
    assert done.tally.owed(world.owners["chiara"].consent_id) == RECORDS["chiara"] * 2
    assert finish(world, again) == dataclasses.replace(done, job=again) or again.state is State.DONE


def test_a_job_killed_in_the_middle_of_training_counts_nothing_twice(world: World) -> None:
    def kill(step: int) -> None:
        if step == 6:
            raise Killed

    job = world.job(["ada", "bruno"], epochs=6)
    with pytest.raises(Killed):
        finish(world, job, paper(world, PaperTrainer(kill)))
    assert job.state is State.TRAINING
    done = finish(world, job)
    assert done.outcome == "confirmed"
    assert done.tally.attempts == 2
    assert done.tally.owed(world.owners["ada"].consent_id) == RECORDS["ada"] * 6


def test_what_was_used_before_a_crash_is_owed_after_a_revocation(world: World) -> None:
    def kill(step: int) -> None:
        if step == 6:
            raise Killed

    job = world.job(["ada", "bruno"], epochs=6)
    with pytest.raises(Killed):
        finish(world, job, paper(world, PaperTrainer(kill)))
    world.revoke("ada")
    done = finish(world, job)
    owed = done.tally.owed(world.owners["ada"].consent_id)
    assert owed > 0
    assert done.tally.used(world.owners["ada"].consent_id).record_epochs == 0
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * owed
    assert world.amount(done.final, "bruno") == full("bruno", 6)


def test_ctrl_c_says_what_happens_to_the_money(world: World) -> None:
    def interrupt(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    job = world.job(["ada"])
    with pytest.raises(KeyboardInterrupt):
        finish(world, job, paper(world, PaperTrainer(interrupt)))
    assert "locked" in world.told[-1].note
    assert world.told[-1].note == money(job)
    assert finish(world, job).outcome == "confirmed"
    assert "over" in money(job)


def test_a_payer_without_runner_gets_everything_back_that_was_not_released(world: World) -> None:
    before = balance(world.market, world.trainer.address).deposited
    job = world.job(["ada", "bruno"])
    site = paper(world)
    open_job(site, job, world.trainer)
    final = settle_job(site, job, world.trainer)
    assert final.total == 0
    assert job.state is State.DONE
    assert balance(world.market, world.trainer.address).deposited == before


def test_a_runner_that_comes_back_finds_what_its_payer_settled(world: World, tmp_path: Path) -> None:
    job, site = world.job(["ada", "bruno"]), paper(world)
    open_job(site, job, world.trainer)
    elsewhere = Workspace(Path(shutil.copytree(job.folder, tmp_path / "payer")))
    settle_job(site, elsewhere, world.trainer)
    done = finish(world, job)
    assert (done.outcome, done.final.total) == ("settled", 0)
    assert settle_job(site, job, world.trainer) == done.final


def test_a_payer_settles_a_job_that_was_killed_while_it_opened(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.job(["ada"])
    real = finetune.opening.finish_opening
    monkeypatch.setattr(finetune.opening, "finish_opening", _killed)
    with pytest.raises(Killed):
        finish(world, job)
    monkeypatch.setattr(finetune.opening, "finish_opening", real)
    assert job.state is State.OPENING
    assert settle_job(paper(world), job, world.trainer).total == 0


def test_what_was_released_stays_paid_when_the_runner_vanishes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.job(["ada", "dario"])
    monkeypatch.setattr(finetune.attempts, "prepare", _killed)
    with pytest.raises(Killed):
        finish(world, job)
    final = settle_job(paper(world), job, world.trainer)
    assert final.total == full("ada") + FEE_UNITS
    assert finish(world, job).outcome == "settled"


def test_a_payer_gets_nothing_back_where_all_was_released(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.job(["ada"])
    monkeypatch.setattr(finetune.attempts, "prepare", _killed)
    with pytest.raises(Killed):
        finish(world, job)
    with pytest.raises(Refused, match="nothing of this job is refunded"):
        settle_job(paper(world), job, world.trainer)


def test_after_its_end_the_opening_tree_stands(world: World) -> None:
    job = world.job(["ada", "dario"])
    site = paper(world)
    order = open_job(site, job, world.trainer, seconds=3600)
    world.chain.advance(3700)
    done = finish(world, job)
    assert (done.outcome, done.final) == ("stands", done.opening)
    assert done.adapter == {}
    assert not site.runner.keys.holds(order.job_pk)


def test_silent_keepers_block_the_refund_and_nothing_else(world: World) -> None:
    class Silent:
        def __init__(self, port: KeeperPort) -> None:
            self.port, self.silent = port, True

        def call(self, path: str, body: bytes) -> bytes:
            if self.silent:
                raise Unavailable("no answer")
            return self.port.call(path, body)

    quiet = Silent(world.ports[2])
    world.ports[2] = quiet
    job = world.job(["ada", "dario"])
    with pytest.raises(Unavailable, match="keepers"):
        finish(world, job)
    assert job.adapter()
    quiet.silent = False
    assert finish(world, job).outcome == "settled"


def test_a_keeper_that_sends_a_wrong_share_is_passed_over(world: World) -> None:
    class Lying:
        def __init__(self, port: KeeperPort) -> None:
            self.port = port

        def call(self, path: str, body: bytes) -> bytes:
            reply = self.port.call(path, body)
            return reply[:400] + bytes([reply[400] ^ 1]) + reply[401:] if path == "release" else reply

    world.ports[0] = Lying(world.ports[0])
    done = finish(world, world.job(["ada"]))
    assert done.outcome == "confirmed"
    assert {receipt.keeper for receipt in receipts_of(done.job)} == {2, 3}


def test_a_silent_chain_stops_training_and_the_job_goes_on_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == 3:
            monkeypatch.setattr(finetune.watch, "live", _unavailable)

    job = world.job(["ada"], epochs=12)
    with pytest.raises(Unavailable, match="whether the consents"):
        finish(world, job, paper(world, report=report))
    monkeypatch.undo()
    assert job.state is State.TRAINING
    assert finish(world, job).outcome == "confirmed"


def test_no_money_moves_without_a_deposit(world: World) -> None:
    job = world.job(["ada"], epochs=50)
    rich = balance(world.market, world.trainer.address).deposited
    world.market.escrow.transact(world.trainer, "withdraw", rich - 10)
    with pytest.raises(Refused, match="deposited"):
        finish(world, job)
    assert (job.state, money(job)) == (State.QUOTED, "No money has moved.")


def test_no_money_moves_for_another_base_model(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in world.base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "config.json").write_text((world.base / "config.json").read_text() + " ")
    job = world.job(["ada"])
    with pytest.raises(InvalidInput, match="recipe names"):
        finish(world, job, base=other)
    assert job.state is State.QUOTED


def test_no_money_moves_for_a_key_that_this_runner_did_not_make(world: World) -> None:
    job = world.job(["ada"])
    for key in (world.folder / "runner" / "keys").iterdir():
        key.unlink()
    with pytest.raises(NotFound):
        finish(world, job)
    assert job.state is State.QUOTED


def test_one_process_at_a_time_works_on_a_job(world: World) -> None:
    job = world.job(["ada"])
    with Workspace(job.folder).hold(), pytest.raises(Busy):
        finish(world, job)


def test_a_job_only_opens_as_its_payer(world: World) -> None:
    job = world.job(["ada"])
    with pytest.raises(InvalidInput):
        run_job(paper(world), job, world.work(), payer=world.owners["ada"].account)
    with pytest.raises(InvalidInput):
        run_job(paper(world), job, world.work())
    assert job.state is State.QUOTED


def test_offers_and_limited_uses_are_counted_once_a_job(world: World) -> None:
    world.owners["eva"] = publish_owner(world, "eva", 9, 3, granted=True, offer=True, max_uses=2)
    for _ in range(2):
        done = finish(world, world.job(["eva"]))
        assert done.outcome == "confirmed"
        assert done.order.counted == (world.owners["eva"].consent_id,)
        assert world.amount(done.final, "eva") == FLAT + 9 + RATE * 3 * 2
    third = world.job(["eva"])
    with pytest.raises(Refused):
        finish(world, third)
    assert third.state is State.QUOTED


def test_a_revocation_between_two_keepers_costs_the_flat_part_only(world: World) -> None:
    class Revoking:
        def __init__(self, port: KeeperPort) -> None:
            self.port = port

        def call(self, path: str, body: bytes) -> bytes:
            if path == "release" and "ada" not in gone:
                assert released.wait(60)
                gone.append("ada")
                world.revoke("ada")
            return self.port.call(path, body)

    class Releasing(Revoking):
        def call(self, path: str, body: bytes) -> bytes:
            reply = self.port.call(path, body)
            if path == "release":
                released.set()
            return reply

    gone: list[str] = []
    released = threading.Event()
    world.ports[0], world.ports[1] = Releasing(world.ports[0]), Revoking(world.ports[1])
    done = finish(world, world.job(["ada"]))
    assert done.outcome == "settled"
    assert done.adapter == {}
    assert world.amount(done.final, "ada") == FLAT + 1
    assert done.final.total == FLAT + 1  # no adapter, no fee


def test_a_consent_that_expires_in_mid_job_stops_and_is_paid_in_full(world: World) -> None:
    ahead = [0]

    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == 3:
            ahead[0] = 2 * YEAR

    trainer = PaperTrainer()
    site = paper(world, trainer, report=report, clock=lambda: time.time() + ahead[0], pace=Pace(steps=1))
    done = finish(world, world.job(["ada"], epochs=4), site)
    assert set(trainer.rows) == {0, 1, 2}
    assert (done.outcome, done.final) == ("confirmed", done.opening)
    assert 0 < done.tally.owed(world.owners["ada"].consent_id) < RECORDS["ada"] * 4


def test_lanes_are_used_again(world: World) -> None:
    first = finish(world, world.job(["chiara"]))
    second = finish(world, world.job(["chiara"]))
    assert (first.outcome, second.outcome) == ("confirmed", "confirmed")
    assert first.order.job_id != second.order.job_id


def _killed(*_: Any, **__: Any) -> Any:
    raise Killed


def _unavailable(*_: Any, **__: Any) -> Any:
    raise Unavailable("no answer")
