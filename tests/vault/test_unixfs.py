"""UnixFS trees: the CIDs everybody gets, and files that are whole or an error."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from core.encoding import encode_uvarint
from core.errors import Corrupted, InvalidInput, NotFound
from vault import unixfs
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.unixfs import CHUNK, FileBuilder, decode_node, file_cid, inner_nodes, leaf_cids, leaves, parts, walk

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "cid.json").read_text())


class Keystream(io.RawIOBase):
    """`size` bytes of ChaCha20 under sha256(seed) and nonce zero, made as they are read."""

    def __init__(self, seed: str, size: int) -> None:
        key = hashlib.sha256(seed.encode()).digest()
        self._stream = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()
        self._left = size

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self._left, CHUNK)
        self._left -= count
        if count:
            self._stream.update_into(bytes(count), buffer[:count])
        return count


@pytest.mark.parametrize("case", VECTORS["files"], ids=lambda case: case["name"])
def test_files_get_the_cids_of_ipip_499(case: dict[str, str]) -> None:
    stream = io.BytesIO(case["utf8"].encode()) if "utf8" in case else Keystream(case["seed"], int(case["size"]))
    assert str(file_cid(stream)) == case["cid"]  # type: ignore[arg-type]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of four links a node over leaves of eight bytes, so that deep ones stay small."""
    monkeypatch.setattr(unixfs, "CHUNK", 8)
    monkeypatch.setattr(unixfs, "WIDTH", 4)


def build(store: MemoryBlocks, data: bytes, chunk: int = 8) -> Cid:
    builder = FileBuilder(store.put)
    for start in range(0, len(data), chunk):
        piece = data[start : start + chunk]
        builder.add(store.add(RAW, piece), len(piece))
    root, size = builder.finish()
    assert size == len(data)
    return root


def content(size: int) -> bytes:
    return b"".join(i.to_bytes(4, "big") for i in range(size // 4 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, 8, 9, 32, 33, 64, 127, 128, 129, 512, 513, 600, 2049])
@pytest.mark.usefixtures("narrow")
def test_every_file_comes_back_from_its_tree(size: int) -> None:
    store = MemoryBlocks()
    data = content(size)
    root = build(store, data)
    assert b"".join(walk(root, store, size)) == data
    assert [store.get(cid) for cid in leaf_cids(root, store)] == list(walk(root, store, size))
    reached = {*leaf_cids(root, store, size), *inner_nodes(root, store, size)}
    assert reached == set(store.cids())


@pytest.mark.usefixtures("narrow")
def test_all_leaves_lie_at_the_same_depth() -> None:
    """The trap of "balanced-packed" layouts: a lone last child must be wrapped to full height."""
    store = MemoryBlocks()
    root = build(store, content(8 * 17))

    def depths(cid: Cid, depth: int) -> set[int]:
        if cid.codec == RAW:
            return {depth}
        return set().union(*(depths(child, depth + 1) for child, _ in decode_node(store.get(cid)).children))

    assert depths(root, 0) == {3}


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 700), data=st.data())
def test_a_range_reads_exactly_the_leaves_that_touch_it(size: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unixfs, "CHUNK", 8)
        patch.setattr(unixfs, "WIDTH", 4)
        store = MemoryBlocks()
        root = build(store, content(size))
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        found = [offset for _, offset, _ in leaves(root, store, size, start, stop)]
        assert found == [at for at in range(0, size, 8) if at < stop and at + 8 > start]


@pytest.mark.usefixtures("narrow")
def test_a_missing_block_is_an_error_and_never_a_shorter_file() -> None:
    store = MemoryBlocks()
    data = content(500)
    root = build(store, data)
    for cid in list(store.cids()):
        kept = store.get(cid)
        store.delete(cid)
        got: list[bytes] = []
        with pytest.raises(NotFound):
            got.extend(walk(root, store, 500))
        assert data.startswith(b"".join(got))
        store.put(cid, kept)


@pytest.mark.parametrize("wrong", [0, 499, 501, 10**12])
@pytest.mark.usefixtures("narrow")
def test_a_size_that_differs_from_the_tree_is_corruption(wrong: int) -> None:
    store = MemoryBlocks()
    root = build(store, content(500))
    with pytest.raises(Corrupted):
        list(walk(root, store, wrong))


def pb(number: int, data: bytes) -> bytes:
    return encode_uvarint(number << 3 | 2) + encode_uvarint(len(data)) + data


def varint(number: int, value: int) -> bytes:
    return encode_uvarint(number << 3) + encode_uvarint(value)


def link(cid: Cid, name: bytes | None = b"", weight: int | None = 1) -> bytes:
    return pb(
        2,
        pb(1, cid.bytes) + (b"" if name is None else pb(2, name)) + (b"" if weight is None else varint(3, weight)),
    )


def data_field(*sizes: int, kind: int = 2, total: int | None = None, extra: bytes = b"") -> bytes:
    total = sum(sizes) if total is None else total
    return pb(1, varint(1, kind) + varint(3, total) + b"".join(varint(4, size) for size in sizes) + extra)


LEAF = Cid.of(RAW, b"leaf")


def test_both_field_orders_of_dag_pb_are_read() -> None:
    links_first = link(LEAF) + link(LEAF) + data_field(4, 4)
    data_first = data_field(4, 4) + link(LEAF) + link(LEAF)
    assert decode_node(links_first) == decode_node(data_first)
    assert decode_node(links_first).size == 8
    store = MemoryBlocks()
    store.put(LEAF, b"leaf")
    root = store.add(DAG_PB, data_first)
    assert b"".join(walk(root, store, 8)) == b"leafleaf"


