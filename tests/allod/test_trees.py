"""A job's tree among the blocks: found by its root, whatever else lies there, and never believed for another."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from allod.trees import PointerBook, find_tree, lay_down
from allod.world import World
from consent.tree import Leaf, SumTree
from core.encoding import encode_cbor
from core.ids import Address, ConsentId, JobId
from core.settings import Settings
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, RAW, Cid
from vault.unixfs import CHUNK

JOB = JobId(bytes(32))


def tree_of(leaves: int, amount: int = 7) -> SumTree:
    return SumTree(
        [Leaf(ConsentId(n.to_bytes(32, "big")), Address(bytes([9]) * 20), amount) for n in range(1, leaves + 1)]
    )


def look(blocks: MemoryBlocks, root: int, tmp_path: Any) -> SumTree | None:
    world = SimpleNamespace(home=tmp_path, blocks=blocks, has_keepers=False, settings=Settings(home=tmp_path))
    return find_tree(cast(World, world))(JOB, root)


@pytest.mark.parametrize("leaves", [1, 2, 20_000])
def test_a_tree_of_any_size_is_found_by_its_root(tmp_path: Any, leaves: int) -> None:
    blocks, tree = MemoryBlocks(), tree_of(leaves)
    blocks.add(DAG_CBOR, encode_cbor({"v": 1, "kind": "record"}))
    blocks.add(DAG_CBOR, b"\xa1")  # no dag-cbor at all
    lay_down(blocks, tree_of(3, amount=1))
    first = lay_down(blocks, tree)
    assert (len(tree.encode()) > CHUNK) is (leaves == 20_000)
    assert lay_down(blocks, tree) == first
    assert look(blocks, tree.root, tmp_path) == tree
    assert look(blocks, tree.root + 1, tmp_path) is None


def test_a_false_pointer_leads_nowhere_and_hides_nothing(tmp_path: Any) -> None:
    blocks, tree, other = MemoryBlocks(), tree_of(4), tree_of(4, amount=8)
    root = tree.root.to_bytes(32, "big")
    there = place_of(other)
    for file, size in [
        there,  # another tree under this root
        (Cid.of(RAW, b"nowhere"), 7),
        (blocks.add(RAW, b"no tree"), 7),
        (blocks.add(RAW, b"no tree"), 8),
        (blocks.add(RAW, b"no tree"), 1 << 40),
    ]:
        point(blocks, root, file, size)
    lay_down(blocks, other)
    for wrong in ({}, {"root": root[:31]}, {"root": 5}, {"size": "7"}, {"size": True}, {"file": b"x"}, {"root": None}):
        fields: dict[str, Any] = {"v": 1, "kind": "job-tree", "root": root, "size": 7, "file": there[0].link, **wrong}
        if not wrong:
            del fields["root"]
        blocks.add(DAG_CBOR, encode_cbor(fields))
    assert look(blocks, tree.root, tmp_path) is None
    lay_down(blocks, tree)
    assert look(blocks, tree.root, tmp_path) == tree
    assert look(blocks, other.root, tmp_path) == other


def test_however_many_files_strangers_point_to_few_are_read_and_each_once(tmp_path: Any) -> None:
    class Counting(MemoryBlocks):
        reads: ClassVar[Counter[Cid]] = Counter()

        def get(self, cid: Cid) -> bytes:
            self.reads[cid] += 1
            return super().get(cid)

    blocks, tree = Counting(), tree_of(4)
    root = tree.root.to_bytes(32, "big")
    files = [blocks.add(RAW, b"no tree %d" % number) for number in range(50)]
    for file in files:
        point(blocks, root, file, len(blocks.get(file)))
    for number in range(50):  # the same place once more, in other words
        point(blocks, root, files[0], 9, note=number)
    blocks.reads.clear()
    book = PointerBook(blocks)
    assert [book.tree(tree.root) for _ in range(3)] == [None] * 3
    assert sorted(blocks.reads[file] for file in files) == [0] * 26 + [1] * 24


def test_a_tree_that_comes_after_its_pointer_is_found() -> None:
    blocks, tree, data = MemoryBlocks(), tree_of(4), tree_of(4).encode()
    point(blocks, tree.root.to_bytes(32, "big"), Cid.of(RAW, data), len(data))
    book = PointerBook(blocks)
    assert book.tree(tree.root) is None
    blocks.add(RAW, data)
    assert book.tree(tree.root) == tree


def point(blocks: MemoryBlocks, root: bytes, file: Cid, size: int, **more: int) -> None:
    fields = {"v": 1, "kind": "job-tree", "root": root, "size": size, "file": file.link, **more}
    blocks.add(DAG_CBOR, encode_cbor(fields))


def place_of(tree: SumTree) -> tuple[Cid, int]:
    data = tree.encode()
    return Cid.of(RAW, data), len(data)
