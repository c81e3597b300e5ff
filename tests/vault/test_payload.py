"""Sealing and opening: the format is Tink's, streams are whole or an error, files appear or do not."""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.ids import ObjectId, VaultId
from vault import payload as payload_module
from vault.blocks import MemoryBlocks
from vault.carstore import CarStore
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.payload import (
    Opener,
    Progress,
    SealedObject,
    _open,
    ciphertext_size,
    dek_commitment,
    open_payload,
    open_range,
    open_to_file,
    plaintext_size,
    seal,
    seal_into,
    segment_count,
)
from vault.segments import (
    FIRST,
    HEADER,
    REST,
    SEGMENT,
    SegmentKey,
    associated_data,
    plaintext_start,
    segment_at,
    segment_size,
)
from vault.unixfs import _Branch, _encode_node, file_cid, leaf_cids

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "payload.json").read_text())
EDGES = [
    0,
    1,
    1000,
    FIRST - 1,
    FIRST,
    FIRST + 1,
    FIRST + 100,
    FIRST + REST - 1,
    FIRST + REST,
    FIRST + REST + 1,
    3500000,
]


def pattern(size: int) -> bytes:
    """Bytes in which no two megabytes are alike."""
    return hashlib.shake_128(b"payload").digest(size)


@dataclass
class Object:
    """One object of a test: its names, its key, and where it was sealed to."""

    store: MemoryBlocks
    vault_id: VaultId
    object_id: ObjectId
    dek: bytes

    @property
    def key(self) -> tuple[bytes, bytes, VaultId, ObjectId]:
        return self.dek, dek_commitment(self.dek, self.vault_id, self.object_id), self.vault_id, self.object_id

    def seal(self, source: BinaryIO | Path, progress: Progress | None = None) -> SealedObject:
        return seal_into(source, self.dek, self.vault_id, self.object_id, self.store, progress)

    def open(self, sealed: SealedObject) -> Iterator[bytes]:
        return open_payload(self.store, sealed.payload, sealed.size, *self.key)


@pytest.fixture
def thing() -> Object:
    return Object(MemoryBlocks(), VaultId(os.urandom(32)), ObjectId(os.urandom(32)), os.urandom(32))


