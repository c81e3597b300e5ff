"""The broker reads exactly what was consented and paid for, feeds it once an epoch, and stops at once when told."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import finetune.model.tokenizer
from core.errors import Unavailable
from core.ids import ConsentId
from finetune.access import Access
from finetune.broker import Broker, Prepared, Progress, Trained, prepare
from finetune.ledger import Ledger
from finetune.model.tokenizer import load_tokenizer
from finetune.scratch import Scratch
from finetune.site import in_silence
from finetune.watch import Pace, Watch
from tests.job.by_hand import HandJob, make_hand_job, notes
from tests.job.paper import PaperTrainer

pytestmark = pytest.mark.needs_trainer


BENCHES: list[Bench] = []


@pytest.fixture(autouse=True)
def closed_benches() -> Iterator[None]:
    yield
    while BENCHES:
        BENCHES.pop().close()


class Bench:
    """A hand-made job on its way through the broker."""

    def __init__(self, job: HandJob, base: Path, folder: Path, *, steps: int = 1) -> None:
        self.job, self.base = job, base
        self.tokenizer = load_tokenizer(base)
        self.ended: dict[ConsentId, str] = {}
        self.watch = Watch(lambda: dict(self.ended), Pace(steps=steps))
        folder.mkdir(exist_ok=True)
        self.scratch = Scratch(folder)
        self.ledger = Ledger(folder / "ledger", job.job)
        self.trainer = PaperTrainer()
        self.dropped: list[dict[ConsentId, str]] = []
        BENCHES.append(self)

    def close(self) -> None:
        self.scratch.close()
        self.ledger.close()

    def prepare(self, accesses: Iterable[Access] | None = None) -> Prepared:
        opened = [self.job.opened(owner) for owner in self.job.owners] if accesses is None else list(accesses)
        return prepare(opened, self.tokenizer, self.job.recipe, self.job.job, self.scratch, self.watch, in_silence)

    def train(self, prepared: Prepared, report: Any = in_silence) -> Trained:
        self.ledger.start(prepared.plan.hash())
        trainer: Any = self.trainer
        broker = Broker(
            prepared,
            self.scratch,
            trainer,
            self.ledger,
            self.watch,
            report,
            lambda ended: self.dropped.append(dict(ended)),
        )
        return broker.train(prepared.plan.count_steps())

    def text(self) -> str:
        return "\n".join(text for texts in self.trainer.texts(self.base).values() for text in texts)


@pytest.fixture
def two() -> HandJob:
    return make_hand_job(({"a": notes("Ada", 9)}, 9), ({"b": notes("Bruno", 6)}, 6), epochs=3, rows=1, sequence=64)


def test_every_record_is_fed_once_an_epoch_and_counted(two: HandJob, tiny_base: Path, tmp_path: Path) -> None:
    bench = Bench(two, tiny_base, tmp_path)
    prepared = bench.prepare()
    trained = bench.train(prepared)
    assert trained.steps == trained.planned == prepared.plan.count_steps()
    text = bench.text()
    for index in range(9):
        assert text.count(f"Ada keeps note number {index} in the blue drawer.") == 3
    assert bench.ledger.tally.owed(two.owners[0].consent_id) == 27
    assert bench.ledger.tally.owed(two.owners[1].consent_id) == 18
    tokens = sum(len(f"Ada keeps note number {i} in the blue drawer.") for i in range(9)) * 3
    assert (
        bench.ledger.tally.used(two.owners[0].consent_id).tokens == tokens
    )  # one less than with <|end|>, first masked


def test_a_consent_that_ends_loses_all_records_from_the_next_step_on(
    two: HandJob, tiny_base: Path, tmp_path: Path
) -> None:
    bench = Bench(two, tiny_base, tmp_path)
    prepared = bench.prepare()
    ada = two.owners[0].consent_id
    expected = sum(
        prepared.plan.objects[prepared.plan.locate(record)[0]].consent == ada
        for step in prepared.plan.steps()
        for record in step.records
        if step.number < 5
    )

    def report(progress: Progress) -> None:
        if progress.step == 5:
            bench.ended[ada] = "The owner revoked this consent."

    bench.train(prepared, report)
    texts = bench.trainer.texts(tiny_base)
    assert any("Ada" in text for step in range(5) for text in texts[step])
    assert not any("Ada" in text for step, rows in texts.items() if step >= 5 for text in rows)
    assert any("Bruno" in text for step, rows in texts.items() if step >= 5 for text in rows)
    assert bench.ledger.tally.owed(ada) == expected
    assert bench.dropped == [{ada: "The owner revoked this consent."}]
    assert bench.ledger.tally.dropped == {ada}
    assert bench.ledger.tally.owed(two.owners[1].consent_id) == 18


def test_training_stops_when_no_consent_is_left(two: HandJob, tiny_base: Path, tmp_path: Path) -> None:
    bench = Bench(two, tiny_base, tmp_path)
    prepared = bench.prepare()

    def report(progress: Progress) -> None:
        if progress.step == 3:
            bench.ended.update({owner.consent_id: "revoked" for owner in two.owners})

    trained = bench.train(prepared, report)
    assert trained.steps == 3
    assert trained.stopped
    assert set(bench.trainer.rows) == {0, 1, 2}


def test_a_consent_that_ends_while_records_are_read_is_not_trained_on(
    two: HandJob, tiny_base: Path, tmp_path: Path
) -> None:
    bench = Bench(two, tiny_base, tmp_path, steps=10**9)
    first, second = sorted(two.owners, key=lambda owner: owner.consent_id)
    asked = 0

    def look() -> dict[ConsentId, str]:
        nonlocal asked
        asked += 1
        return {first.consent_id: "revoked"} if asked > 4 else {}

    bench.watch = Watch(look, Pace(steps=10**9, seconds=0.0))
    prepared = bench.prepare()
    assert {item.consent for item in prepared.plan.objects} == {second.consent_id}
    bench.train(prepared)
    assert bench.ledger.tally.owed(first.consent_id) == 0


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    chat = b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Good day"}]}\n'
    broken = chat + b'{"messages": [oops\n' + chat
    silent = b'{"messages":[{"role":"user","content":"Nobody answers"}]}\n' + chat
    job = make_hand_job(({"a": broken, "b": silent, "c": b"\x00\x01\x02binary" * 50}, 4), sequence=64)
    bench = Bench(job, tiny_base, tmp_path)
    prepared = bench.prepare()
    reading = prepared.readings[job.owners[0].consent_id]
    assert (reading.records, prepared.plan.records) == (3, 3)
    assert len(reading.unread) == 3
    assert any(place.startswith("line 2") for _, place, _ in reading.unread)
    assert not any("oops" in reason or "answers" in reason for _, _, reason in reading.unread)


def test_more_records_than_were_paid_for_are_not_used(tiny_base: Path, tmp_path: Path) -> None:
    job = make_hand_job(({"a": notes("Ada", 9), "b": notes("Ada", 9)}, 10), sequence=64)
    prepared = Bench(job, tiny_base, tmp_path).prepare()
    assert prepared.plan.records == 10


def test_an_object_whose_bytes_are_gone_is_left_out_whole(tiny_base: Path, tmp_path: Path) -> None:
    job = make_hand_job(({"a": notes("Ada", 4), "b": notes("Ida", 5)}, 9), sequence=64)
    access = job.opened(job.owners[0])
    lost = access.objects[0]
    job.blocks.delete(lost.payload)
    prepared = Bench(job, tiny_base, tmp_path).prepare([access])
    assert [item.object_id for item in prepared.plan.objects] == [access.objects[1].object_id]
    assert prepared.readings[job.owners[0].consent_id].unread[0][0] == lost.object_id


def test_the_same_seed_gives_the_same_rows(two: HandJob, tiny_base: Path, tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        bench = Bench(two, tiny_base, tmp_path / name)
        bench.train(bench.prepare())
        runs.append(bench.trainer.texts(tiny_base))
    assert runs[0] == runs[1]


def test_a_child_that_miscounts_is_not_believed(two: HandJob, tiny_base: Path, tmp_path: Path) -> None:
    bench = Bench(two, tiny_base, tmp_path)
    prepared = bench.prepare()
    bench.trainer._measured = lambda rows: type(bench.trainer)._measured(bench.trainer, rows[1:])  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        bench.train(prepared)
    assert bench.ledger.tally.owed(two.owners[0].consent_id) == 0


def test_memory_does_not_grow_with_the_data(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak while opening, reading, keeping and feeding 16 MiB is that of 4 MiB, within a segment."""
    monkeypatch.setattr(finetune.model.tokenizer, "encode_record", lambda _, record: ([5] * 9, [5] * 9))
    peaks = []
    for mebibytes in (4, 16):
        line = json.dumps({"messages": [{"role": "assistant", "content": "x" * 8000}]}).encode() + b"\n"
        count = (mebibytes << 20) // len(line)
        job = make_hand_job(({"a": line * count}, count), epochs=1, rows=2, sequence=64)
        bench = Bench(job, tiny_base, tmp_path / str(mebibytes), steps=10**9)
        access = job.opened(job.owners[0])
        tracemalloc.start()
        trained = bench.train(bench.prepare([access]), in_silence)
        bench.trainer.rows.clear()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert trained.steps > 0
        assert bench.ledger.tally.owed(job.owners[0].consent_id) == count
    assert peaks[1] < peaks[0] + (3 << 20)
    assert peaks[1] < 12 << 20