@pytest.mark.parametrize(
    ("why", "block"),
    [
        ("empty", b""),
        ("no data", link(LEAF)),
        ("no links", data_field()),
        ("data twice", link(LEAF) + data_field(4) + data_field(4)),
        ("data between links", link(LEAF) + data_field(4, 4) + link(LEAF)),
        ("fewer sizes than links", link(LEAF) + link(LEAF) + data_field(4)),
        ("more sizes than links", link(LEAF) + data_field(4, 4)),
        ("sum is wrong", link(LEAF) + data_field(4, total=5)),
        ("a child of nothing", link(LEAF) + link(LEAF) + data_field(4, 0)),
        ("a directory", link(LEAF) + data_field(4, kind=1)),
        ("inline content", link(LEAF) + data_field(4, extra=pb(2, b"inline"))),
        ("mode bits", link(LEAF) + data_field(4, extra=varint(7, 0o644))),
        ("a named link", link(LEAF, name=b"n") + data_field(4)),
        ("a link to dag-cbor", link(Cid.of(DAG_CBOR, b"")) + data_field(4)),
        ("an unknown field", link(LEAF) + data_field(4) + pb(3, b"")),
        ("cut short", (link(LEAF) + data_field(4))[:-1]),
        ("fixed32 field", link(LEAF) + data_field(4) + b"\x15\0\0\0\0"),
        ("too wide", link(LEAF) * 1025 + data_field(*[4] * 1025)),
        ("an endless varint", b"\x12" + b"\xff" * 12),
    ],
)
def test_blocks_that_are_no_inner_node_of_a_file_are_refused(why: str, block: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_node(block)
    store = MemoryBlocks()
    store.put(LEAF, b"leaf")
    with pytest.raises(Corrupted):
        list(walk(store.add(DAG_PB, block), store, 4))


def test_a_leaf_of_another_length_than_its_node_says_is_corruption() -> None:
    store = MemoryBlocks()
    store.put(LEAF, b"leaf")
    root = store.add(DAG_PB, link(LEAF) + data_field(5))
    with pytest.raises(Corrupted, match="4 bytes"):
        list(walk(root, store, 5))


def test_nesting_ends_at_eight_levels() -> None:
    store = MemoryBlocks()
    cid = store.add(RAW, b"leaf")
    for _ in range(8):
        cid = store.add(DAG_PB, link(cid) + data_field(4))
    assert b"".join(walk(cid, store, 4)) == b"leaf"
    cid = store.add(DAG_PB, link(cid) + data_field(4))
    for way in (lambda: list(walk(cid, store, 4)), lambda: list(inner_nodes(cid, store, 4))):
        with pytest.raises(Corrupted, match="deeper"):
            way()


def test_a_root_of_another_codec_is_no_file() -> None:
    store = MemoryBlocks()
    for way in (walk, lambda *of: parts(*of, pytest.fail)):
        with pytest.raises(Corrupted):
            list(way(store.add(DAG_CBOR, b"\xa0"), store, 1))


@pytest.mark.parametrize("size", [1, CHUNK, CHUNK * 3 + 5, CHUNK * 1030])
def test_the_parts_of_a_file_are_its_nodes_and_leaves_with_their_sizes_and_only_nodes_are_read(size: int) -> None:
    store = MemoryBlocks()
    builder = FileBuilder(store.put)
    for at in range(0, size, CHUNK):
        builder.add(Cid.of(RAW, at.to_bytes(8, "big")), min(CHUNK, size - at))
    root, _ = builder.finish()
    nodes = {cid: len(store.get(cid)) for cid in store.cids()}
    found = list(parts(root, store, size, pytest.fail))
    assert len(dict(found)) == len(found)
    assert sum(length for cid, length in found if cid.codec == RAW) == size
    assert {cid: length for cid, length in found if cid.codec == DAG_PB} == nodes
    absent: list[Cid] = []
    for cid in nodes:
        store.delete(cid)
    assert size <= CHUNK or list(parts(root, store, size, absent.append)) == []
    assert absent == ([root] if size > CHUNK else [])


def test_parts_that_contradict_themselves_are_corruption() -> None:
    store = MemoryBlocks()
    store.put(LEAF, b"leaf")
    twice = store.add(DAG_PB, link(LEAF) + link(LEAF) + data_field(4, 5))
    too_large = store.add(DAG_PB, link(LEAF) + data_field((2 << 20) + 1))
    deep = LEAF
    for _ in range(9):
        deep = store.add(DAG_PB, link(deep) + data_field(4))
    again = store.add(DAG_PB, link(deep) + data_field(4))
    for root, size in ((twice, 9), (too_large, (2 << 20) + 1), (deep, 4), (again, 4), (twice, 8)):
        with pytest.raises(Corrupted):
            list(parts(root, store, size, pytest.fail))


@pytest.mark.parametrize(
    "misuse",
    [
        lambda b: b.add(Cid.of(DAG_PB, b""), 5),
        lambda b: b.add(LEAF, 0),
        lambda b: b.add(LEAF, CHUNK + 1),
        lambda b: (b.add(LEAF, 5), b.add(LEAF, 5)),
    ],
    ids=["inner node as leaf", "empty leaf", "oversized leaf", "short leaf in the middle"],
)
def test_a_builder_takes_leaves_of_the_profile_only(misuse: Callable[[FileBuilder], object]) -> None:
    with pytest.raises(InvalidInput):
        misuse(FileBuilder(lambda _cid, _block: None))
