"""The embedded store across processes, kills, damage and time."""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import Busy, Conflict, Corrupted, Denied, InvalidInput, NotFound, Unavailable
from vault import carlog, carstore
from vault.car import Car, encode_frame
from vault.carindex import BadIndex, Index
from vault.carlog import HEADER, encode_tombstone
from vault.carstore import CarStore
from vault.cid import DAG_CBOR, RAW, Cid

ROOT = Path(__file__).parents[2]


def block(number: int) -> bytes:
    return b"block %d " % number * (number % 7 + 1)


def fill(path: Path, numbers: range, **options: int) -> list[Cid]:
    with CarStore(path, **options) as store:
        return [store.add(RAW, block(n)) for n in numbers]


def contents(path: Path, *, read_only: bool = True) -> dict[Cid, bytes]:
    with CarStore(path, read_only=read_only) as store:
        return {cid: store.get(cid) for cid in store.cids()}


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.car"))


def remove_index(path: Path) -> None:
    for file in path.glob("index.sqlite*"):
        file.unlink()


def expected(numbers: range) -> dict[Cid, bytes]:
    return {Cid.of(RAW, block(n)): block(n) for n in numbers}


def test_blocks_survive_closing_and_opening(tmp_path: Path) -> None:
    fill(tmp_path, range(50))
    assert contents(tmp_path) == expected(range(50))
    assert contents(tmp_path, read_only=False) == expected(range(50))


def test_every_segment_is_a_car_that_any_strict_reader_takes(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(50), roll_at=400)
    assert len(segments(tmp_path)) > 3
    found = []
    for path in segments(tmp_path):
        with path.open("rb") as file:
            car = Car.read(file)
            assert car.roots == ()
            found += [cid for cid, _ in car.blocks]
    assert found == cids


def test_segments_stay_below_the_size_at_which_they_roll(tmp_path: Path) -> None:
    fill(tmp_path, range(80), roll_at=500)
    assert all(path.stat().st_size <= 500 for path in segments(tmp_path))


def test_the_segments_alone_are_the_store(tmp_path: Path) -> None:
    fill(tmp_path / "a", range(60), roll_at=600)
    (tmp_path / "b").mkdir()
    for path in segments(tmp_path / "a"):
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    assert contents(tmp_path / "b") == expected(range(60))
    assert not (tmp_path / "b" / "index.sqlite").exists()  # reading only leaves no trace
    assert contents(tmp_path / "b", read_only=False) == expected(range(60))


