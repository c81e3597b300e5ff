"""Every payload vector through every way of reading: what may not be released is not."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.errors import Corrupted
from core.ids import ObjectId, VaultId
from vault.blocks import BlockStore, MemoryBlocks
from vault.carstore import CarStore
from vault.cid import RAW, Cid
from vault.payload import Opener, open_payload, open_range, open_to_file
from vault.segments import SEGMENT, plaintext_start, segment_count
from vault.unixfs import FileBuilder

FOLDER = Path(__file__).parents[1] / "vectors" / "payload"
NAMES = sorted(path.name for path in FOLDER.iterdir() if path.is_file() and path.suffix == "")


@dataclass(frozen=True)
class Vector:
    expect: str
    vault_id: VaultId
    object_id: ObjectId
    dek: bytes
    commit: bytes
    size: int
    opens: dict[int, str]  # sha256 of each segment's plaintext that opens at its place
    body: bytes

    @property
    def key(self) -> tuple[bytes, bytes, VaultId, ObjectId]:
        return self.dek, self.commit, self.vault_id, self.object_id

    @property
    def releasable(self) -> list[str]:
        """What a stream may give before it fails, segment by segment."""
        prefix = []
        while len(prefix) in self.opens:
            prefix.append(self.opens[len(prefix)])
        return prefix


def load(name: str) -> Vector:
    header, _, body = (FOLDER / name).read_bytes().partition(b"\n\n")
    lines = dict(line.split(": ", 1) for line in header.decode().splitlines())
    return Vector(
        expect=lines["expect"],
        vault_id=VaultId(bytes.fromhex(lines["vault id"])),
        object_id=ObjectId(bytes.fromhex(lines["object id"])),
        dek=bytes.fromhex(lines["dek"]),
        commit=bytes.fromhex(lines["dek commit"]),
        size=int(lines["size"]),
        opens={int(key[8:]): value for key, value in lines.items() if key.startswith("segment ")},
        body=zlib.decompress(body),
    )


@pytest.fixture(params=NAMES)
def vector(request: pytest.FixtureRequest) -> Vector:
    return load(request.param)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store_of(vector: Vector) -> tuple[BlockStore, Cid]:
    """The ciphertext as somebody might publish it: a proper file of its own, whatever is in it."""
    store = MemoryBlocks()
    return store, publish(vector, store)


def publish(vector: Vector, store: BlockStore) -> Cid:
    builder = FileBuilder(store.put)
    for start in range(0, len(vector.body), SEGMENT):
        leaf = vector.body[start : start + SEGMENT]
        builder.add(store.add(RAW, leaf), len(leaf))
    return builder.finish()[0]


def test_the_folder_holds_what_its_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("payload_vectors", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = generate  # dataclasses look their module up
    try:
        spec.loader.exec_module(generate)
        assert sorted(generate.VECTORS) == NAMES
        for name, make in generate.VECTORS.items():
            made = make()
            header, _, body = (FOLDER / name).read_bytes().partition(b"\n\n")
            assert header.decode() + "\n\n" == made.header(), name
            assert zlib.decompress(body) == made.body, name
    finally:
        del sys.modules[spec.name]


def test_one_segment_after_the_other(vector: Vector) -> None:
    if vector.expect in ("size", "key"):
        with pytest.raises(Corrupted):
            Opener(vector.dek, vector.vault_id, vector.object_id, vector.size, vector.commit)
        return
    opener = Opener(vector.dek, vector.vault_id, vector.object_id, vector.size, vector.commit)
    released: list[str] = []

    def read() -> None:
        for index in range(opener.segments):
            end = (index + 1) * SEGMENT if index < opener.segments - 1 else len(vector.body)
            released.append(digest(opener.open_segment(index, vector.body[index * SEGMENT : end])))

    if vector.expect == "success":
        read()
        assert released == vector.releasable
        assert len(released) == segment_count(vector.size)
    else:
        with pytest.raises(Corrupted):
            read()
        assert released == vector.releasable[: len(released)]


@pytest.mark.parametrize("embedded", [False, True], ids=["memory", "segments"])
def test_streaming_from_a_store(vector: Vector, embedded: bool, tmp_path: Path) -> None:
    with CarStore(tmp_path) if embedded else contextlib.nullcontext(MemoryBlocks()) as store:
        stream(vector, store)


def stream(vector: Vector, store: BlockStore) -> None:
    root = publish(vector, store)
    released: list[bytes] = []
    if vector.expect == "success":
        released.extend(open_payload(store, root, vector.size, *vector.key))
        assert [digest(piece) for piece in released] == vector.releasable
        return
    with pytest.raises(Corrupted):
        released.extend(open_payload(store, root, vector.size, *vector.key))
    assert [digest(piece) for piece in released] == vector.releasable[: len(released)]
    if vector.expect in ("size", "key"):
        assert released == []
    elif vector.size == len(vector.body):  # where the tree has the promised size, all that is true comes first
        assert len(released) == len(vector.releasable)


def test_ranges_of_single_segments(vector: Vector) -> None:
    store, root = store_of(vector)
    if vector.expect in ("size", "key"):
        with pytest.raises(Corrupted):
            open_range(store, root, vector.size, *vector.key, 0, 0)
        return
    opener = Opener(vector.dek, vector.vault_id, vector.object_id, vector.size, vector.commit)
    failed = 0
    for index in range(opener.segments):
        start = plaintext_start(index)
        stop = min(plaintext_start(index + 1), opener.plaintext_size)
        try:
            piece = b"".join(open_range(store, root, vector.size, *vector.key, start, stop))
        except Corrupted:
            failed += 1
            continue
        assert digest(piece) == vector.opens[index]
    assert (failed == 0) == (vector.expect == "success")
    if vector.size == len(vector.body):
        assert failed == opener.segments - len(vector.opens)


def test_the_range_of_everything(vector: Vector) -> None:
    store, root = store_of(vector)
    if vector.expect == "success":
        size = sum(len(piece) for piece in open_payload(store, root, vector.size, *vector.key))
        pieces = open_range(store, root, vector.size, *vector.key, 0, size)
        assert [digest(piece) for piece in pieces] == vector.releasable
        return

    def read() -> None:
        size = Opener(vector.dek, vector.vault_id, vector.object_id, vector.size, vector.commit).plaintext_size
        list(open_range(store, root, vector.size, *vector.key, 0, size))

    with pytest.raises(Corrupted):
        read()


def test_writing_to_a_file(vector: Vector, tmp_path: Path) -> None:
    store, root = store_of(vector)
    path = tmp_path / "opened"
    if vector.expect == "success":
        assert open_to_file(store, root, vector.size, *vector.key, path) == path.stat().st_size
        data = path.read_bytes()
        starts = [plaintext_start(i) for i in range(len(vector.opens))]
        pieces = [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
        assert [digest(piece) for piece in pieces] == vector.releasable
    else:
        with pytest.raises(Corrupted):
            open_to_file(store, root, vector.size, *vector.key, path)
        assert list(tmp_path.iterdir()) == []
