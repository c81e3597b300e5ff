"""A verifier follows the ledger along the plan: through attempts, resumes and drops, and through no lie about them."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from core.encoding import Link
from core.errors import VerificationFailed
from core.ids import Address, ConsentId, JobId, ObjectId
from finetune.ledger import Ledger, Use
from finetune.plan import Plan, PlannedObject
from finetune.replay import replay

JOB = JobId(b"j" * 32)
PAYLOAD = Link(bytes.fromhex("01551220") + bytes(32))
ADA, BRUNO = ConsentId(b"a" * 32), ConsentId(b"b" * 32)


def planned(consent: ConsentId, records: int) -> PlannedObject:
    return PlannedObject(ObjectId(consent), consent, Address(b"o" * 20), PAYLOAD, array("I", [10] * records))


PLAN = Plan(JOB, b"r" * 32, seed=3, epochs=2, sequence=20, rows=1, objects=(planned(ADA, 6), planned(BRUNO, 5)))
STEPS = list(PLAN.steps())


def take(ledger: Ledger, start: int, end: int, *gone: ConsentId) -> None:
    """The steps from `start` to `end` as the plan has them, without `gone`."""
    for step in STEPS[start:end]:
        uses: dict[ConsentId, Use] = {}
        for record in step.records:
            consent = PLAN.objects[PLAN.locate(record)[0]].consent
            if consent not in gone:
                uses[consent] = uses.get(consent, Use()) + Use(1, 9)
        if uses:
            ledger.commit(step.number, uses)


def on_from_a_checkpoint(ledger: Ledger) -> None:
    take(ledger, 0, 7)
    ledger.resume(4)
    take(ledger, 4, len(STEPS))


def twice_and_further_back(ledger: Ledger) -> None:
    take(ledger, 0, 8)
    ledger.resume(6)
    take(ledger, 6, 7)
    ledger.resume(2)
    take(ledger, 2, len(STEPS))


def dropped_and_on_from_there(ledger: Ledger) -> None:
    take(ledger, 0, 5)
    ledger.drop(5, [ADA])
    take(ledger, 5, 8, ADA)
    ledger.resume(5)
    take(ledger, 5, len(STEPS), ADA)


def dropped_and_on_from_before(ledger: Ledger) -> None:
    take(ledger, 0, 5)
    ledger.drop(5, [ADA])
    take(ledger, 5, 8, ADA)
    ledger.resume(3)
    take(ledger, 3, 6, ADA)
    ledger.resume(2)
    take(ledger, 2, len(STEPS), ADA)


def begun_again(ledger: Ledger) -> None:
    take(ledger, 0, 5)
    ledger.resume(3)
    ledger.drop(3, [BRUNO])
    ledger.start(PLAN.hash())
    take(ledger, 0, len(STEPS), BRUNO)


@pytest.mark.parametrize(
    "walk",
    [
        on_from_a_checkpoint,
        twice_and_further_back,
        dropped_and_on_from_there,
        dropped_and_on_from_before,
        begun_again,
    ],
)
def test_a_walk_with_resumes_is_the_walk_of_the_plan(tmp_path: Path, walk: Callable[[Ledger], None]) -> None:
    with Ledger(tmp_path / "ledger", JOB) as ledger:
        ledger.start(PLAN.hash())
        walk(ledger)
    replay(PLAN, (tmp_path / "ledger").read_bytes(), JOB)


def leaves_out_what_was_taken_back(ledger: Ledger) -> None:
    take(ledger, 0, 7)
    ledger.resume(4)
    take(ledger, 5, len(STEPS))


def leaves_the_rest_to_the_attempt_before(ledger: Ledger) -> None:
    take(ledger, 0, len(STEPS))
    ledger.resume(4)


def counts_less_the_second_time(ledger: Ledger) -> None:
    take(ledger, 0, 7)
    ledger.resume(4)
    take(ledger, 4, len(STEPS), ADA)  # who was never dropped


def stops_half_way(ledger: Ledger) -> None:
    take(ledger, 0, 7)
    ledger.resume(4)
    take(ledger, 4, 6)


@pytest.mark.parametrize(
    "walk",
    [
        leaves_out_what_was_taken_back,
        leaves_the_rest_to_the_attempt_before,
        counts_less_the_second_time,
        stops_half_way,
    ],
)
def test_a_resume_hides_no_step(tmp_path: Path, walk: Callable[[Ledger], None]) -> None:
    with Ledger(tmp_path / "ledger", JOB) as ledger:
        ledger.start(PLAN.hash())
        walk(ledger)
    with pytest.raises(VerificationFailed):
        replay(PLAN, (tmp_path / "ledger").read_bytes(), JOB)