@pytest.mark.parametrize("damage", ["missing", "garbage", "empty", "truncated", "foreign", "half", "overwritten"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_broken_index_is_made_again(tmp_path: Path, damage: str, read_only: bool) -> None:
    fill(tmp_path, range(300), roll_at=9000)
    index = tmp_path / "index.sqlite"
    data = index.read_bytes()
    remove_index(tmp_path)
    if damage == "garbage":
        index.write_bytes(random.Random(1).randbytes(5000))
    elif damage == "empty":
        index.write_bytes(b"")
    elif damage == "truncated":
        index.write_bytes(data[:1000])
    elif damage == "half":
        index.write_bytes(data[: len(data) // 2 // 4096 * 4096])
    elif damage == "overwritten":
        index.write_bytes(data[:8192] + bytes([0xA5]) * (len(data) - 8192))
    elif damage == "foreign":
        with sqlite3.connect(index) as db:
            db.execute("CREATE TABLE blocks (a)")
            db.execute("PRAGMA user_version = 77")
        db.close()
    assert contents(tmp_path, read_only=read_only) == expected(range(300))


def test_an_index_that_points_elsewhere_is_found_out_and_made_again(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(20))
    db = sqlite3.connect(tmp_path / "index.sqlite")
    db.execute("UPDATE blocks SET position = position + 1")
    db.commit()
    db.close()
    with CarStore(tmp_path) as store:
        assert [store.get(cid) for cid in cids] == [block(n) for n in range(20)]


def test_an_index_older_than_the_segments_catches_up(tmp_path: Path) -> None:
    fill(tmp_path, range(10))
    old = (tmp_path / "index.sqlite").read_bytes()
    with CarStore(tmp_path) as store:
        store.delete(Cid.of(RAW, block(3)))
        for n in range(10, 20):
            store.add(RAW, block(n))
    remove_index(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(old)
    wanted = expected(range(20))
    del wanted[Cid.of(RAW, block(3))]
    assert contents(tmp_path) == wanted
    assert contents(tmp_path, read_only=False) == wanted


def test_a_vanished_segment_makes_its_blocks_absent_and_no_others(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(40), roll_at=500)
    lost = segments(tmp_path)[1]
    with lost.open("rb") as file:
        gone = {cid for cid, _ in Car.read(file).blocks}
    lost.unlink()
    with CarStore(tmp_path) as store:
        assert set(store.missing(cids)) == gone
        assert set(store.cids()) == set(cids) - gone


@pytest.mark.parametrize("keep_index", [True, False], ids=["with its index", "segments only"])
def test_a_torn_tail_is_cut_wherever_it_tears(tmp_path: Path, keep_index: bool) -> None:
    fill(tmp_path, range(3))
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    extra = block(99)
    record = encode_frame(Cid.of(RAW, extra), len(extra)) + extra
    for cut in range(len(record)):
        segment.write_bytes(whole + record[:cut])
        if not keep_index:
            remove_index(tmp_path)
        assert contents(tmp_path) == expected(range(3))
        assert segment.read_bytes() == whole + record[:cut]  # a reader repairs nothing
        with CarStore(tmp_path) as store:
            store.add(RAW, b"next")
            store.delete(Cid.of(RAW, b"next"))
        assert contents(tmp_path, read_only=False) == expected(range(3))
        segment.write_bytes(whole)
        remove_index(tmp_path)
        for other in segments(tmp_path)[1:]:
            other.unlink()


def test_zeros_behind_the_log_are_a_torn_tail(tmp_path: Path) -> None:
    """A power cut can leave a file longer than what reached the disk."""
    fill(tmp_path, range(3))
    (segment,) = segments(tmp_path)
    whole = segment.read_bytes()
    segment.write_bytes(whole + bytes(5000))
    with CarStore(tmp_path) as store:
        assert {cid: store.get(cid) for cid in store.cids()} == expected(range(3))
    assert segment.read_bytes() == whole


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_a_segment_killed_while_it_was_born_is_no_obstacle(tmp_path: Path, length: int) -> None:
    fill(tmp_path, range(3))
    (tmp_path / "00000001.car").write_bytes(HEADER[:length])
    with CarStore(tmp_path) as store:
        store.add(RAW, block(3))
    assert contents(tmp_path) == expected(range(4))
    remove_index(tmp_path)
    assert contents(tmp_path) == expected(range(4))


def test_a_flipped_bit_costs_one_block_and_is_never_served(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(30))
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    spot = data.index(block(13)) + 2
    data[spot] ^= 4
    segment.write_bytes(data)
    with CarStore(tmp_path) as store:
        with pytest.raises(Corrupted):
            store.get(cids[13])
        assert [store.get(cid) for cid in cids if cid != cids[13]] == [block(n) for n in range(30) if n != 13]


@pytest.mark.parametrize("where", ["length", "cid", "data"])
def test_damage_found_while_rebuilding_costs_one_block(tmp_path: Path, where: str) -> None:
    cids = fill(tmp_path, range(30))
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    start = data.index(block(13))
    data[start + {"length": -37, "cid": -20, "data": 2}[where]] ^= 0x11
    segment.write_bytes(data)
    remove_index(tmp_path)
    with CarStore(tmp_path) as store:
        assert store.missing(cids) == [cids[13]]
        store.put(cids[13], block(13))
    assert contents(tmp_path) == expected(range(30))


def test_a_good_copy_heals_a_damaged_block(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(5))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(block(2), b"X" * len(block(2))))
    with CarStore(tmp_path) as store:
        with pytest.raises(Corrupted):
            store.get(cids[2])
        store.put(cids[2], block(2))
        assert store.get(cids[2]) == block(2)
    assert contents(tmp_path) == expected(range(5))


def test_deletion_survives_a_rebuild_and_a_later_put_does_too(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(10), roll_at=300)
    with CarStore(tmp_path, roll_at=300) as store:
        store.delete(cids[1])
        store.delete(cids[8])
        store.flush()
        store.put(cids[8], block(8))
    remove_index(tmp_path)
    wanted = expected(range(10))
    del wanted[cids[1]]
    assert contents(tmp_path) == wanted


def test_deleted_bytes_leave_the_disk(tmp_path: Path) -> None:
    secret = b"these bytes must go"
    with CarStore(tmp_path) as store:
        cid = store.add(RAW, secret)
        for n in range(50):
            store.add(RAW, block(n))
        store.flush()
        store.delete(cid)
        store.compact()
        assert not any(secret in path.read_bytes() for path in segments(tmp_path))
    assert contents(tmp_path) == expected(range(50))
    remove_index(tmp_path)
    assert contents(tmp_path) == expected(range(50))


def test_a_half_dead_segment_is_compacted_by_flush(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(200), roll_at=4000)
    before = sum(path.stat().st_size for path in segments(tmp_path))
    with CarStore(tmp_path, roll_at=4000) as store:
        for n in range(160):
            store.delete(cids[n])
        store.flush()
    wanted = expected(range(160, 200))
    assert contents(tmp_path) == wanted
    remove_index(tmp_path)
    assert contents(tmp_path) == wanted
    with CarStore(tmp_path) as store:
        store.compact()
    assert sum(path.stat().st_size for path in segments(tmp_path)) < before / 2
    remove_index(tmp_path)
    assert contents(tmp_path) == wanted


def test_any_history_replays_to_the_same_blocks(tmp_path: Path) -> None:
    """Puts, deletions, compactions, reopenings and rebuilds in random order, against a dictionary."""
    rng = random.Random(20261123)
    for world in range(6):
        path = tmp_path / str(world)
        model: dict[Cid, bytes] = {}
        store = CarStore(path, roll_at=rng.choice([250, 700, 5000]))
        for _ in range(250):
            data = block(rng.randrange(40))
            cid = Cid.of(RAW, data)
            act = rng.random()
            if act < 0.5:
                store.put(cid, data)
                model[cid] = data
            elif act < 0.85:
                store.delete(cid)
                model.pop(cid, None)
            elif act < 0.92:
                store.flush()
            elif act < 0.95:
                store.compact()
            else:
                store.close()
                if rng.random() < 0.5:
                    remove_index(path)
                store = CarStore(path, roll_at=rng.choice([250, 700, 5000]))
            assert store.has(cid) == (cid in model)
        store.close()
        assert contents(path) == model
        remove_index(path)
        assert contents(path) == model


def test_a_tombstone_moved_by_compaction_still_kills_what_it_named(tmp_path: Path) -> None:
    """Segment 0 keeps the dead block; segment 1, which holds the tombstone, is compacted away."""
    cids = fill(tmp_path, range(10))
    with CarStore(tmp_path, roll_at=segments(tmp_path)[0].stat().st_size) as store:
        store.delete(cids[0])
        junk = store.add(RAW, b"junk" * 75)
        store.flush()
        store.delete(junk)
        store.flush()
    assert "00000000.car" in {path.name for path in segments(tmp_path)}
    assert "00000001.car" not in {path.name for path in segments(tmp_path)}
    wanted = expected(range(1, 10))
    assert contents(tmp_path) == wanted
    remove_index(tmp_path)
    assert contents(tmp_path) == wanted


def test_a_tombstone_moved_behind_a_later_copy_does_not_kill_it(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(10))
    size = segments(tmp_path)[0].stat().st_size
    with CarStore(tmp_path, roll_at=size) as store:
        store.delete(cids[0])
        junk = [store.add(RAW, b"junk %d" % n * 5) for n in range(4)]
    with CarStore(tmp_path, roll_at=1) as store:  # the copy goes into a segment of its own
        store.put(cids[0], block(0))
    with CarStore(tmp_path, roll_at=size) as store:
        for cid in junk:
            store.delete(cid)
        store.flush()
    assert "00000001.car" not in {path.name for path in segments(tmp_path)}
    assert contents(tmp_path) == expected(range(10))
    remove_index(tmp_path)
    assert contents(tmp_path) == expected(range(10))


def test_compaction_keeps_a_segment_whose_living_cannot_be_read(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(10))
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(block(4), b"X" * len(block(4))))
    with CarStore(tmp_path) as store:
        store.delete(cids[0])
        store.compact()
        assert segment.exists()
        with pytest.raises(Corrupted):
            store.get(cids[4])
        store.put(cids[4], block(4))
        store.compact()
        assert not segment.exists()
    assert contents(tmp_path) == expected(range(1, 10))


def test_a_segment_that_comes_back_is_replayed_in_its_place(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(12), roll_at=400)
    with CarStore(tmp_path, roll_at=400) as store:
        store.delete(cids[0])
    first = segments(tmp_path)[0]
    data = first.read_bytes()
    first.unlink()
    with CarStore(tmp_path) as store:
        assert not store.has(cids[1])
        store.add(RAW, block(99))
    first.write_bytes(data)
    wanted = {**expected(range(1, 12)), **expected(range(99, 100))}
    assert contents(tmp_path) == wanted
    assert contents(tmp_path, read_only=False) == wanted


def test_a_deletion_behind_a_rotten_block_still_counts(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(10))
    with CarStore(tmp_path) as store:
        store.delete(cids[1])
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes().replace(block(4), b"X" * len(block(4))))
    remove_index(tmp_path)
    wanted = expected(range(10))
    del wanted[cids[1]], wanted[cids[4]]
    assert contents(tmp_path) == wanted


def test_an_index_that_breaks_while_writing_is_made_again_after_a_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cids = fill(tmp_path, range(5))
    store = CarStore(tmp_path)
    for n in range(5, 9):
        store.add(RAW, block(n))
    order: list[str] = []
    real_sync, real_remake = os.fdatasync, carstore.remake_index

    def sync(fd: int) -> None:
        order.append("sync")
        real_sync(fd)

    def remake(directory: Path, *, repair: bool) -> Index:
        order.append("index")
        return real_remake(directory, repair=repair)

    def breaks(_cid: Cid) -> None:
        raise BadIndex

    monkeypatch.setattr(carlog.os, "fdatasync", sync)
    monkeypatch.setattr(carstore, "remake_index", remake)
    monkeypatch.setattr(store._index, "lookup", breaks)
    assert store.get(cids[0]) == block(0)
    assert order == ["sync", "index"]
    store.add(RAW, block(9))
    store.close()
    assert contents(tmp_path) == expected(range(10))


class Killed(BaseException):
    """Stands for the end of the process at this very call."""


@pytest.mark.parametrize("crash_at", range(28))
def test_a_compaction_cut_short_anywhere_loses_and_revives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    cids = fill(tmp_path / "live", range(30), roll_at=600)
    store = CarStore(tmp_path / "live", roll_at=600)
    for n in (0, 1, 2, 11, 12, 29):
        store.delete(cids[n])
    store.flush()
    calls = 0

    def copy_then_die() -> None:
        # A crash is what lies on disk at this moment: take a copy of it and end.
        (tmp_path / "dead").mkdir()
        for file in (tmp_path / "live").iterdir():
            (tmp_path / "dead" / file.name).write_bytes(file.read_bytes())
        raise Killed

    def watched(name: str, real):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            if calls == crash_at:
                copy_then_die()
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(carlog.os, "fdatasync", watched("sync", os.fdatasync))
    monkeypatch.setattr(carlog.os, "pwritev", watched("write", os.pwritev))
    monkeypatch.setattr("pathlib.Path.unlink", watched("unlink", Path.unlink))
    try:
        store.compact()
    except Killed:
        pass
    else:
        assert calls < crash_at or crash_at == 0
    monkeypatch.undo()
    store.close()
    wanted = expected(range(30))
    for n in (0, 1, 2, 11, 12, 29):
        del wanted[cids[n]]
    assert contents(tmp_path / "live") == wanted
    if (tmp_path / "dead").exists():
        assert contents(tmp_path / "dead") == wanted
        assert contents(tmp_path / "dead", read_only=False) == wanted
        remove_index(tmp_path / "dead")
        assert contents(tmp_path / "dead") == wanted


WRITER = """
import sys
from pathlib import Path
from vault.carstore import CarStore
from vault.cid import RAW
store = CarStore(Path(sys.argv[1]), roll_at=3000)
number = int(sys.argv[2])
while True:
    for _ in range(5):
        store.add(RAW, b"block %d " % number * (number % 7 + 1))
        number += 1
    store.flush()
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_flush_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(7)
    number = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 60)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            acknowledged = int(line)
        process.wait()
        process.stdout.close()
        with CarStore(tmp_path, read_only=True) as store:
            assert store.missing(expected(range(acknowledged))) == []
            for cid in store.cids():
                store.get(cid)
        number = acknowledged
    assert number > 0
    held = contents(tmp_path, read_only=False)
    remove_index(tmp_path)
    assert contents(tmp_path) == held


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    first = CarStore(tmp_path)
    second = CarStore(tmp_path)
    cid = first.add(RAW, b"one")
    with pytest.raises(Busy, match=str(os.getpid())):
        second.add(RAW, b"two")
    first.flush()
    assert second.get(cid) == b"one"
    other = second.add(RAW, b"two")
    with pytest.raises(Busy):
        first.delete(cid)
    second.flush()
    assert first.get(other) == b"two"
    first.close()
    second.close()


def test_a_compaction_that_may_not_write_changes_nothing(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(5))
    first, second = CarStore(tmp_path), CarStore(tmp_path)
    first.delete(cids[0])
    with pytest.raises(Busy):
        second.compact()
    first.compact()  # holds the lock from the deletion on and never lets go of it in between
    assert second.missing(cids) == [cids[0]]
    second.compact()
    first.close()
    second.close()


def test_what_is_not_flushed_is_not_seen_by_others(tmp_path: Path) -> None:
    writer = CarStore(tmp_path)
    writer.add(RAW, b"seen")
    writer.flush()
    reader = CarStore(tmp_path, read_only=True)
    cid = writer.add(RAW, b"not yet")
    assert writer.get(cid) == b"not yet"
    assert not reader.has(cid)
    writer.flush()
    assert reader.get(cid) == b"not yet"
    reader.close()
    writer.close()


def test_a_reader_follows_a_compaction_by_another_process(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(20), roll_at=400)
    reader = CarStore(tmp_path, read_only=True)
    assert reader.get(cids[0]) == block(0)
    with CarStore(tmp_path, roll_at=400) as writer:
        for n in range(1, 20, 2):
            writer.delete(cids[n])
        writer.compact()
    assert [reader.get(cids[n]) for n in range(0, 20, 2)] == [block(n) for n in range(0, 20, 2)]
    with pytest.raises(NotFound):
        reader.get(cids[1])
    reader.close()


def test_a_reader_that_came_while_somebody_wrote_follows_too(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(20), roll_at=400)
    writer = CarStore(tmp_path, roll_at=400)
    late = writer.add(RAW, b"late")
    reader = CarStore(tmp_path, read_only=True)
    assert not reader.has(late)
    assert reader.get(cids[0]) == block(0)
    for n in range(1, 20, 2):
        writer.delete(cids[n])
    writer.compact()
    assert reader.get(late) == b"late"
    assert [reader.get(cids[n]) for n in range(0, 20, 2)] == [block(n) for n in range(0, 20, 2)]
    reader.close()
    writer.close()


def test_a_reader_without_an_index_follows_too(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(20), roll_at=400)
    remove_index(tmp_path)
    reader = CarStore(tmp_path, read_only=True)
    assert reader.get(cids[0]) == block(0)
    with CarStore(tmp_path, roll_at=400) as writer:
        late = writer.add(RAW, b"late")
        for n in range(1, 20, 2):
            writer.delete(cids[n])
        writer.compact()
    assert [reader.get(cids[n]) for n in range(0, 20, 2)] == [block(n) for n in range(0, 20, 2)]
    assert set(reader.cids()) == {late, *(cids[n] for n in range(0, 20, 2))}
    reader.close()


def test_a_reader_follows_an_index_made_again(tmp_path: Path) -> None:
    fill(tmp_path, range(5))
    reader = CarStore(tmp_path, read_only=True)
    remove_index(tmp_path)
    (cid,) = fill(tmp_path, range(7, 8))
    assert reader.get(cid) == block(7)
    reader.close()


def test_a_writer_goes_on_in_the_index_that_others_made_again(tmp_path: Path) -> None:
    cids = fill(tmp_path, range(5))
    store = CarStore(tmp_path)
    remove_index(tmp_path)
    fill(tmp_path, range(5, 8))
    store.delete(cids[0])
    store.close()
    db = sqlite3.connect(tmp_path / "index.sqlite")
    assert db.execute("SELECT count(*) FROM blocks").fetchone() == (7,)
    db.close()


def test_a_full_disk_is_told_and_what_was_flushed_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CarStore(tmp_path)
    store.add(RAW, block(0))
    store.flush()
    store.add(RAW, block(1))

    def full(*_args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(carlog.os, "pwritev", full)
        store.add(RAW, block(2))  # into memory, for now
        with pytest.raises(Unavailable, match="No space"):
            store.flush()
    with pytest.raises(Unavailable, match="earlier failure"):
        store.flush()
    assert {cid: store.get(cid) for cid in store.cids()} == expected(range(1))
    store.add(RAW, block(3))
    store.close()
    assert contents(tmp_path) == {**expected(range(1)), **expected(range(3, 4))}


def test_after_a_failed_sync_nothing_unacknowledged_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel forgets a failed write-back, so a second sync would lie: the log is cut back instead."""
    store = CarStore(tmp_path, roll_at=300)
    for n in range(6):
        store.add(RAW, block(n))
    store.flush()
    for n in range(6, 20):
        store.add(RAW, block(n))

    def fails(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(carlog.os, "fdatasync", fails)
        with pytest.raises(Unavailable, match="Input/output"):
            store.flush()
    with pytest.raises(Unavailable):
        store.close()
    assert contents(tmp_path) == expected(range(6))
    remove_index(tmp_path)
    assert contents(tmp_path) == expected(range(6))


def test_reading_only_refuses_to_write(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        CarStore(tmp_path / "nowhere", read_only=True)
    fill(tmp_path, range(1))
    with CarStore(tmp_path, read_only=True) as store:
        with pytest.raises(Denied):
            store.add(RAW, b"new")
        with pytest.raises(Denied):
            store.delete(Cid.of(RAW, block(0)))


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = CarStore(tmp_path)
    store.close()
    with pytest.raises(Conflict):
        store.has(Cid.of(RAW, b""))


def test_content_can_never_pose_as_a_deletion(tmp_path: Path) -> None:
    victim = fill(tmp_path, range(1))[0]
    forged = encode_tombstone(victim, 1 << 60)
    with CarStore(tmp_path) as store:
        with pytest.raises(InvalidInput):
            store.put(Cid.of(DAG_CBOR, forged), forged)
        # As bytes of another codec it is content like any other.
        raw = store.add(RAW, forged)
    remove_index(tmp_path)
    assert set(contents(tmp_path)) == {victim, raw}


def test_a_tombstone_hidden_in_a_damaged_block_is_not_believed(tmp_path: Path) -> None:
    victim = fill(tmp_path, range(1))[0]
    forged = encode_tombstone(victim, 1 << 60)
    hidden = encode_frame(Cid.of(DAG_CBOR, forged), len(forged)) + forged
    with CarStore(tmp_path) as store:
        carrier = store.add(RAW, b"stranger's block" + hidden + b"its end")
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[data.index(b"stranger's block")] ^= 1
    segment.write_bytes(data)
    remove_index(tmp_path)
    with CarStore(tmp_path) as store:
        assert store.get(victim) == block(0)
        assert not store.has(carrier)
