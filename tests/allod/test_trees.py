"""A job's tree among the blocks: found by its root, whatever else lies there, and never believed for another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from allod.trees import find_tree, lay_down, pointers
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
    (there,) = pointers_of(other)
    for file, size in [
        there,  # another tree under this root
        (Cid.of(RAW, b"nowhere"), 7),
        (blocks.add(RAW, b"no tree"), 7),
        (blocks.add(RAW, b"no tree"), 8),
        (blocks.add(RAW, b"no tree"), 1 << 40),
    ]:
        blocks.add(DAG_CBOR, encode_cbor({"v": 1, "kind": "job-tree", "root": root, "size": size, "file": file.link}))
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


def pointers_of(tree: SumTree) -> list[tuple[Cid, int]]:
    blocks = MemoryBlocks()
    lay_down(blocks, tree)
    return pointers(blocks)[tree.root]
