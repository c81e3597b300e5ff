"""Files survive crashes, and a lock says who holds it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.errors import Busy
from core.files import Lock, write_atomic


def test_a_write_that_fails_half_way_leaves_the_former_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "head"
    write_atomic(path, b"old")

    def broken(_fd: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["head"]


def test_what_is_written_is_private_by_default(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "key", b"x")
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600


def test_a_held_lock_names_its_holder_and_is_free_after_its_death(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    code = (
        "import sys; from pathlib import Path; from core.files import Lock\n"
        "Lock(Path(sys.argv[1]), what='The chain').acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=f"The chain is in use by process {holder.pid}"):
            Lock(path, what="The chain").acquire()
        holder.kill()
        holder.wait()
        with Lock(path, what="The chain"):
            pass


def test_a_lock_that_is_freed_in_time_is_waited_for_and_one_that_is_not_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "LOCK"
    first, second = Lock(path, what="The store"), Lock(path, what="The store", patience=60)
    first.acquire()
    freeing = threading.Timer(0.2, first.release)
    freeing.start()
    second.acquire()
    freeing.join()
    with pytest.raises(Busy, match=str(os.getpid())):
        Lock(path, what="The store", patience=0.1).acquire()
    second.release()
