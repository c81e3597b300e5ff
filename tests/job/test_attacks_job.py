"""Owners, files, chains and crashes that mean harm: a job ends rightly all the same, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import finetune.watch
from core.encoding import encode_cbor
from core.errors import InvalidInput, Unavailable
from core.ids import ConsentId, JobId
from finetune.broker import Progress, prepare
from finetune.ledger import Tally
from finetune.model.tokenizer import encode_record, load_tokenizer
from finetune.plan import decode_plan
from finetune.replay import replay
from finetune.run import Finished, run_job
from finetune.scratch import Scratch
from finetune.site import in_silence
from finetune.watch import Pace, Watch
from finetune.workspace import State, Workspace
from tests.job.by_hand import make_hand_job, notes
from tests.job.paper import PaperTrainer
from tests.job.worlds import FEE_UNITS, FLAT, RATE, World
from vault.readers import BrokenRecord, read_records

pytestmark = pytest.mark.needs_trainer

RECORDS = {"ada": 12, "bruno": 8, "chiara": 5}
NUMBER = {name: number for number, name in enumerate(RECORDS, start=1)}
EAGER = Pace(seconds=0.0)  # asks before every record


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def full(name: str, epochs: int = 2) -> int:
    return FLAT + NUMBER[name] + RATE * RECORDS[name] * epochs


def finish(world: World, job: Workspace, trainer: PaperTrainer | None = None, **site: Any) -> Finished:
    made: Any = trainer or PaperTrainer()
    return run_job(world.site(trainer=lambda: made, **site), job, world.work(), payer=world.trainer)


def revoking(world: World, name: str, phase: str) -> Any:
    """A report that revokes an owner's consent the first time a phase is reported."""
    gone: list[str] = []

    def report(progress: Progress) -> None:
        if progress.phase == phase and progress.owners and not gone:
            gone.append(name)
            world.revoke(name)

    return report


# Consents that end before their first step.


def test_a_consent_that_ends_before_its_first_record_is_read_costs_the_flat_part_only(world: World) -> None:
    first, last = sorted(("ada", "bruno"), key=lambda name: world.owners[name].consent_id)
    job = world.job(["ada", "bruno"])
    done = finish(world, job, report=revoking(world, last, "read"), pace=EAGER)
    assert decode_plan(job.get("plan.cbor")).objects
    assert done.tally.dropped == {world.owners[last].consent_id}
    assert done.outcome == "settled"
    assert world.amount(done.final, last) == FLAT + NUMBER[last]
    assert world.amount(done.final, first) == full(first)
    assert [entry["where"] for entry in done.refusals] == ["training"]
    replay(decode_plan(job.get("plan.cbor")), job.ledger.read_bytes(), done.order.job_id)


def test_a_job_whose_only_owner_leaves_before_the_reading_refunds_all_but_the_flat_part(world: World) -> None:
    job = world.job(["chiara"])
    done = finish(world, job, report=revoking(world, "chiara", "release"), pace=EAGER)
    assert done.outcome == "settled"
    assert world.amount(done.final, "chiara") == FLAT + NUMBER["chiara"]
    assert done.final.total in (FLAT + NUMBER["chiara"], FLAT + NUMBER["chiara"] + FEE_UNITS)
    assert not job.adapter()


def test_a_chain_that_falls_silent_while_records_are_read_stops_the_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise Unavailable("No answer.")

    def report(progress: Progress) -> None:
        if progress.phase == "release" and progress.owners:
            monkeypatch.setattr(finetune.watch, "live", silent)

    job = world.job(["ada"])
    with pytest.raises(Unavailable, match="whether the consents"):
        finish(world, job, report=report, pace=EAGER)
    monkeypatch.undo()
    done = finish(world, job)
    assert done.outcome == "confirmed"
    assert decode_plan(job.get("plan.cbor")).records == RECORDS["ada"]


