"""The log's open end: large steps, in order, around the page cache or through it; and what a kill leaves of them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import Unavailable
from core.ids import ObjectId, VaultId
from vault import carlog, cartail
from vault.car import Car
from vault.carlog import PAGE, SegmentFile
from vault.carstore import CarStore
from vault.cartail import Tail
from vault.cid import DAG_CBOR, RAW, Cid
from vault.payload import dek_commitment, open_payload, seal_into

ROOT = Path(__file__).parents[2]
STEP = 2 * PAGE
Write = Callable[[int, Sequence[Any], int], int]


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cartail, "STEP", STEP)


def open_segment(path: Path, number: int, content: bytes = b"") -> SegmentFile:
    path = path / f"{number:08d}.car"
    path.write_bytes(content)
    return SegmentFile(path, number, os.O_RDWR)


def noise(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def refuse_direct_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: Any, flags: int, *rest: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, *rest)

    monkeypatch.setattr(carlog.os, "open", refusing)


def on_write(monkeypatch: pytest.MonkeyPatch, write: Callable[[Write, int, Sequence[Any], int], int]) -> None:
    """Have `write(real, fd, views, offset)` called for every write into a segment."""
    real = os.pwritev
    monkeypatch.setattr(carlog.os, "pwritev", lambda fd, views, offset: write(real, fd, views, offset))


def is_direct(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)


def refuse_direct_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        if is_direct(fd):
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(fd, views, offset)

    on_write(monkeypatch, refusing)


def write_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        return real(fd, [memoryview(views[0])[:PAGE]], offset)

    on_write(monkeypatch, short)


def write_shorter_than_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left lies on no page any more, and direct writes of it are refused."""

    def short(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        piece = memoryview(views[0])[:777]
        if is_direct(fd):
            if offset % PAGE:
                raise OSError(errno.EINVAL, "Invalid argument")
            fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
            try:
                return real(fd, [piece], offset)
            finally:
                os.close(fd)
        return real(fd, [piece], offset)

    on_write(monkeypatch, short)


def as_it_comes(_monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize(
    "disk", [as_it_comes, refuse_direct_opening, refuse_direct_writing, write_short, write_shorter_than_a_page]
)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_appended_is_in_the_files_after_settling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Callable[[pytest.MonkeyPatch], None], seed: int
) -> None:
    """Appends, settlings and moves in random order, from any byte of a page on, against byte strings."""
    disk(monkeypatch)
    rng = random.Random(seed)
    beginning = noise(rng.choice([0, 17, PAGE - 1, PAGE, PAGE + 5]), seed)
    wanted = {0: beginning}
    tail = Tail(open_segment(tmp_path, 0, beginning), len(beginning))
    for turn in range(120):
        number = tail.segment.number
        act = rng.random()
        if act < 0.8:
            parts = [noise(rng.choice([0, 1, 40, PAGE, 5000, 3 * STEP + 9]), turn) for _ in range(2)]
            tail.append(parts)
            wanted[number] += b"".join(parts)
        elif act < 0.92:
            tail.settle()
            assert not tail.holds(number, len(wanted[number]))
            assert {n: (tmp_path / f"{n:08d}.car").read_bytes() for n in wanted} == wanted
        else:
            wanted[number + 1] = b"header"
            tail.move_to(open_segment(tmp_path, number + 1, b"header"), 6)
        assert tail.end == len(wanted[tail.segment.number])
        for n, content in wanted.items():
            end = rng.randrange(len(content) + 1)
            if not tail.holds(n, end):
                assert (tmp_path / f"{n:08d}.car").read_bytes()[:end] == content[:end]
    tail.settle()
    assert {n: (tmp_path / f"{n:08d}.car").read_bytes() for n in wanted} == wanted
    tail.close()


def test_steps_go_around_the_page_cache_where_that_is_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = open_segment(tmp_path, 0)
    try:
        os.close(os.open(tmp_path / "00000000.car", os.O_WRONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no direct writes")
    seen: list[tuple[bool, int, int]] = []

    def watch(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        seen.append((is_direct(fd), offset, len(views[0])))
        return real(fd, views, offset)

    on_write(monkeypatch, watch)
    tail = Tail(segment, 0)
    tail.append([noise(2 * STEP + 100)])
    tail.settle()
    tail.append([noise(PAGE)])
    tail.move_to(open_segment(tmp_path, 1), 0)
    tail.settle()
    tail.close()
    steps = [(True, 0, STEP), (True, STEP, STEP), (False, 2 * STEP, 100)]
    # The page that was not full is written again, whole; what no page is full of goes the common way.
    assert seen == [*steps, (True, 2 * STEP, PAGE), (False, 2 * STEP + PAGE, 100)]


def test_at_every_moment_the_files_hold_a_beginning_of_what_was_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended = bytearray()
    lengths: list[int] = []

    def watch(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        content = (tmp_path / "00000000.car").read_bytes()
        assert bytes(appended[: len(content)]) == content
        lengths.append(len(content))
        return real(fd, views, offset)

    on_write(monkeypatch, watch)
    tail = Tail(open_segment(tmp_path, 0), 0)
    for n in range(60):
        part = noise(1000 + n, n)
        appended += part  # before it is appended, as a step may leave at once
        tail.append([part])
        assert len(tail._leaving) < cartail._BUFFERS
    tail.settle()
    tail.close()
    assert (tmp_path / "00000000.car").read_bytes() == appended
    assert lengths == sorted(lengths)
    assert len(lengths) > 6


def test_behind_a_step_that_failed_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else there were a hole in the log, and a kill before it is cut back would leave it there."""
    calls = 0

    def fail_once(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, views, offset)

    on_write(monkeypatch, fail_once)
    data = noise(20 * STEP)
    tail = Tail(open_segment(tmp_path, 0), 0)
    with pytest.raises(OSError, match="No space"):
        tail.append([data])
    with pytest.raises(OSError, match="No space"):
        tail.settle()
    tail.close()
    assert calls == 2
    assert (tmp_path / "00000000.car").read_bytes() == data[:STEP]


# The store above it.


def big(number: int) -> bytes:
    return noise(3000 + 700 * (number % 5), number)


def expected(numbers: range) -> dict[Cid, bytes]:
    return {Cid.of(RAW, big(n)): big(n) for n in numbers}


def contents(path: Path, *, read_only: bool = True) -> dict[Cid, bytes]:
    with CarStore(path, read_only=read_only) as store:
        return {cid: store.get(cid) for cid in store.cids()}


def in_the_cars(path: Path) -> Iterator[tuple[Cid, bytes]]:
    """All blocks by a strict reader, which takes no hole and no torn tail."""
    for segment in sorted(path.glob("*.car")):
        with segment.open("rb") as file:
            yield from Car.read(file).blocks


def remove_index(path: Path) -> None:
    for file in path.glob("index.sqlite*"):
        file.unlink()


def test_blocks_are_read_back_before_they_are_on_the_disk(tmp_path: Path) -> None:
    with CarStore(tmp_path, roll_at=10 * STEP) as store:
        for n in range(60):
            cid = store.add(RAW, big(n))
            assert store.get(cid) == big(n)
            if n % 7 == 0:
                assert store.get(Cid.of(RAW, big(n // 2))) == big(n // 2)
    assert contents(tmp_path) == expected(range(60))
    assert dict(in_the_cars(tmp_path)) == expected(range(60))


@pytest.mark.parametrize("failing", range(1, 12))
def test_whichever_write_fails_what_was_flushed_stays_and_the_store_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    store = CarStore(tmp_path, roll_at=4 * STEP)
    for n in range(3):
        store.add(RAW, big(n))
    store.flush()
    calls = 0

    def fail(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls >= failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, views, offset)

    def add_more() -> None:
        for n in range(3, 60):
            store.add(RAW, big(n))
        store.flush()

    with monkeypatch.context() as patch:
        on_write(patch, fail)
        with pytest.raises(Unavailable, match="No space"):
            add_more()
    with pytest.raises(Unavailable, match="earlier failure"):
        store.flush()
    assert {cid: store.get(cid) for cid in store.cids()} == expected(range(3))
    assert dict(in_the_cars(tmp_path)) == expected(range(3))
    for n in range(3, 20):
        store.add(RAW, big(n))
    store.close()
    assert contents(tmp_path) == expected(range(20))
    remove_index(tmp_path)
    assert contents(tmp_path) == expected(range(20))


class Killed(BaseException):
    """Stands for the end of the process at this very call."""


@pytest.mark.parametrize("crash_at", range(1, 40, 2))
def test_a_log_cut_short_anywhere_has_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int) -> None:
    live, dead = tmp_path / "live", tmp_path / "dead"
    store = CarStore(live, roll_at=5 * STEP)
    for n in range(3):
        store.add(RAW, big(n))
    store.flush()
    flushed, calls = 3, 0
    lock = threading.Lock()

    def die(call: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            if calls == crash_at:
                # A crash is what lies on disk at this moment: take a copy of it and end.
                dead.mkdir()
                for file in live.iterdir():
                    (dead / file.name).write_bytes(file.read_bytes())
            if calls >= crash_at:
                raise Killed
        return call(*arguments)

    sync = os.fdatasync
    with monkeypatch.context() as patch:
        on_write(patch, die)
        patch.setattr(carlog.os, "fdatasync", lambda fd: die(sync, fd))
        try:
            for n in range(3, 80):
                store.add(RAW, big(n))
                if n % 20 == 0:
                    store.flush()
                    with lock:
                        flushed = n + 1 if calls < crash_at else flushed
        except Killed:
            pass
        assert calls >= crash_at
    with contextlib.suppress(Unavailable):  # it says what was lost
        store.close()
    found = contents(dead, read_only=False)
    assert expected(range(flushed)).items() <= found.items() <= expected(range(80)).items()
    assert dict(in_the_cars(dead)) == found
    # And so what is deleted now stays deleted, whatever becomes of the index.
    with CarStore(dead) as after:
        after.delete(Cid.of(RAW, big(0)))
    remove_index(dead)
    del found[Cid.of(RAW, big(0))]
    assert contents(dead) == found


WRITER = """
import random, sys
from pathlib import Path
from vault import cartail
from vault.carstore import CarStore
from vault.cid import RAW
cartail.STEP = 1 << 20
store = CarStore(Path(sys.argv[1]), roll_at=10 << 20)
number = int(sys.argv[2])
while True:
    for _ in range(6):
        store.add(RAW, random.Random(number).randbytes(900_000))
        number += 1
    store.flush()
    print(number, flush=True)
"""


def test_a_writer_killed_amid_large_blocks_loses_nothing_and_leaves_no_hole(tmp_path: Path) -> None:
    number = 0
    for lines in (1, 3, 2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        for _ in range(lines):
            number = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            number = int(line)
        process.wait()
        process.stdout.close()
        blocks = {Cid.of(RAW, data) for data in (random.Random(n).randbytes(900_000) for n in range(number))}
        held = contents(tmp_path, read_only=False)
        assert blocks <= held.keys()
        assert dict(in_the_cars(tmp_path)) == held


def test_threads_seal_into_one_store_while_others_read_and_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cartail, "STEP", 1 << 20)
    vault_id, dek = VaultId(bytes(32)), bytes(range(32))
    store = CarStore(tmp_path, roll_at=9 << 20)
    junk = [store.add(RAW, big(n)) for n in range(40)]
    kept = store.add(RAW, b"kept")

    def seal_one(n: int) -> bool:
        object_id, data = ObjectId(bytes([n]) * 32), noise(5_300_000 + n, n)
        sealed = seal_into(io.BytesIO(data), dek, vault_id, object_id, store)
        if n % 2:
            store.flush()
        commit = dek_commitment(dek, vault_id, object_id)
        return b"".join(open_payload(store, sealed.payload, sealed.size, dek, commit, vault_id, object_id)) == data

    def disturb(n: int) -> bool:
        for cid in junk[n::2]:
            store.delete(cid)
            assert store.get(kept) == b"kept"
        return True

    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(seal_one, n) for n in range(3)] + [pool.submit(disturb, n) for n in range(2)]
        assert all(future.result(timeout=60) for future in work)
    store.close()
    held = contents(tmp_path)
    assert not held.keys() & set(junk)
    assert len(held) == 3 * 7 + 1
    blocks = dict(in_the_cars(tmp_path))
    assert held.items() <= blocks.items()
    assert {cid.codec for cid in blocks.keys() - held.keys() - set(junk)} <= {DAG_CBOR}  # tombstones
    remove_index(tmp_path)
    assert contents(tmp_path) == held


def test_a_slow_disk_keeps_no_reader_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CarStore(tmp_path)
    cid = store.add(RAW, b"to be read")
    store.flush()
    go_on, behind = threading.Event(), threading.Event()

    def slow(real: Write, fd: int, views: Sequence[Any], offset: int) -> int:
        assert go_on.wait(60)
        return real(fd, views, offset)

    crowd = Tail.crowd

    def watched(tail: Tail) -> Any:
        future = crowd(tail)
        if future is not None:
            behind.set()
        return future

    monkeypatch.setattr(Tail, "crowd", watched)
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
        on_write(patch, slow)
        try:
            writing = pool.submit(lambda: [store.add(RAW, noise(1000, n)) for n in range(60)])
            assert behind.wait(60)
            assert pool.submit(store.get, cid).result(timeout=60) == b"to be read"
            assert not writing.done()
        finally:
            go_on.set()
        writing.result(timeout=60)
    store.close()
    assert contents(tmp_path) == {
        Cid.of(RAW, data): data for data in [b"to be read", *(noise(1000, n) for n in range(60))]
    }
