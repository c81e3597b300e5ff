"""`job start`, `job cancel`, `job watch` and `worker` as a payer types them, each as if in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from allod.events import EventLog
from finetune.workspace import State, Workspace
from tests.cli.conftest import Terminal
from tests.cli.prepared import make_base


def start(allod: Terminal) -> int:
    """A job that is open and queued; its base model can be hashed, but not loaded."""
    make_base(allod.home.parent / "base")
    number: int = allod("job", "quote", "--base", "base", "--fee", "0.25", "--as", "tess").data["job"]
    started = allod("job", "start", number, "--as", "tess").data
    assert (started["job"], started["state"], started["workers"]) == (number, "open", 0)
    return number


def job_of(allod: Terminal) -> Workspace:
    """The job that is not the prepared one."""
    (job,) = [job for job in map(Workspace, (allod.home / "jobs").glob("[0-9a-f]*")) if job.facts.get("queued")]
    return job


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_started_job_is_cancelled_before_its_first_release_and_all_comes_back(lived_in: Terminal) -> None:
    allod = lived_in
    before = allod("balance", "--as", "tess").data["deposited"]
    number = start(allod)
    assert allod("balance", "--as", "tess").data["deposited"] != before
    denied = allod("job", "cancel", number, "--as", "ada")
    assert denied.error["type"] == "denied"
    said = allod("job", "cancel", number, "--as", "tess").data
    assert (said["answer"], said["state"], said["owed"], said["total"]) == ("cancelled", "done", [], "0.00")
    assert allod("balance", "--as", "tess").data["deposited"] == before
    assert allod("job", "cancel", number, "--yes", "--as", "tess").data["answer"] == "declined"
    assert allod("job", "start", number, "--as", "tess").error["type"] == "conflict"


def test_cancelling_a_quote_moves_nothing_and_it_can_still_be_started(lived_in: Terminal) -> None:
    allod = lived_in
    make_base(allod.home.parent / "base")
    number = allod("job", "quote", "--base", "base", "--as", "tess").data["job"]
    said = allod("job", "cancel", number, "--yes", "--as", "tess").data
    assert (said["answer"], said["state"], said["refund"]) == ("not-open", "quoted", "0.00")
    assert allod("job", "start", number, "--as", "tess").data["state"] == "open"


def test_a_job_is_not_started_with_another_base_model_than_the_quoted_one(lived_in: Terminal) -> None:
    allod = lived_in
    base = make_base(allod.home.parent / "base")
    number = allod("job", "quote", "--base", "base", "--as", "tess").data["job"]
    before = allod("balance", "--as", "tess").data
    (base / "config.json").write_text('{"other": 1}')
    assert allod("job", "start", number, "--as", "tess").error["type"] == "invalid-input"
    assert allod("balance", "--as", "tess").data == before


def test_watching_with_json_prints_one_document_a_line_and_goes_on_where_it_is_told_to(lived_in: Terminal) -> None:
    allod = lived_in
    (job,) = map(Workspace, (allod.home / "jobs").glob("[0-9a-f]*"))
    assert job.state is State.DONE
    log = EventLog(job.folder)
    log.add("state", state="training")
    log.step(step=1, steps=1, loss=1.25, tokens=7, owners=1)
    log.add("state", state="done", outcome="confirmed")
    seen = lines(allod("job", "watch", "1").out)
    assert [one.get("event", {}).get("n") for one in seen] == [1, 2, 3, None]
    assert {(one["allod"], one["command"]) for one in seen} == {(1, "job watch")}
    assert seen[-1] == {
        "allod": 1,
        "command": "job watch",
        "ok": True,
        "data": {"job": 1, "state": "done", "outcome": "confirmed", "last": 3},
    }
    assert [one["event"]["n"] for one in lines(allod("job", "watch", "1", "--after", 2).out)[:-1]] == [3]
    people = allod("job", "watch", "1", json=False).out
    assert "loss 1.25" in people
    assert "over: confirmed" in people


def test_watching_a_job_that_is_not_over_ends_when_told_to_with_a_place_to_go_on_from(lived_in: Terminal) -> None:
    allod = lived_in
    number = start(allod)
    said = allod("job", "watch", number, "--seconds", 0)
    *events, last = lines(said.out)
    assert [one["event"]["kind"] for one in events] == ["queued"]
    assert said.code == 9
    assert "--after 1" in last["error"]["next"]


def test_a_job_that_no_worker_goes_on_with_is_told_of(lived_in: Terminal) -> None:
    allod = lived_in
    number = start(allod)
    EventLog(job_of(allod).folder).add("failed", error="refused", note="The keepers refused.", next="Ask them.")
    said = allod("job", "watch", number)
    assert said.code == 5
    assert lines(said.out)[-1]["error"]["title"] == "The keepers refused."


@pytest.mark.needs_trainer
def test_a_worker_serves_the_homes_chain_and_stops_on_sigterm(
    lived_in: Terminal, wait_until: Callable[[Callable[[], bool], subprocess.Popen[str]], None]
) -> None:
    allod = lived_in
    note = allod.home / "chain" / "endpoint.json"
    worker = allod.begin("worker")
    try:
        wait_until(note.exists, worker)
        assert allod("balance", "--as", "tess").code == 0  # beside it, over the chain that it serves
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.communicate()
    assert worker.returncode == 0, out + err
    assert json.loads(out)["data"] == {"slot": 1, "jobs": 0}
    assert err == ""
    assert not note.exists()


@pytest.mark.needs_trainer
def test_a_worker_gives_a_job_up_whose_model_cannot_be_used_and_says_so(lived_in: Terminal, tmp_path: Path) -> None:
    allod = lived_in
    number = start(allod)
    (allod.home.parent / "base" / "config.json").write_text('{"changed": true}')
    assert allod("worker", "--until-idle").data == {"slot": 1, "jobs": 1}
    said = allod("job", "watch", number)
    assert said.code == 5
    assert "not the one that the recipe names" in lines(said.out)[-1]["error"]["title"]
    assert "yes" in str(allod("job", "cancel", number, "--as", "tess", json=False).out)
    ended = allod("job", "cancel", number, "--yes", "--as", "tess").data
    assert (ended["answer"], ended["state"]) == ("cancelled", "done")
    assert not list(tmp_path.glob("home/workflows.db-journal"))
