"""A tree of processes stands: what dies is started again, what cannot live ends it, nothing outlives its supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from allod import supervising
from allod.supervising import Part, Tree
from core.errors import Unavailable
from tests.allod.standing import PATIENCE, lives, until

SLEEPER = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).open('a').write('x'); time.sleep(600)"
STUBBORN = (
    "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path(sys.argv[1]).open('a').write('x'); time.sleep(600)"
)


def starts(mark: Path) -> int:
    return len(mark.read_text()) if mark.exists() else 0


def part(name: str, mark: Path, code: str = SLEEPER) -> Part:
    return Part(name, [sys.executable, "-c", code, str(mark)], dict(os.environ), lambda: starts(mark) > 0)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tree]:
    monkeypatch.setattr(supervising, "SHORT", 0.01)
    monkeypatch.setattr(supervising, "GRACE", 0.5)
    with Tree(tmp_path / "logs") as tree:
        yield tree


@contextlib.contextmanager
def kept_up(tree: Tree) -> Iterator[list[BaseException]]:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            tree.run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failed
    finally:
        tree._stop.set()
        thread.join(PATIENCE)


def test_a_part_that_is_killed_is_started_again_and_the_others_are_left_alone(tree: Tree, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    tree.start(part("one", one))
    tree.start(part("other", other))
    before = tree.pids
    with kept_up(tree) as failed:
        os.kill(before["one"], signal.SIGKILL)
        until(lambda: starts(one) == 2)
    assert not failed
    assert tree.pids["other"] == before["other"]
    assert starts(other) == 1


def test_a_part_that_cannot_start_is_an_error_with_the_end_of_its_log(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        tree.start(
            Part("broken", [sys.executable, "-c", "raise SystemExit('no port')"], dict(os.environ), lambda: False)
        )
    assert f"broken died {supervising.DEATHS} times in a row" in caught.value.message
    assert "no port" in (caught.value.hint or "")


def test_a_part_that_is_killed_while_it_starts_is_started_again_and_so_is_one_that_stood(
    tree: Tree, tmp_path: Path
) -> None:
    stood, mark = tmp_path / "stood", tmp_path / "mark"
    tree.start(part("stood", stood))
    killed = (
        "import os, pathlib, signal, sys, time; mark = pathlib.Path(sys.argv[1]); mark.open('a').write('x'); "
        "len(mark.read_text()) == 1 and os.kill(int(sys.argv[2]), 9); "
        "len(mark.read_text()) < 3 and os.kill(os.getpid(), signal.SIGKILL); time.sleep(600)"
    )
    words = [sys.executable, "-c", killed, str(mark), str(tree.pids["stood"])]
    tree.start(Part("late", words, dict(os.environ), lambda: starts(mark) == 3 and starts(stood) == 2))
    assert all(lives(pid) for pid in tree.pids.values())
    assert tree.pids.keys() == {"stood", "late"}


def test_a_part_that_keeps_dying_ends_the_tree(tree: Tree) -> None:
    tree.start(Part("fragile", [sys.executable, "-c", "pass"], dict(os.environ)))
    with kept_up(tree) as failed:
        until(lambda: bool(failed))
    (error,) = failed
    assert isinstance(error, Unavailable)
    assert f"died {supervising.DEATHS} times in a row" in error.message


def test_a_stop_reaches_every_part_also_one_that_does_not_listen(tree: Tree, tmp_path: Path) -> None:
    tree.start(part("polite", tmp_path / "polite"))
    tree.start(part("stubborn", tmp_path / "stubborn", STUBBORN))
    pids = list(tree.pids.values())
    tree.close()
    tree.close()
    assert not any(lives(pid) for pid in pids)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise to tell a child of its parent's death")
def test_no_part_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    mark, note = tmp_path / "mark", tmp_path / "pid"
    code = (
        "import os, pathlib, sys\n"
        "from allod.supervising import Part, Tree\n"
        f"mark, note = pathlib.Path({str(mark)!r}), pathlib.Path({str(note)!r})\n"
        f"words = [sys.executable, '-c', {SLEEPER!r}, str(mark)]\n"
        "tree = Tree(mark.parent / 'logs')\n"
        "tree.start(Part('one', words, dict(os.environ), mark.exists))\n"
        "note.write_text(str(tree.pids['one']))\n"
        "tree.run()\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    try:
        until(lambda: note.exists() and note.read_text().isdigit())
        pid = int(note.read_text())
        assert lives(pid)
    finally:
        supervisor.kill()
        supervisor.wait()
    until(lambda: not lives(pid))