def test_a_chain_that_falls_silent_in_the_midst_of_an_object_is_no_fault_of_the_object(
    tiny_base: Path, tmp_path: Path
) -> None:
    job = make_hand_job(({"a": notes("Ada", 9)}, 9), sequence=64)
    asked = 0

    def look() -> dict[ConsentId, str]:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise Unavailable("No answer.")
        return {}

    watch = Watch(look, Pace(steps=10**9, seconds=0.0))
    with Scratch(tmp_path) as scratch, pytest.raises(Unavailable, match="whether the consents"):
        prepare([job.opened(job.owners[0])], load_tokenizer(tiny_base), job.recipe, job.job, scratch, watch, in_silence)


# Crashes in awkward places.


def test_an_entry_torn_by_a_crash_does_not_keep_a_refused_job_from_its_end(world: World) -> None:
    def kill(step: int) -> None:
        if step == 4:
            raise Killed

    job = world.job(["ada"], epochs=6)
    with pytest.raises(Killed):
        finish(world, job, PaperTrainer(kill))
    with job.ledger.open("ab") as ledger:
        ledger.write(b"\0\0\1\0half an entry")
    world.revoke("ada")  # so that nothing is opened again, and no attempt begins that would cut the ledger
    done = finish(world, job)
    owed = done.tally.owed(world.owners["ada"].consent_id)
    assert owed > 0
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * owed


def test_half_an_adapter_of_an_attempt_that_was_cut_short_is_never_vouched_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Workspace.put_adapter

    def cut_short(job: Workspace, files: dict[str, bytes]) -> None:
        real(job, dict(list(files.items())[:1]))
        if files:
            raise Killed

    job = world.job(["ada"])
    monkeypatch.setattr(Workspace, "put_adapter", cut_short)
    with pytest.raises(Killed):
        finish(world, job)
    monkeypatch.undo()
    assert job.adapter()
    world.revoke("ada")
    done = finish(world, job)
    assert job.state is State.DONE
    assert not job.adapter()
    assert world.amount(done.final, "ada") == full("ada")


# Hostile files.


def test_a_file_of_nothing_but_broken_lines_is_no_burden(tiny_base: Path, tmp_path: Path) -> None:
    broken = b'{"text": "fine"}\n' + b"{}\n" * 20_000
    job = make_hand_job(({"a": broken}, 4), sequence=64)
    tokenizer, watch = load_tokenizer(tiny_base), Watch(dict, Pace(steps=10**9, seconds=10.0**9))
    tracemalloc.start()
    try:
        with Scratch(tmp_path) as scratch:
            prepared = prepare([job.opened(job.owners[0])], tokenizer, job.recipe, job.job, scratch, watch, in_silence)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    reading = prepared.readings[job.owners[0].consent_id]
    assert (reading.records, len(reading.unread), reading.further) == (1, 1000, 20_000 - 1000)
    assert peak < 8 << 20


def chat(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[index % 2], "content": text} for index, text in enumerate(contents)]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (chat(*["x"] * 2001), "messages"),
        (chat("x" * (1 << 20), "y"), "1 MiB"),
        ({"text": "long " * (1 << 18)}, "1 MiB"),
        ({"prompt": "x", "completion": "é" * (1 << 19)}, "1 MiB"),
    ],
)
def test_a_record_too_long_to_train_on_is_named_to_its_owner(line: dict[str, Any], reason: str) -> None:
    data = json.dumps(line).encode() + b'\n{"text": "short"}\n'
    first, second = read_records("", None, [data])
    assert isinstance(first, BrokenRecord)
    assert first.place == "line 1"
    assert reason in first.reason
    assert not isinstance(second, BrokenRecord)


def test_the_longest_chat_there_is_is_tokenised_in_seconds_and_goes_through_the_pipe(tiny_base: Path) -> None:
    data = json.dumps(chat(*["word " * 100] * 2000)).encode()
    (record,) = read_records("", None, [data])
    assert not isinstance(record, BrokenRecord)
    began = time.process_time()
    ids, labels = encode_record(load_tokenizer(tiny_base), record.document())
    assert time.process_time() - began < 20
    assert sum(label != -100 for label in labels) > len(ids) // 3