@pytest.mark.parametrize("case", VECTORS["tink"]["objects"], ids=lambda case: str(case["plaintext_size"]))
def test_known_answers_of_the_format(case: dict[str, Any]) -> None:
    tink = VECTORS["tink"]
    header = bytes([HEADER]) + bytes.fromhex(tink["salt"]) + bytes.fromhex(tink["prefix"])
    key = SegmentKey(bytes.fromhex(tink["dek"]), header, bytes.fromhex(tink["associated_data"]))
    size = case["plaintext_size"]
    plain = bytes((7 * i + 3) & 255 for i in range(256)) * (size // 256 + 1)
    out = bytearray()
    into = memoryview(bytearray(SEGMENT))
    count = segment_count(ciphertext_size(size))
    for index in range(count):
        piece = memoryview(plain)[plaintext_start(index) : min(size, plaintext_start(index + 1))]
        out += into[: key.seal(index, index == count - 1, piece, into)]
        assert key.open(index, index == count - 1, bytes(out[index * SEGMENT :])) == piece
    assert len(out) == case["size"]
    if "sha256" in case:
        assert hashlib.sha256(out).hexdigest() == case["sha256"]
    else:
        assert out[-16:].hex() == case["tag"]


def test_derived_values_bind_vault_and_object() -> None:
    place = {name: bytes.fromhex(value) for name, value in VECTORS["place"].items()}
    vault_id, object_id = VaultId(place["vault_id"]), ObjectId(place["object_id"])
    assert associated_data(vault_id, object_id) == place["associated_data"]
    assert dek_commitment(place["dek"], vault_id, object_id) == place["dek_commit"]
    assert dek_commitment(place["dek"], VaultId(object_id), ObjectId(vault_id)) != place["dek_commit"]


@pytest.mark.parametrize("case", VECTORS["sizes"], ids=lambda case: str(case["plaintext_size"]))
def test_sizes_follow_from_one_another(case: dict[str, int]) -> None:
    assert ciphertext_size(case["plaintext_size"]) == case["size"]
    assert plaintext_size(case["size"]) == case["plaintext_size"]
    assert segment_count(case["size"]) == case["segments"]


@pytest.mark.parametrize("size", VECTORS["impossible_sizes"])
def test_a_size_that_no_plaintext_has_is_refused(size: int) -> None:
    with pytest.raises(Corrupted):
        plaintext_size(size)
    vault_id, object_id = VaultId(bytes(32)), ObjectId(bytes(32))
    with pytest.raises(Corrupted):
        Opener(bytes(32), vault_id, object_id, size, dek_commitment(bytes(32), vault_id, object_id))


def test_a_file_beyond_four_pebibytes_is_not_sealed() -> None:
    largest = VECTORS["sizes"][-1]["plaintext_size"]
    with pytest.raises(InvalidInput):
        ciphertext_size(largest + 1)


@given(plain=st.one_of(st.integers(0, 5 * SEGMENT), st.integers(0, 2**51)))
def test_size_arithmetic_is_exact(plain: int) -> None:
    size = ciphertext_size(plain)
    assert plaintext_size(size) == plain
    count = segment_count(size)
    assert (count - 1) * SEGMENT + segment_size(size, count - 1) == size
    if plain:
        assert segment_at(plain - 1) == count - 1
        assert plaintext_start(count - 1) <= plain - 1 < plaintext_start(count)


@pytest.mark.parametrize("size", EDGES)
def test_what_is_sealed_opens_as_it_was(thing: Object, size: int, tmp_path: Path) -> None:
    data = pattern(size)
    steps: list[int] = []
    sealed = thing.seal(io.BytesIO(data), steps.append)
    assert (sealed.plaintext_size, sealed.size) == (size, ciphertext_size(size))
    assert sum(steps) == size
    assert b"".join(thing.open(sealed)) == data
    source = tmp_path / "source"
    source.write_bytes(data)
    again = thing.seal(source)
    assert b"".join(thing.open(again)) == data
    assert again.payload != sealed.payload  # salt and prefix are new every time


@pytest.mark.parametrize("step", [512, 600, 1000, SEGMENT - 1, SEGMENT, SEGMENT + 1])
def test_how_a_stream_delivers_its_bytes_does_not_matter(thing: Object, step: int) -> None:
    class Dripping(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._inner = io.BytesIO(data)

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self._inner.readinto(memoryview(buffer)[:step])

    data = pattern(FIRST + 77)
    sealed = thing.seal(Dripping(data))  # type: ignore[arg-type]
    assert b"".join(thing.open(sealed)) == data


def test_a_pipe_can_be_sealed(thing: Object) -> None:
    reading, writing = os.pipe()
    data = pattern(300_000)

    def pour() -> None:
        with os.fdopen(writing, "wb") as sink:
            sink.write(data)

    thread = threading.Thread(target=pour)
    thread.start()
    with os.fdopen(reading, "rb") as source:
        sealed = thing.seal(source)
    thread.join()
    assert b"".join(thing.open(sealed)) == data


def test_the_leaves_of_a_payload_are_its_segments(thing: Object) -> None:
    sealed = thing.seal(io.BytesIO(pattern(FIRST + REST + 9)))
    leaves = [thing.store.get(cid) for cid in leaf_cids(sealed.payload, thing.store)]
    assert [len(leaf) for leaf in leaves] == [SEGMENT, SEGMENT, 9 + 16]
    assert file_cid(io.BytesIO(b"".join(leaves))) == sealed.payload


def test_seal_hands_out_segments_in_order(thing: Object) -> None:
    seen: list[tuple[int, bytes]] = []
    data = pattern(4 * SEGMENT)
    sealed = seal(io.BytesIO(data), thing.dek, thing.vault_id, thing.object_id, lambda i, s: seen.append((i, bytes(s))))
    assert [index for index, _ in seen] == [0, 1, 2, 3, 4]
    assert sum(len(segment) for _, segment in seen) == sealed.size
    opener = Opener(thing.dek, thing.vault_id, thing.object_id, sealed.size, thing.key[1])
    assert b"".join(opener.open_segment(i, segment) for i, segment in seen) == data


def test_segments_open_in_any_order_once_the_header_is_known(thing: Object) -> None:
    data = pattern(3 * SEGMENT)
    sealed = thing.seal(io.BytesIO(data))
    leaves = [thing.store.get(cid) for cid in leaf_cids(sealed.payload, thing.store)]
    opener = Opener(thing.dek, thing.vault_id, thing.object_id, sealed.size, thing.key[1])
    with pytest.raises(InvalidInput, match="segment 0"):
        opener.open_segment(2, leaves[2])
    opener.begin(leaves[0][:HEADER])
    opened = {i: opener.open_segment(i, leaves[i]) for i in (2, 0, 3, 1)}
    assert b"".join(opened[i] for i in sorted(opened)) == data
    with pytest.raises(InvalidInput):
        opener.open_segment(4, leaves[3])
    with pytest.raises(Corrupted, match="Two different"):
        opener.begin(bytes([HEADER]) + bytes(39))


def test_neither_opener_nor_key_shows_its_secret(thing: Object) -> None:
    opener = Opener(thing.dek, thing.vault_id, thing.object_id, 56, thing.key[1])
    key = SegmentKey(thing.dek, bytes([HEADER]) + bytes(39), b"")
    for text in (repr(opener), repr(key)):
        assert thing.dek.hex() not in text
        assert repr(thing.dek) not in text


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_range_is_what_the_whole_has_there(data: st.DataObject) -> None:
    whole = WHOLE
    edge = st.one_of(
        st.integers(0, len(whole)),
        st.sampled_from([0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + REST - 1, FIRST + REST, len(whole)]),
    )
    start, stop = sorted((data.draw(edge), data.draw(edge)))
    pieces = open_range(RANGED.store, RANGED_SEALED.payload, RANGED_SEALED.size, *RANGED.key, start, stop)
    assert b"".join(pieces) == whole[start:stop]


WHOLE = pattern(FIRST + REST + 50_000)
RANGED = Object(MemoryBlocks(), VaultId(bytes(32)), ObjectId(bytes([1]) * 32), bytes([2]) * 32)
RANGED_SEALED = RANGED.seal(io.BytesIO(WHOLE))


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, len(WHOLE) + 1), (len(WHOLE) + 1, len(WHOLE) + 1)])
def test_a_range_outside_the_object_is_refused(start: int, stop: int) -> None:
    with pytest.raises(InvalidInput):
        open_range(RANGED.store, RANGED_SEALED.payload, RANGED_SEALED.size, *RANGED.key, start, stop)


