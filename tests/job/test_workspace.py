"""A job's folder goes forward only, and holds whole documents only."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Busy, Conflict, Corrupted, InvalidInput, NotFound
from finetune.workspace import NEXT, State, Workspace, workspaces


@pytest.fixture
def job(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "jobs" / "one", {"recipe.json": b"{}"})


def test_a_new_job_is_quoted(job: Workspace) -> None:
    assert job.state is State.QUOTED
    assert job.get("recipe.json") == b"{}"
    assert (job.folder / "state.json").stat().st_mode & 0o077 == 0


def test_the_way_through_a_job(job: Workspace) -> None:
    for state in (State.OPENING, State.OPEN, State.RELEASING, State.TRAINING, State.CONFIRMING, State.DONE):
        job.advance(state, **{f"at_{state}": 1})
    again = Workspace(job.folder)
    assert again.state is State.DONE
    assert again.facts["at_open"] == 1


def test_every_state_can_come_to_an_end() -> None:
    ended = {State.DONE}
    for _ in State:
        ended |= {state for state in State if NEXT[state] & ended}
    assert ended == set(State)


def test_there_is_no_way_back_to_an_unpaid_job(job: Workspace) -> None:
    for state in (State.OPENING, State.OPEN, State.RELEASING, State.TRAINING, State.SETTLING):
        job.advance(state)
    for state in set(State) - {State.DONE}:
        with pytest.raises(Conflict):
            job.advance(state)


def test_only_known_documents_are_kept(job: Workspace) -> None:
    for name in ("records.txt", "../x", "adapter/../../x", "adapter/", "adapter/a/b", "/etc/passwd", "licences"):
        with pytest.raises(InvalidInput):
            job.put(name, b"")


def test_a_missing_document_is_said_to_be_missing(job: Workspace) -> None:
    assert not job.has("order.cbor")
    with pytest.raises(NotFound):
        job.get("order.cbor")


def test_two_processes_do_not_work_on_one_job(job: Workspace) -> None:
    with job.hold(), pytest.raises(Busy), Workspace(job.folder).hold():
        pass


def test_a_folder_holds_one_job(job: Workspace) -> None:
    with pytest.raises(Conflict):
        Workspace.create(job.folder, {})


def test_a_folder_without_a_state_is_no_job(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    with pytest.raises(NotFound):
        Workspace(tmp_path / "half")
    assert list(workspaces(tmp_path)) == []


def test_a_damaged_state_is_noticed(job: Workspace) -> None:
    (job.folder / "state.json").write_bytes(b'{"facts":{},"state":"paid","v":1}')
    with pytest.raises(Corrupted):
        _ = job.state


def test_a_new_adapter_replaces_the_former_one(job: Workspace) -> None:
    job.put_adapter({"a.json": b"1", "b.safetensors": b"2"})
    job.put_adapter({"a.json": b"3"})
    assert job.adapter() == {"a.json": b"3"}
