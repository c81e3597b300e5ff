"""What stands beside the parts of `allod up`: the note of its keepers, and the process that makes the demo's people."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from allod.services import forget_services, keeper_services, tell_services, up_lock
from allod.supervising import Tree
from allod.up import make_people
from allod.world import World
from core.errors import Busy, Corrupted, Unavailable
from core.settings import Settings
from tests.allod.standing import PATIENCE, lives, until

URLS = {1: "http://127.0.0.1:1", 2: "http://127.0.0.1:2"}


def test_where_keepers_answer_is_believed_only_while_an_up_runs(tmp_path: Path) -> None:
    assert keeper_services(tmp_path) == {}
    lock = up_lock(tmp_path)
    with lock:
        assert keeper_services(tmp_path) == {}
        tell_services(tmp_path, URLS)
        assert keeper_services(tmp_path) == URLS
        with World(Settings(home=tmp_path)) as world:
            assert world._has_services
    assert keeper_services(tmp_path) == {}  # it was killed: the note is still there
    with World(Settings(home=tmp_path)) as world:
        assert not world._has_services
    with up_lock(tmp_path):
        assert keeper_services(tmp_path) == URLS
        (tmp_path / "keepers" / "services.json").write_text("[")
        with pytest.raises(Corrupted):
            keeper_services(tmp_path)
        forget_services(tmp_path)
        assert keeper_services(tmp_path) == {}


def test_who_looks_for_the_keepers_is_never_in_the_way_of_an_up(tmp_path: Path) -> None:
    tell_services(tmp_path, URLS)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            keeper_services(tmp_path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(50):
            with up_lock(tmp_path):
                pass
    finally:
        over.set()
        looker.join(PATIENCE)
    with up_lock(tmp_path), pytest.raises(Busy, match="`allod up` is in use by process"):
        up_lock(tmp_path).acquire()


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[Tree], list[str]]]:
    """What `make_people` makes of a demo that does this instead."""

    def doing(script: str) -> Callable[[Tree], list[str]]:
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        monkeypatch.setattr("allod.up.sys.executable", str(program))
        return lambda tree: make_people(Settings(home=tmp_path), tree, "http://127.0.0.1:1")

    return doing


def test_people_that_cannot_be_made_are_an_error(
    tmp_path: Path, people: Callable[[str], Callable[[Tree], list[str]]]
) -> None:
    with Tree(tmp_path / "logs") as tree:
        assert people("echo Ada; echo Tom")(tree) == ["Ada", "Tom"]
        with pytest.raises(Unavailable, match="could not be made") as caught:
            people("echo No money is left.; exit 1")(tree)
    assert "No money is left." in (caught.value.hint or "")


def test_a_stop_ends_the_making_of_people_and_all_that_it_started(
    tmp_path: Path, people: Callable[[str], Callable[[Tree], list[str]]]
) -> None:
    stop, pids = threading.Event(), tmp_path / "pids"
    told: list[list[str]] = []
    with Tree(tmp_path / "logs", stop=stop) as tree:
        make = people(f"sleep 600 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait")
        making = threading.Thread(target=lambda: told.append(make(tree)))
        making.start()
        until(pids.exists)
        stop.set()
        making.join(PATIENCE)
    assert told == [[]]
    until(lambda: not any(lives(int(pid)) for pid in pids.read_text().split()))
