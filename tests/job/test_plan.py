"""The plan fixes order and steps, and nothing else can."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.chain.account import Account, recover
from core.encoding import Link, decode_cbor, encode_cbor, from_hex, to_hex
from core.errors import InvalidInput
from core.ids import Address, ConsentId, JobId, ObjectId
from finetune.plan import Plan, PlannedObject, decode_plan

VECTORS = Path(__file__).parents[1] / "vectors"
PAYLOAD = Link(bytes.fromhex("01551220") + bytes(32))


def planned(number: int, tokens: list[int]) -> PlannedObject:
    return PlannedObject(
        ObjectId(bytes([number]) * 32),
        ConsentId(bytes([number % 3]) * 32),
        Address(bytes([number % 3]) * 20),
        PAYLOAD,
        array("I", tokens),
    )


def a_plan(lengths: list[list[int]], *, epochs: int = 2, sequence: int = 16, rows: int = 3, seed: int = 7) -> Plan:
    objects = tuple(planned(number, tokens) for number, tokens in enumerate(lengths))
    return Plan(JobId(b"j" * 32), b"r" * 32, seed, epochs, sequence, rows, objects)


LENGTHS = st.lists(st.lists(st.integers(1, 60), max_size=12), max_size=6)


@given(LENGTHS, st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_every_record_is_stepped_on_once_in_each_epoch(lengths: list[list[int]], epochs: int, seed: int) -> None:
    plan = a_plan(lengths, epochs=epochs, seed=seed)
    seen: dict[int, list[int]] = {}
    for number, step in enumerate(plan.steps()):
        assert step.number == number
        seen.setdefault(step.epoch, []).extend(step.records)
    for epoch in range(epochs if plan.records else 0):
        assert seen[epoch] == list(plan.order(epoch))
        assert sorted(seen[epoch]) == list(range(plan.records))


@given(LENGTHS, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_resuming_by_number_gives_the_same_steps(lengths: list[list[int]], start: int) -> None:
    plan = a_plan(lengths)
    assert list(plan.steps(start)) == list(plan.steps())[start:]
    assert plan.count_steps() == len(list(plan.steps()))


@pytest.mark.parametrize("vector", json.loads((VECTORS / "plans.json").read_bytes()))
def test_plans_follow_their_vectors(vector: dict[str, Any]) -> None:
    plan = decode_plan(from_hex(vector["plan"]))
    assert to_hex(plan.encode()) == vector["plan"]
    assert to_hex(plan.hash()) == vector["hash"]
    assert [list(plan.order(epoch)) for epoch in range(plan.epochs)] == vector["orders"]
    assert [{"epoch": step.epoch, "records": list(step.records)} for step in plan.steps()] == vector["steps"]


def _chacha20(key: bytes, length: int) -> bytes:
    """ChaCha20 written from RFC 8439 alone (zero nonce, counter from 0), to check the order without our code."""

    def rotated(number: int, by: int) -> int:
        return (number << by | number >> (32 - by)) & 0xFFFFFFFF

    out = b""
    constants = [int.from_bytes(b"expand 32-byte k"[i : i + 4], "little") for i in range(0, 16, 4)]
    words = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    for counter in range(-(-length // 64)):
        start = [*constants, *words, counter, 0, 0, 0]
        x = list(start)
        for _ in range(10):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                               (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):  # fmt: skip
                for one, two, three, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                    x[one] = (x[one] + x[two]) & 0xFFFFFFFF
                    x[three] = rotated(x[three] ^ x[one], by)
        out += b"".join(((n + m) & 0xFFFFFFFF).to_bytes(4, "little") for n, m in zip(x, start, strict=True))
    return out[:length]


def test_the_order_can_be_repeated_from_the_written_rule_alone() -> None:
    plan = a_plan([[5] * 6, [5] * 4], seed=1)
    for epoch in range(2):
        key = hashlib.sha256(b"allod/plan-order/v1\0" + (1).to_bytes(8, "big") + epoch.to_bytes(4, "big")).digest()
        stream, order = _chacha20(key, 8 * 20), list(range(10))
        draws = [int.from_bytes(stream[i : i + 8], "big") for i in range(0, len(stream), 8)]
        for last in range(9, 0, -1):
            while (draw := draws.pop(0)) >= 2**64 - 2**64 % (last + 1):
                pass
            chosen = draw % (last + 1)
            order[last], order[chosen] = order[chosen], order[last]
        assert list(plan.order(epoch)) == order


def test_another_seed_gives_another_order() -> None:
    lengths = [[5] * 40]
    assert list(a_plan(lengths, seed=1).order(0)) != list(a_plan(lengths, seed=2).order(0))


def test_records_are_found_by_number() -> None:
    plan = a_plan([[1, 2], [], [3], [4, 5, 6]])
    assert [plan.locate(record) for record in range(plan.records)] == [(0, 0), (0, 1), (2, 0), (3, 0), (3, 1), (3, 2)]
    assert [plan.tokens_of(record) for record in range(plan.records)] == [1, 2, 3, 4, 5, 6]
    assert [plan.number_of(*plan.locate(record)) for record in range(plan.records)] == list(range(plan.records))
    with pytest.raises(InvalidInput):
        plan.locate(plan.records)


def test_a_plan_comes_back_from_its_bytes() -> None:
    plan = a_plan([[1, 2], [300]])
    again = decode_plan(plan.encode())
    assert again == plan
    assert again.encode() == plan.encode()


def test_the_runner_signs_the_plan() -> None:
    runner, plan = Account(b"\1" * 32), a_plan([[1, 2], [300]])
    assert recover(plan.hash(), plan.sign(runner)) == runner.address
    other = dataclasses.replace(plan, seed=8)
    assert recover(other.hash(), plan.sign(runner)) != runner.address


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"kind": "tree"},
        {"job": b"short"},
        {"epochs": 0},
        {"epochs": True},
        {"sequence": 1},
        {"rows": 0},
        {"seed": -1},
        {"extra": 1},
        {"objects": 5},
        {"objects": [{}]},
    ],
)
def test_a_plan_of_another_form_is_refused(change: dict[str, object]) -> None:
    value = decode_cbor(a_plan([[1]]).encode())
    with pytest.raises(InvalidInput):
        decode_plan(encode_cbor({**value, **change}))


@pytest.mark.parametrize("tokens", [[0], [-1], [2**32], ["1"], None])
def test_odd_token_counts_are_refused(tokens: object) -> None:
    value = decode_cbor(a_plan([[1]]).encode())
    value["objects"][0]["tokens"] = tokens
    with pytest.raises(InvalidInput):
        decode_plan(encode_cbor(value))


def test_an_object_stands_only_once_under_a_consent() -> None:
    one = planned(1, [1])
    with pytest.raises(InvalidInput):
        Plan(JobId(bytes(32)), bytes(32), 0, 1, 16, 1, (one, one))