def test_a_range_fetches_its_own_leaves_and_the_header_only(thing: Object) -> None:
    data = pattern(5 * SEGMENT)
    sealed = thing.seal(io.BytesIO(data))
    leaves = leaf_cids(sealed.payload, thing.store)
    for index in (1, 2, 4):
        thing.store.delete(leaves[index])
    start, stop = plaintext_start(3), plaintext_start(4)
    got = b"".join(open_range(thing.store, sealed.payload, sealed.size, *thing.key, start, stop))
    assert got == data[start:stop]
    with pytest.raises(NotFound):
        list(open_range(thing.store, sealed.payload, sealed.size, *thing.key, start, stop + 1))


@pytest.mark.parametrize("lost", range(5))
def test_a_missing_segment_ends_the_stream_after_a_true_prefix(thing: Object, lost: int) -> None:
    data = pattern(4 * SEGMENT)
    sealed = thing.seal(io.BytesIO(data))
    thing.store.delete(leaf_cids(sealed.payload, thing.store)[lost])
    got: list[bytes] = []
    with pytest.raises(NotFound):
        got.extend(thing.open(sealed))
    assert b"".join(got) == data[: plaintext_start(lost)]


def test_a_stored_segment_that_rots_is_found_by_its_hash(thing: Object, tmp_path: Path) -> None:
    data = pattern(2 * SEGMENT)
    with CarStore(tmp_path) as store:
        sealed = seal_into(io.BytesIO(data), thing.dek, thing.vault_id, thing.object_id, store)
        store.flush()
        second = store.get(leaf_cids(sealed.payload, store)[1])
    (segment,) = tmp_path.glob("*.car")
    raw = bytearray(segment.read_bytes())
    raw[raw.index(second[:64]) + 5000] ^= 1  # two threads store the leaves, in whichever order
    segment.write_bytes(raw)
    got: list[bytes] = []
    with CarStore(tmp_path) as store, pytest.raises(Corrupted, match="are not that block"):
        got.extend(open_payload(store, sealed.payload, sealed.size, *thing.key))
    assert b"".join(got) == data[:FIRST]


