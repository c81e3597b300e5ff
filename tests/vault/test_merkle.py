"""Merkle trees after RFC 9162: what is in proves itself, and nothing else does."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from vault import merkle


def recursive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1, word by word: split at the largest power of two below the count."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + recursive_root(leaves[:k]) + recursive_root(leaves[k:])).digest()


def recursive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*recursive_path(index, leaves[:k]), recursive_root(leaves[k:])]
    return [*recursive_path(index - k, leaves[k:]), recursive_root(leaves[:k])]


@pytest.mark.parametrize("size", range(33))
def test_roots_and_paths_are_the_rfcs(size: int) -> None:
    leaves = [bytes((i,)) * i for i in range(size)]
    tree = merkle.Tree(leaves)
    assert tree.root == merkle.root(leaves) == recursive_root(leaves)
    for index in range(size):
        path = tree.proof(index)
        assert path == merkle.proof(leaves, index) == recursive_path(index, leaves)
        assert merkle.verify(tree.root, leaves[index], index, size, path)


def test_the_known_roots_of_certificate_transparency() -> None:
    leaves = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")]
    assert merkle.root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle.root(leaves[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"


@given(st.integers(1, 70), st.data())
@settings(max_examples=60)
def test_a_proof_holds_at_its_own_place_only(size: int, data: st.DataObject) -> None:
    leaves = [i.to_bytes(2, "big") for i in range(size)]
    tree = merkle.Tree(leaves)
    index = data.draw(st.integers(0, size - 1))
    path = tree.proof(index)
    other = data.draw(st.integers(-1, size + 1))
    if other != index:
        assert not merkle.verify(tree.root, leaves[index], other, size, path)
    assert not merkle.verify(tree.root, leaves[index] + b"x", index, size, path)
    assert not merkle.verify(tree.root, leaves[index], index, size, [*path, bytes(32)])
    assert not merkle.verify(hashlib.sha256(tree.root).digest(), leaves[index], index, size, path)
    if path:
        assert not merkle.verify(tree.root, leaves[index], index, size, path[:-1])
        broken = data.draw(st.integers(0, len(path) - 1))
        changed = [*path[:broken], bytes(32), *path[broken + 1 :]]
        assert not merkle.verify(tree.root, leaves[index], index, size, changed)
        assert not merkle.verify(tree.root, leaves[index], index, size, [*path[:-1], path[-1][:31]])


def test_a_node_never_passes_for_a_leaf() -> None:
    leaves = [b"a", b"b", b"c", b"d"]
    left = hashlib.sha256(b"\0a").digest() + hashlib.sha256(b"\0b").digest()
    right = merkle.root([b"c", b"d"])
    assert not merkle.verify(merkle.root(leaves), left, 0, 2, [right])


def test_no_leaf_outside_the_tree_has_a_proof() -> None:
    for index in (-1, 3):
        with pytest.raises(InvalidInput):
            merkle.proof([b"a", b"b", b"c"], index)
    assert not merkle.verify(merkle.root([]), b"", 0, 0, [])
