"""A checkpoint is sealed to its job, is whole or not used, and goes with the job's key."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import finetune.checkpoint
from core.encoding import from_hex
from core.errors import Corrupted
from core.ids import JobId
from finetune.checkpoint import CHUNK, Checkpoints, Point, destroy_checkpoint

JOB = JobId(b"j" * 32)
PRIVATE = b"k" * 32
POINT = Point(7, b"p" * 32, b"h" * 32)
VECTORS = Path(__file__).parents[1] / "vectors" / "checkpoints.json"


def checkpoints(folder: Path, private: bytes = PRIVATE, job: JobId = JOB) -> Checkpoints:
    return Checkpoints(folder, private, job)


def kept(folder: Path) -> bytes:
    size, pieces = checkpoints(folder).state()
    state = b"".join(pieces)
    assert len(state) == size
    return state


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5])
@pytest.mark.parametrize("piece", [333_333, CHUNK])
def test_what_was_kept_comes_back(tmp_path: Path, size: int, piece: int) -> None:
    state = secrets.token_bytes(size)
    made = checkpoints(tmp_path)
    assert made.point() is None
    made.keep(POINT, size, (state[start : start + piece] for start in range(0, size, piece)))
    assert checkpoints(tmp_path).point() == POINT
    assert kept(tmp_path) == state
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert (tmp_path / "checkpoint").stat().st_mode & 0o077 == 0


def test_nothing_of_the_state_can_be_read_from_the_file(tmp_path: Path) -> None:
    state = b"a sentence of an owner, memorised. " * 1000
    made = checkpoints(tmp_path)
    files = []
    for _ in range(2):
        made.keep(POINT, len(state), [state])
        files.append((tmp_path / "checkpoint").read_bytes())
    assert not any(word in file for file in files for word in (b"sentence", b"owner", b"memorised", PRIVATE))
    assert files[0][-1000:] != files[1][-1000:], "each file has a key of its own"


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half a header": lambda data: data[:50],
    "header only": lambda data: data[: 4 + int.from_bytes(data[:4], "big")],
    "cut in a chunk": lambda data: data[:-1],
    "a chunk short": lambda data: data[: -(1000 + 16)],
    "a byte more": lambda data: data + b"\0",
    "length": lambda data: b"\xff\xff\xff\xff" + data[4:],
    "flipped in the last chunk": lambda data: flip(data, len(data) - 20),
    "flipped in the first chunk": lambda data: flip(data, 1000),
    "another step": lambda data: data.replace(b"dstep\x07", b"dstep\x08"),
    "another plan": lambda data: data.replace(b"p" * 32, b"q" * 32),
    "another ledger": lambda data: data.replace(b"h" * 32, b"i" * 32),
    "another job": lambda data: data.replace(b"j" * 32, b"z" * 32),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_was_changed_anywhere_is_not_used(tmp_path: Path, damage: str) -> None:
    state = secrets.token_bytes(CHUNK + 1000)
    checkpoints(tmp_path).keep(POINT, len(state), [state])
    path = tmp_path / "checkpoint"
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    assert path.read_bytes() != whole
    with pytest.raises(Corrupted):
        checkpoints(tmp_path).point()


def test_chunks_in_another_order_are_not_used(tmp_path: Path) -> None:
    state = secrets.token_bytes(2 * CHUNK)
    checkpoints(tmp_path).keep(POINT, len(state), [state])
    path = tmp_path / "checkpoint"
    whole, chunk = path.read_bytes(), CHUNK + 16
    path.write_bytes(whole[: -2 * chunk] + whole[-chunk:] + whole[-2 * chunk : -chunk])
    with pytest.raises(Corrupted):
        checkpoints(tmp_path).point()


def test_only_the_job_that_wrote_it_opens_it(tmp_path: Path) -> None:
    checkpoints(tmp_path).keep(POINT, 3, [b"abc"])
    for other in (checkpoints(tmp_path, private=b"l" * 32), checkpoints(tmp_path, job=JobId(b"z" * 32))):
        with pytest.raises(Corrupted):
            other.point()
    assert kept(tmp_path) == b"abc"


def test_a_checkpoint_that_is_not_finished_leaves_the_one_before(tmp_path: Path) -> None:
    made = checkpoints(tmp_path)
    made.keep(POINT, 3, [b"abc"])

    def dies() -> Iterator[bytes]:
        yield bytes(2 * CHUNK)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        made.keep(replace(POINT, step=9), 3 * CHUNK, dies())
    assert (made.point(), kept(tmp_path)) == (POINT, b"abc")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.abcdefgh").write_bytes(b"half of it")
    (tmp_path / ".state.json.abcdefgh").write_bytes(b"another's")
    checkpoints(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".state.json.abcdefgh"]


def test_a_destroyed_checkpoint_is_overwritten_and_gone(tmp_path: Path) -> None:
    destroy_checkpoint(tmp_path)  # one that was never there
    checkpoints(tmp_path).keep(POINT, 2 * CHUNK, [bytes(2 * CHUNK)])
    (tmp_path / "link").hardlink_to(tmp_path / "checkpoint")
    destroy_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
    assert not any((tmp_path / "link").read_bytes())


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_bytes()), ids=lambda vector: vector["name"])
def test_checkpoints_follow_their_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vector: dict[str, str | int]
) -> None:
    file, state = from_hex(str(vector["file"])), from_hex(str(vector["state"]))
    private, job = from_hex(str(vector["private"])), JobId(from_hex(str(vector["job"])))
    point = Point(int(vector["step"]), from_hex(str(vector["plan"])), from_hex(str(vector["head"])))
    (tmp_path / "checkpoint").write_bytes(file)
    made = checkpoints(tmp_path, private, job)
    assert made.point() == point
    assert b"".join(made.state()[1]) == state
    monkeypatch.setattr(finetune.checkpoint.secrets, "token_bytes", lambda size: from_hex(str(vector["salt"]), size))
    made.keep(point, len(state), [state])
    assert (tmp_path / "checkpoint").read_bytes() == file