def test_a_root_that_is_no_file_is_corrupted(thing: Object) -> None:
    for codec in (RAW, DAG_CBOR):
        root = thing.store.add(codec, b"\xa0")
        with pytest.raises(Corrupted):
            list(open_payload(thing.store, root, 100, *thing.key))


def test_an_abandoned_stream_stops_its_threads(thing: Object) -> None:
    sealed = thing.seal(io.BytesIO(pattern(6 * SEGMENT)))
    before = threading.active_count()
    pieces = thing.open(sealed)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_opening_reads_only_a_few_segments_ahead(thing: Object) -> None:
    """Memory is bounded by the window, whatever the object's size."""
    sealed = thing.seal(io.BytesIO(pattern(12 * SEGMENT)))
    fetched: list[Cid] = []

    class Counting(MemoryBlocks):
        def get(self, cid: Cid) -> bytes:
            fetched.append(cid)
            return thing.store.get(cid)

    taken = 0
    for _ in open_payload(Counting(), sealed.payload, sealed.size, *thing.key):
        taken += 1
        assert len(fetched) <= taken + 1 + payload_module._SLOTS  # the root, and what is in flight
    assert taken == 13


@pytest.mark.parametrize("bad", [b"", bytes(31), bytes(33)])
def test_keys_and_ids_of_a_wrong_length_are_refused(thing: Object, bad: bytes) -> None:
    for call in (
        lambda: dek_commitment(bad, thing.vault_id, thing.object_id),
        lambda: associated_data(VaultId(bad), thing.object_id),
        lambda: associated_data(thing.vault_id, ObjectId(bad)),
        lambda: seal_into(io.BytesIO(), bad, thing.vault_id, thing.object_id, thing.store),
    ):
        with pytest.raises(InvalidInput):
            call()


def test_leaves_off_the_grid_of_segments_are_refused(thing: Object) -> None:
    """The same ciphertext, cut elsewhere into a file that is whole by itself."""
    sealed = thing.seal(io.BytesIO(pattern(2 * SEGMENT)))
    cipher = b"".join(thing.store.get(cid) for cid in leaf_cids(sealed.payload, thing.store))
    half = SEGMENT // 2
    cuts = [0, half, half + SEGMENT, len(cipher)]
    branches = []
    for start, stop in itertools.pairwise(cuts):
        branches.append(_Branch(thing.store.add(RAW, cipher[start:stop]), stop - start, stop - start))
    root = thing.store.add(DAG_PB, _encode_node(branches))
    with pytest.raises(Corrupted, match="524288 bytes"):
        list(open_payload(thing.store, root, sealed.size, *thing.key))
    opener = Opener(thing.dek, thing.vault_id, thing.object_id, sealed.size, thing.key[1])
    opener.begin(cipher[:HEADER])
    with pytest.raises(Corrupted, match="not one segment"):
        list(_open(thing.store, root, opener, plaintext_start(1), plaintext_start(1) + 1, None))


def test_a_segment_of_another_length_is_refused_by_its_length(thing: Object) -> None:
    sealed = thing.seal(io.BytesIO(b"content"))
    segment = thing.store.get(sealed.payload)
    opener = Opener(thing.dek, thing.vault_id, thing.object_id, sealed.size, thing.key[1])
    for wrong in (segment[:-1], segment + b"\0", b""):
        with pytest.raises(Corrupted, match="bytes, not 63"):
            opener.open_segment(0, wrong)


# Sources that change.


class Meddling(io.FileIO):
    """A file that something happens to while its second segment is read."""

    def __init__(self, path: Path, meddle: Callable[[Path], None]) -> None:
        super().__init__(path, "rb")
        self._path, self._meddle, self._reads = path, meddle, 0

    def readinto(self, buffer: Any) -> int:
        self._reads += 1
        if self._reads == 2:
            self._meddle(self._path)
        return super().readinto(buffer)  # type: ignore[return-value]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, FIRST + 10)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other bytes of the same length")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("meddle", [grow, shrink, rewrite])
