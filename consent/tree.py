"""The Merkle sum tree of a job: who is paid how much, with the total inside every hash.

A node is one 256-bit word, hash192 ‖ sum64, exactly as JobEscrow computes it. Promises: every sum is checked on 64
bits; no consent stands twice; the same leaves give the same root and bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from consent.fields import UINT64_MAX, UINT256_MAX, constant, exact_list, exact_map, integer, octets
from consent.typed import address_word, keccak
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput
from core.ids import Address, ConsentId

MAX_LEAVES = 100_000
MAX_PROOF = 20
FEE = ConsentId(bytes(32))  # the id of the leaf that pays the runner
_HIGH = UINT256_MAX ^ UINT64_MAX


@dataclass(frozen=True)
class Leaf:
    """One payee: the consent it is paid for (or FEE), the account, and UNITs."""

    consent_id: ConsentId
    payee: Address
    amount: int

    def __post_init__(self) -> None:
        octets(self.consent_id, "A leaf's consent id", 32)
        octets(self.payee, "A leaf's payee", 20)
        integer(self.amount, "A leaf's amount", at_most=UINT64_MAX)

    @property
    def word(self) -> int:
        """hash192(consent id, payee, amount) ‖ amount64."""
        packed = self.consent_id + address_word(self.payee) + self.amount.to_bytes(32, "big")
        return int.from_bytes(keccak(packed), "big") & _HIGH | self.amount


def sum_of(word: int) -> int:
    """The UNITs that a node carries in its low 64 bits."""
    return word & UINT64_MAX


def join(left: int, right: int) -> int:
    """The node above two; a sum beyond 64 bits is `InvalidInput`."""
    total = (left & UINT64_MAX) + (right & UINT64_MAX)
    if total > UINT64_MAX:
        raise InvalidInput("The tree's amounts add up to more than 64 bits hold.")
    packed = left.to_bytes(32, "big") + right.to_bytes(32, "big")
    return int.from_bytes(keccak(packed), "big") & _HIGH | total


def verify(root: int, leaf: Leaf, position: int, proof: Sequence[int]) -> bool:
    """Whether `proof` leads from `leaf` at heap `position` (the root is 1) to `root`; never raises on bad words."""
    if len(proof) > MAX_PROOF or position >> len(proof) != 1:
        return False
    word = leaf.word
    for sibling in proof:
        if not 0 <= sibling <= UINT256_MAX:
            return False
        try:
            word = join(sibling, word) if position & 1 else join(word, sibling)
        except InvalidInput:
            return False
        position >>= 1
    return word == root


class SumTree:
    """A tree over 1 to 100,000 leaves, padded with zero words to a power of two."""

    def __init__(self, leaves: Sequence[Leaf]) -> None:
        if not 1 <= len(leaves) <= MAX_LEAVES:
            raise InvalidInput(f"A job pays between one and {MAX_LEAVES} leaves.")
        self.leaves: tuple[Leaf, ...] = tuple(leaves)
        self._index = {leaf.consent_id: i for i, leaf in enumerate(self.leaves)}
        if len(self._index) != len(self.leaves):
            raise InvalidInput("A consent stands in the tree twice.")
        level = [leaf.word for leaf in self.leaves]
        level += [0] * ((1 << self.depth) - len(level))
        self._levels = [level]
        while len(level) > 1:
            level = [join(level[i], level[i + 1]) for i in range(0, len(level), 2)]
            self._levels.append(level)

    @property
    def depth(self) -> int:
        """The length of every proof: ceil(log2(leaves))."""
        return (len(self.leaves) - 1).bit_length()

    @property
    def words(self) -> list[int]:
        """The lowest level: the leaves' words, then zeros."""
        return list(self._levels[0])

    @property
    def root(self) -> int:
        """The root word; its low 64 bits are the total."""
        return self._levels[-1][0]

    @property
    def total(self) -> int:
        """All amounts together, in UNITs."""
        return sum_of(self.root)

    def position(self, index: int) -> int:
        """The heap position of leaf `index`; the root's is 1."""
        self._leaf(index)
        return (1 << self.depth) + index

    def proof(self, index: int) -> list[int]:
        """The siblings from leaf `index` up."""
        self._leaf(index)
        return [level[(index >> height) ^ 1] for height, level in enumerate(self._levels[:-1])]

    def find(self, consent_id: bytes) -> int | None:
        """The index of this consent's leaf, if it has one."""
        return self._index.get(ConsentId(consent_id))

    def lowered(self, amounts: dict[ConsentId, int]) -> SumTree:
        """The same leaves at the same positions with smaller amounts for these consents."""
        for consent_id, amount in amounts.items():
            index = self.find(consent_id)
            if index is None or amount > self.leaves[index].amount:
                raise InvalidInput("A final tree only lowers leaves that the opening tree has.")
        return SumTree([Leaf(x.consent_id, x.payee, amounts.get(x.consent_id, x.amount)) for x in self.leaves])

    def _leaf(self, index: int) -> Leaf:
        if not 0 <= index < len(self.leaves):
            raise InvalidInput("The tree has no such leaf.")
        return self.leaves[index]

    @cached_property
    def _encoded(self) -> bytes:
        leaves = [[leaf.consent_id, leaf.payee, leaf.amount] for leaf in self.leaves]
        return encode_cbor({"v": 1, "kind": "tree", "leaves": leaves})

    def encode(self) -> bytes:
        """Its dag-cbor form (docs/format/61-job.md)."""
        return self._encoded

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        fields = exact_map(decode_cbor(data, limit=8 << 20), ("v", "kind", "leaves"), "The tree")
        constant(fields["v"], 1, "The tree's version")
        constant(fields["kind"], "tree", "The tree's kind")
        rows = exact_list(fields["leaves"], "The tree's leaves", at_least=1, at_most=MAX_LEAVES)
        return cls([Leaf(*exact_list(row, "A leaf", at_least=3, at_most=3)) for row in rows])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SumTree) and self.leaves == other.leaves

    def __hash__(self) -> int:
        return hash(self.leaves)

    def __repr__(self) -> str:
        return f"SumTree({len(self.leaves)} leaves, {self.total} UNITs)"
