"""The events of a job: complete and in order for every reader, whatever died while they were written, and bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import allod.events
from allod.events import MAX_BYTES, NAME, EventLog, Reader


def numbers(folder: Path, **how: int) -> list[int]:
    return [event["n"] for event in Reader(folder, **how).new()]


def test_a_reader_gets_each_event_once_and_in_order(tmp_path: Path) -> None:
    log, reader = EventLog(tmp_path), Reader(tmp_path)
    assert list(reader.new()) == []
    log.add("state", state="open")
    log.add("phase", phase="release", note="")
    assert [(event["n"], event["kind"]) for event in reader.new()] == [(1, "state"), (2, "phase")]
    assert list(reader.new()) == []
    EventLog(tmp_path).add("state", state="done")
    assert [event["state"] for event in reader.new()] == ["done"]
    assert numbers(tmp_path, after=2) == [3]


@pytest.mark.parametrize("torn", [b"{", b'{"n":3,"at":1.0,"kind":"sta', b"\xff\x00"])
def test_a_line_that_a_crash_tore_is_never_shown_and_leaves_no_gap(tmp_path: Path, torn: bytes) -> None:
    log, reader = EventLog(tmp_path), Reader(tmp_path)
    log.add("state", state="open")
    log.add("state", state="releasing")
    with (tmp_path / NAME).open("ab") as file:
        file.write(torn)
    assert [event["n"] for event in reader.new()] == [1, 2]
    EventLog(tmp_path).add("state", state="training")
    assert [event["n"] for event in reader.new()] == [3]
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_damaged_line_hides_no_other(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for state in ("open", "releasing", "training"):
        log.add("state", state=state)
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(lines[0] + b"rubbish\n" + lines[2])
    assert [(event["n"], event["kind"]) for event in Reader(tmp_path).new()] == [
        (1, "state"),
        (2, "missed"),
        (3, "state"),
    ]


def test_the_file_stays_bounded_and_tells_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allod.events, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(allod.events, "MAX_BYTES", 20_000)
    log, reader = EventLog(tmp_path), Reader(tmp_path)
    log.add("state", state="training")
    for step in range(1, 2001):
        log.step(step=step, steps=2000, loss=1.5, tokens=100, owners=3)
        assert (tmp_path / NAME).stat().st_size <= 20_000 + 200
    log.add("state", state="done")
    found = list(reader.new())
    assert found[0]["state"] == "training"
    assert found[-1]["state"] == "done"
    assert sum(event.get("count", 1) for event in found) == 2002
    assert [event["n"] for event in found] == sorted(event["n"] for event in found)


def test_a_reader_that_follows_misses_nothing_while_room_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allod.events, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(allod.events, "MAX_BYTES", 20_000)
    log, reader = EventLog(tmp_path), Reader(tmp_path)
    seen: list[int] = []
    for step in range(1, 1001):
        log.step(step=step, steps=1000)
        if step % 50 == 0:
            seen += [event["n"] for event in reader.new()]
    assert seen == list(range(1, 1001))


def test_a_job_of_quick_steps_writes_few_of_them_and_the_last(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for step in range(1, 5001):
        log.step(step=step, steps=5000)
    events = list(Reader(tmp_path).new())
    assert events[-1]["step"] == 5000
    assert len(events) < 100


def test_no_text_of_any_length_or_kind_breaks_a_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.add("phase", note="a\nb\u2028c\ud800" + "x" * 10_000)
    (event,) = Reader(tmp_path).new()
    assert event["note"].startswith("a\nb")
    assert len(event["note"]) == 500
    (line,) = (tmp_path / NAME).read_bytes().splitlines()
    assert json.loads(line) == event
    assert len(line) < MAX_BYTES
