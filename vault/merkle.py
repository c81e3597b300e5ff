"""Merkle trees of RFC 9162 §2.1 (Certificate Transparency): root, inclusion proof, verification.

    leaf = sha256(0x00 ‖ data)        node = sha256(0x01 ‖ left ‖ right)        empty tree = sha256("")

A tree of n leaves splits at the largest power of two below n, which is the same as pairing level by level and
carrying an odd last node up unchanged. Leaf and node hashes start differently, so no node passes for a leaf.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from core.errors import InvalidInput


class Tree:
    """All levels of a tree, for many proofs over the same leaves: 64 bytes of memory a leaf."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        level = [_leaf(leaf) for leaf in leaves]
        self.size = len(level)
        self._levels = [level]
        while len(level) > 1:
            paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            if len(level) % 2:
                paired.append(level[-1])
            self._levels.append(paired)
            level = paired

    @property
    def root(self) -> bytes:
        """The tree's root, 32 bytes."""
        return self._levels[-1][0] if self.size else hashlib.sha256(b"").digest()

    def proof(self, index: int) -> list[bytes]:
        """The inclusion path of leaf `index`, from the leaf's sibling upwards."""
        if not 0 <= index < self.size:
            raise InvalidInput(f"A tree of {self.size} leaves has none at {index}.")
        path = []
        for level in self._levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):  # an odd last node has none and moves up alone
                path.append(level[sibling])
            index >>= 1
        return path


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over `leaves`, 32 bytes."""
    return Tree(leaves).root


def proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion path of leaf `index`; for many proofs keep a `Tree`."""
    return Tree(leaves).proof(index)


def verify(root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bool:
    """Whether `leaf` is number `index` of the `size` leaves under `root` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, current = index, size - 1, _leaf(leaf)
    for sibling in proof:
        if last == 0 or len(sibling) != 32:
            return False
        if position & 1 or position == last:
            current = _node(sibling, current)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            current = _node(current, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and hmac.compare_digest(current, root)


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