@pytest.mark.parametrize(
    "data",
    [
        b'{"messages": [' + b"{}," * 300_000 + b"{}]}",
        b'[{"mapping": {"a": [' + b"[]," * 300_000 + b"[]]}}]",
        b'{"text": [' + b"1.5," * 1_100_000 + b"1]}",
    ],
)
def test_json_that_unfolds_to_many_times_its_size_is_not_unfolded(data: bytes) -> None:
    tracemalloc.start()
    try:
        found = list(read_records("", None, pieces(data)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(isinstance(item, BrokenRecord) for item in found)
    assert peak < 4 * len(data)


def pieces(data: bytes) -> list[bytes]:
    return [data[start : start + 65536] for start in range(0, len(data), 65536)]


@pytest.mark.parametrize(("opened", "closed"), [(b"{", b"]"), (b"[", b"}"), (b"{[", b"]"), (b"[", b"")])
def test_brackets_that_never_match_cost_no_more_time_than_their_length(opened: bytes, closed: bytes) -> None:
    data = b'[{"a":' + opened * 400_000 + closed * 400_000 + b'"' + b'"}]\n'
    began = time.process_time()
    for item in read_records("", "application/json", pieces(data)):
        assert isinstance(item, BrokenRecord)
    assert time.process_time() - began < 5


def test_reading_goes_on_behind_what_is_nested_too_deep() -> None:
    data = b'[{"a":' + b"[" * 1500 + b"]" * 1500 + b'}, {"text": "found"}]'
    *_, last = read_records("", "application/json", pieces(data))
    assert not isinstance(last, BrokenRecord)
    assert last.text == "found"


def test_a_recipe_whose_steps_do_not_fit_the_pipe_is_refused_before_money_moves(world: World) -> None:
    with pytest.raises(InvalidInput, match="step"):
        world.quote(["ada"], batch_rows=65_535, sequence=512)


# Hostile ledgers and plans.


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": ["step"], "step": 0, "uses": []},
        {"kind": "drop", "step": 0, "consents": [["x"]]},
        {"kind": "drop", "step": 0, "consents": [b"x", 1]},
        {"kind": "drop", "step": 0, "consents": [{"a": 1}]},
        {"kind": "step", "step": 0, "uses": [[["x"], 1, 1]]},
        {"kind": "start", "attempt": False, "plan": b"p" * 32},
        {"kind": "drop", "step": 0, "consents": [b"a" * 32], "v": True},
    ],
)
def test_an_odd_entry_is_an_error_of_the_ledger_and_not_of_the_program(fields: dict[str, Any]) -> None:
    tally = Tally(JobId(b"j" * 32))
    if fields["kind"] != "start":
        tally.read(encode_cbor({"v": 1, "previous": tally.head, "kind": "start", "attempt": 0, "plan": b"p" * 32}))
    with pytest.raises(InvalidInput):
        tally.read(encode_cbor({"v": 1, "previous": tally.head, **fields}))


def test_a_plan_has_one_spelling(world: World) -> None:
    job = world.job(["ada"])
    finish(world, job)
    value = job.get_value("plan.cbor")
    assert decode_plan(encode_cbor(value)).encode() == job.get("plan.cbor")
    with pytest.raises(InvalidInput):
        decode_plan(encode_cbor({**value, "v": True}))


# The child and the disk.


def test_torch_steps_where_no_temporary_file_and_no_cache_can_be_written() -> None:
    code = (
        "import os, tempfile\nfrom finetune.trainer import refuse_temporary_files\nrefuse_temporary_files()\n"
        "import torch\nvalue = torch.nn.Parameter(torch.zeros(2))\nadam = torch.optim.AdamW([value])\n"
        "value.sum().backward()\nadam.step()\n"
        "for make in (tempfile.mkstemp, tempfile.mkdtemp, lambda: os.makedirs(tempfile.gettempdir() + '/x/y')):\n"
        "    try:\n        make()\n    except OSError:\n        print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["refused"] * 3, done.stderr
