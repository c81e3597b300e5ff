"""The sum tree: any leaf proves, any changed word fails, no sum leaves 64 bits."""

from __future__ import annotations

import pytest
from eth_abi import encode as abi_encode
from hypothesis import given
from hypothesis import strategies as st

from consent.tree import FEE, MAX_LEAVES, Leaf, SumTree, join, sum_of, verify
from consent.typed import keccak
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput
from core.ids import Address, ConsentId

M64 = 2**64 - 1


def leaf(number: int, amount: int) -> Leaf:
    return Leaf(ConsentId(number.to_bytes(32, "big")), Address(bytes([number % 251 + 1]) * 20), amount)


def tree_of(amounts: list[int]) -> SumTree:
    return SumTree([leaf(i, amount) for i, amount in enumerate(amounts)])


amounts = st.lists(st.integers(0, 2**58), min_size=1, max_size=33)


def test_a_leaf_is_its_abi_hash_over_its_amount():
    one = leaf(7, 12345)
    hashed = keccak(abi_encode(["bytes32", "address", "uint256"], [one.consent_id, one.payee, one.amount]))
    assert one.word.to_bytes(32, "big") == hashed[:24] + (12345).to_bytes(8, "big")


def test_a_node_hashes_both_words_and_adds_them():
    left, right = leaf(1, 5).word, leaf(2, 6).word
    hashed = keccak(left.to_bytes(32, "big") + right.to_bytes(32, "big"))
    assert join(left, right).to_bytes(32, "big") == hashed[:24] + (11).to_bytes(8, "big")


@given(amounts)
def test_every_leaf_proves_and_the_root_carries_the_sum(values):
    tree = tree_of(values)
    assert tree.total == sum(values) == sum_of(tree.root)
    assert len(tree.words) == 1 << tree.depth
    for index in range(len(values)):
        proof = tree.proof(index)
        assert len(proof) == tree.depth
        assert verify(tree.root, tree.leaves[index], tree.position(index), proof)


@given(amounts.filter(lambda values: len(values) > 1), st.data())
def test_a_proof_with_a_changed_word_fails(values, data):
    tree = tree_of(values)
    index = data.draw(st.integers(0, len(values) - 1))
    proof = tree.proof(index)
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] ^= 1 << data.draw(st.integers(0, 255))
    assert not verify(tree.root, tree.leaves[index], tree.position(index), proof)


@given(amounts, st.data())
def test_another_amount_payee_consent_or_position_fails(values, data):
    tree = tree_of(values)
    index = data.draw(st.integers(0, len(values) - 1))
    true, proof, position = tree.leaves[index], tree.proof(index), tree.position(index)
    forged = [
        Leaf(true.consent_id, true.payee, true.amount + 1),
        Leaf(true.consent_id, Address(bytes([255]) * 20), true.amount),
        Leaf(ConsentId(bytes([255]) * 32), true.payee, true.amount),
    ]
    assert not any(verify(tree.root, wrong, position, proof) for wrong in forged)
    for wrong in (position + 1, position ^ 1, 0, position << 1, -position):
        assert not verify(tree.root, true, wrong, proof) or wrong == position


def test_the_order_of_leaves_decides_their_position():
    tree = tree_of([1, 2, 3])
    assert [tree.position(i) for i in range(3)] == [4, 5, 6]
    assert tree_of([9]).position(0) == 1
    assert tree_of([9]).proof(0) == []
    assert tree.words[3] == 0


def test_sums_beyond_64_bits_are_refused():
    assert tree_of([M64]).total == M64
    with pytest.raises(InvalidInput):
        tree_of([M64, 1])
    with pytest.raises(InvalidInput):
        tree_of([M64 // 2, M64 // 2, 0, 2])
    with pytest.raises(InvalidInput):
        leaf(1, M64 + 1)


def test_a_crafted_sibling_that_overflows_never_verifies():
    tree = tree_of([5, 6])
    assert not verify(tree.root, leaf(0, 5), 2, [tree.leaves[1].word | M64])
    assert not verify(tree.root, leaf(0, 5), 2, [2**256])


def test_a_consent_stands_in_a_tree_once():
    with pytest.raises(InvalidInput):
        SumTree([leaf(1, 5), leaf(1, 6)])
    with pytest.raises(InvalidInput):
        SumTree([Leaf(FEE, leaf(1, 1).payee, 5), Leaf(FEE, leaf(2, 1).payee, 5)])


def test_a_tree_pays_somebody_and_not_too_many():
    with pytest.raises(InvalidInput):
        SumTree([])
    with pytest.raises(InvalidInput):
        SumTree([leaf(0, 0)] * (MAX_LEAVES + 1))


@given(amounts, st.data())
def test_lowering_keeps_positions_and_lowers_the_sum(values, data):
    tree = tree_of(values)
    index = data.draw(st.integers(0, len(values) - 1))
    lower = data.draw(st.integers(0, values[index]))
    final = tree.lowered({tree.leaves[index].consent_id: lower})
    assert final.total == tree.total - values[index] + lower
    assert [x.consent_id for x in final.leaves] == [x.consent_id for x in tree.leaves]


def test_lowering_never_raises_or_invents_a_leaf():
    tree = tree_of([5, 6])
    with pytest.raises(InvalidInput):
        tree.lowered({tree.leaves[0].consent_id: 6})
    with pytest.raises(InvalidInput):
        tree.lowered({leaf(9, 0).consent_id: 0})


@given(amounts)
def test_a_tree_survives_its_encoding(values):
    tree = tree_of(values)
    again = SumTree.decode(tree.encode())
    assert again == tree
    assert again.root == tree.root
    assert tree.find(tree.leaves[-1].consent_id) == len(values) - 1
    assert tree.find(bytes([254]) * 32) is None


@pytest.mark.parametrize(
    "change",
    [
        {"v": 0}, {"kind": "order"}, {"leaves": []}, {"leaves": [[]]}, {"leaves": {}}, {"x": 1},
        {"leaves": [[bytes(32), bytes(20), 1, 2]]}, {"leaves": [[bytes(31), bytes(20), 1]]},
        {"leaves": [[bytes(32), bytes(20), True]]}, {"leaves": [[bytes(32), bytes(20), -1]]},
        {"leaves": [[bytes(32), bytes(20), 1], [bytes(32), bytes(20), 1]]}, {"leaves": [["a" * 32, bytes(20), 1]]},
    ],
)  # fmt: skip
def test_a_malformed_tree_is_refused(change):
    fields = decode_cbor(tree_of([1, 2]).encode()) | change
    with pytest.raises(InvalidInput):
        SumTree.decode(encode_cbor(fields))


def test_a_tree_in_another_cbor_form_is_refused():
    data = tree_of([1]).encode()
    with pytest.raises(InvalidInput):
        SumTree.decode(data + b"\0")
    with pytest.raises(InvalidInput):
        SumTree.decode(data[:-1])