def test_a_file_that_changes_while_it_is_sealed_is_an_error(
    thing: Object, tmp_path: Path, meddle: Callable[[Path], None]
) -> None:
    path = tmp_path / "log"
    path.write_bytes(pattern(3 * SEGMENT))
    with Meddling(path, meddle) as source, pytest.raises(Conflict, match="changed while"):
        thing.seal(source)


def on_read(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[int, Callable[..., int], int, list[Any], int], int]
) -> None:
    """Have `read(number, real, fd, views, offset)` called for every read from a file given by its path."""
    real, numbers = os.preadv, itertools.count(1)
    monkeypatch.setattr(
        payload_module.os, "preadv", lambda fd, views, offset: read(next(numbers), real, fd, views, offset)
    )


@pytest.mark.parametrize("meddle", [grow, shrink, rewrite])
def test_so_it_is_where_the_file_is_given_by_its_path(
    thing: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Path], None]
) -> None:
    path = tmp_path / "log"
    path.write_bytes(pattern(3 * SEGMENT))

    def read(number: int, real: Callable[..., int], *arguments: Any) -> int:
        if number == 2:
            meddle(path)
        return real(*arguments)

    on_read(monkeypatch, read)
    with pytest.raises(Conflict, match="changed while"):
        thing.seal(path)


def test_a_file_may_be_read_in_small_parts(thing: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(FIRST + 77))
    on_read(monkeypatch, lambda _number, real, fd, views, offset: real(fd, [views[0][:4097]], offset))
    assert b"".join(thing.open(thing.seal(path))) == pattern(FIRST + 77)


def test_a_file_that_cannot_be_read_further_ends_the_sealing_with_its_error(
    thing: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(pattern(6 * SEGMENT))

    def read(number: int, real: Callable[..., int], *arguments: Any) -> int:
        if number == 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments)

    on_read(monkeypatch, read)
    before = threading.active_count()
    with pytest.raises(OSError, match="Input/output"):
        thing.seal(path)
    assert threading.active_count() == before


def test_a_file_that_has_more_than_its_size_is_an_error(thing: Object) -> None:
    path = Path("/proc/self/status")
    assert path.stat().st_size == 0
    with pytest.raises(Conflict, match="changed while"):
        thing.seal(path)


