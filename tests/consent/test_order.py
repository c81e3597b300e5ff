"""An order's hashes equal their ABI definitions; its bytes have one form."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi import encode as abi_encode

from consent.order import Order
from consent.tree import sum_of
from consent.typed import keccak
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput


def test_every_hash_of_an_order_is_its_abi_definition(sample):
    order = sample.order
    brief = keccak(order.recipe_hash + order.job_pk + (250).to_bytes(8, "big"))
    committee = keccak(abi_encode(["uint256", "address[]"], [order.q, list(order.keepers)]))
    spec = keccak(brief + committee)
    counted = keccak(abi_encode(["bytes32[]"], [list(order.counted)]))
    order_hash = keccak(abi_encode(["address", "bytes32", "bytes32"], [order.runner, spec, counted]))
    times = order.opened << 40 | order.start
    word = keccak(times.to_bytes(32, "big") + order.root.to_bytes(32, "big") + order_hash)
    job = keccak(
        abi_encode(
            ["uint256", "address", "address", "uint256", "uint256", "uint256", "bytes32"],
            [order.chain_id, order.escrow, order.payer, order.lane, order.opened, order.root, order_hash],
        )
    )
    assert (order.brief, order.committee, order.spec) == (brief, committee, spec)
    assert (order.counted_hash, order.order_hash, order.times) == (counted, order_hash, times)
    assert order.lane_word(7).to_bytes(32, "big") == word[:24] + (7).to_bytes(8, "big")
    assert sum_of(order.open_word) == sum_of(order.root) == 1850
    assert order.job_id == job


def test_a_job_without_counted_consents_commits_to_zero(sample):
    assert replace(sample.order, counted=()).counted_hash == bytes(32)


def test_an_unopened_order_has_no_id(sample):
    plan = replace(sample.order, opened=0)
    with pytest.raises(InvalidInput):
        _ = plan.job_id
    with pytest.raises(InvalidInput):
        plan.lane_word(0)
    assert plan.opened_at(sample.order.opened).job_id == sample.order.job_id


def test_the_id_outlives_confirmation_but_the_lane_word_does_not(sample):
    order = sample.order
    assert order.lane_word(1850, start=order.opened + 60) != order.open_word
    assert order.lane_word(1850, root=order.root ^ 1 << 200) != order.open_word


def test_an_order_survives_its_encoding(sample):
    assert Order.decode(sample.order.encode()) == sample.order


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2), ("v", True), ("kind", "tree"), ("chain", 0), ("escrow", bytes(20)), ("payer", b"x" * 19),
        ("lane", -1), ("opened", 2**40), ("start", 1_800_000_000), ("start", 1_800_000_000 + 30 * 86400 + 1),
        ("runner", bytes(20)), ("recipe", bytes(31)), ("job_pk", bytes(1215)), ("fee", "1"),
        ("q", 4), ("q", 0), ("keepers", []), ("keepers", [[]]), ("root", 5), ("counted", [bytes(32), bytes(32)]),
        ("counted", [bytes([i]) * 32 for i in range(65)]), ("counted", [[]]), ("counted", None), ("more", 1),
    ],
)  # fmt: skip
def test_an_order_with_one_wrong_field_is_refused(sample, field, value):
    fields = decode_cbor(sample.order.encode())
    fields[field] = value
    with pytest.raises(InvalidInput):
        Order.decode(encode_cbor(fields))


@pytest.mark.parametrize("field", ["v", "chain", "job_pk", "counted"])
def test_an_order_that_lacks_a_field_is_refused(sample, field):
    fields = decode_cbor(sample.order.encode())
    del fields[field]
    with pytest.raises(InvalidInput):
        Order.decode(encode_cbor(fields))