def test_a_stream_is_read_by_the_caller_whom_ctrl_c_interrupts(thing: Object) -> None:
    class Interrupted(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            assert threading.current_thread() is caller
            if self.tell() > 2 * SEGMENT:
                raise KeyboardInterrupt
            return super().readinto(buffer)

    caller, before = threading.current_thread(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        thing.seal(Interrupted(pattern(5 * SEGMENT)))
    assert threading.active_count() == before


def test_a_file_that_ends_before_its_size_is_an_error(thing: Object, tmp_path: Path) -> None:
    """As a network file system may end it, without any change that the file's status shows."""

    class Failing(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            return super().readinto(buffer) if self.tell() < 1000 else 0  # type: ignore[return-value]

    path = tmp_path / "file"
    path.write_bytes(pattern(2 * SEGMENT))
    with Failing(path, "rb") as source, pytest.raises(Conflict, match="changed while"):
        thing.seal(source)


def test_a_stream_is_sealed_from_where_it_stands(thing: Object, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"read already, the rest")
    with path.open("rb") as source:
        source.read(14)
        assert b"".join(thing.open(thing.seal(source))) == b"the rest"


def test_only_regular_files_are_sealed_by_path(thing: Object, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        thing.seal(tmp_path / "nowhere")
    with pytest.raises(InvalidInput):
        thing.seal(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidInput):
        thing.seal(tmp_path / "fifo")  # and does not wait for a writer


def test_a_store_that_fails_ends_the_sealing_with_its_error(thing: Object) -> None:
    class Full(MemoryBlocks):
        def add(self, codec: int, data: Any) -> Cid:
            raise Conflict("full")

    with pytest.raises(Conflict, match="full"):
        seal_into(io.BytesIO(pattern(5 * SEGMENT)), thing.dek, thing.vault_id, thing.object_id, Full())


# Opening to a file.


def test_an_opened_file_is_private_and_replaces_nothing_unasked(thing: Object, tmp_path: Path) -> None:
    sealed = thing.seal(io.BytesIO(b"content"))
    path = tmp_path / "out"
    arguments = (thing.store, sealed.payload, sealed.size, *thing.key, path)
    assert open_to_file(*arguments) == 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"mine")
    with pytest.raises(Conflict):
        open_to_file(*arguments)
    assert path.read_bytes() == b"mine"
    open_to_file(*arguments, overwrite=True)
    assert path.read_bytes() == b"content"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    thing: Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = thing.seal(io.BytesIO(b"content"))
    path = tmp_path / "out"
    real = os.fsync

    def somebody_was_faster(fd: int) -> None:
        path.write_bytes(b"mine")
        real(fd)

    monkeypatch.setattr(payload_module.os, "fsync", somebody_was_faster)
    with pytest.raises(Conflict):
        open_to_file(thing.store, sealed.payload, sealed.size, *thing.key, path)
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_dangling_link_is_not_written_through(thing: Object, tmp_path: Path) -> None:
    sealed = thing.seal(io.BytesIO(b"content"))
    (tmp_path / "out").symlink_to(tmp_path / "target")
    with pytest.raises(Conflict):
        open_to_file(thing.store, sealed.payload, sealed.size, *thing.key, tmp_path / "out")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_opening_leaves_no_file_and_keeps_the_old_one(thing: Object, tmp_path: Path, overwrite: bool) -> None:
    sealed = thing.seal(io.BytesIO(pattern(3 * SEGMENT)))
    thing.store.delete(leaf_cids(sealed.payload, thing.store)[2])
    path = tmp_path / "out"
    if overwrite:
        path.write_bytes(b"old")
    with pytest.raises(NotFound):
        open_to_file(thing.store, sealed.payload, sealed.size, *thing.key, path, overwrite=overwrite)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"out": b"old"} if overwrite else {})


# Tink itself as the judge.


def tink_primitive(dek: bytes) -> Any:
    import tink
    from tink import secret_key_access, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

    streaming_aead.register()
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        version=0,
        key_value=dek,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=SEGMENT, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
        ),
    )
    keyset = tink_pb2.Keyset(
        primary_key_id=1,
        key=[
            tink_pb2.Keyset.Key(
                key_data=tink_pb2.KeyData(
                    type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    value=key.SerializeToString(),
                    key_material_type=tink_pb2.KeyData.SYMMETRIC,
                ),
                status=tink_pb2.ENABLED,
                key_id=1,
                output_prefix_type=tink_pb2.RAW,
            )
        ],
    )
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


class Open(io.BytesIO):
    """Tink closes its sink; the bytes are wanted afterwards."""

    def close(self) -> None:
        self.kept = self.getvalue()
        super().close()


@pytest.mark.parametrize("size", EDGES)
def test_tink_opens_what_we_seal(thing: Object, size: int) -> None:
    data = pattern(size)
    sealed = thing.seal(io.BytesIO(data))
    cipher = b"".join(thing.store.get(cid) for cid in leaf_cids(sealed.payload, thing.store))
    place = associated_data(thing.vault_id, thing.object_id)
    with tink_primitive(thing.dek).new_decrypting_stream(io.BytesIO(cipher), place) as stream:
        assert stream.read() == data


@pytest.mark.parametrize("size", EDGES)
def test_we_open_what_tink_seals(thing: Object, size: int) -> None:
    data = pattern(size)
    sink = Open()
    place = associated_data(thing.vault_id, thing.object_id)
    with tink_primitive(thing.dek).new_encrypting_stream(sink, place) as stream:
        stream.write(data)
    cipher = sink.kept
    opener = Opener(thing.dek, thing.vault_id, thing.object_id, len(cipher), thing.key[1])
    pieces = [opener.open_segment(i, cipher[i * SEGMENT : (i + 1) * SEGMENT]) for i in range(opener.segments)]
    assert b"".join(pieces) == data
