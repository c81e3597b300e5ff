"""Logs decoded by hand are what the generic decoder makes of them, and nothing that is off passes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.chain.answers import read_logs
from consent.chain.client import Chain
from consent.index.layout import KEYS, Layout
from core.encoding import to_hex
from core.errors import InvalidInput, Unavailable
from tests.index.fork_tree import DEPLOYMENT, FIRST, LAYOUTS, TOPICS, ForkTree, random_words

CONTRACTS = DEPLOYMENT.contracts(Chain(ForkTree(random.Random(0))))
PLACE = {
    "blockNumber": "0x5",
    "blockHash": "0x" + "0b" * 32,
    "transactionHash": "0x" + "0c" * 32,
    "transactionIndex": "0x0",
    "logIndex": "0x0",
}


def log_of(name: str, words: bytes, **place: Any) -> dict[str, Any]:
    address, topic = TOPICS[name]
    split = LAYOUTS._by_topic[address, topic].topics * 32
    topics = [topic, *(to_hex(words[start : start + 32]) for start in range(0, split, 32))]
    return {"address": address, "topics": topics, "data": to_hex(words[split:]), **PLACE, **place}


def layout(name: str) -> Layout:
    return LAYOUTS._by_topic[TOPICS[name]]


@given(name=st.sampled_from(sorted(TOPICS)), seed=st.integers(0, 2**32))
def test_every_event_is_read_as_the_generic_decoder_reads_it(name: str, seed: int) -> None:
    log = log_of(name, random_words(layout(name), random.Random(seed)))
    (expected,) = [event for one in CONTRACTS for event in one.decode(read_logs([log]))]
    (found,) = LAYOUTS.read([log])
    assert found.event == expected
    assert list(found.event.args) == list(expected.args)


@given(name=st.sampled_from(sorted(TOPICS)), seed=st.integers(0, 2**32), data=st.data())
def test_a_word_that_its_type_cannot_hold_is_refused_by_both(name: str, seed: int, data: st.DataObject) -> None:
    zeros = layout(name).zeros
    words = bytearray(random_words(layout(name), random.Random(seed)))
    if zeros:
        start, stop = data.draw(st.sampled_from(zeros))
        words[data.draw(st.integers(start, stop - 1))] = data.draw(st.integers(1, 255))
        log = log_of(name, bytes(words))
        with pytest.raises(ValueError):
            LAYOUTS.read([log])
        with pytest.raises(Unavailable):
            [one.decode(read_logs([log])) for one in CONTRACTS]


def test_all_events_of_the_three_contracts_are_known_and_their_names_are_different() -> None:
    abis = [entry for one in CONTRACTS[:3] for entry in one.interface._entries if entry["type"] == "event"]
    assert len(LAYOUTS._by_topic) == len(TOPICS) == len(abis)


def test_key_columns_hold_whom_and_what_an_event_is_about() -> None:
    word = {name: bytes([number]) * 32 for number, name in enumerate(("root", "spec", "times", "counted"), 1)}
    payer, runner, lane = bytes(12) + b"\xaa" * 20, bytes(12) + b"\xbb" * 20, bytes(31) + b"\x07"
    words = payer + lane + word["times"] + runner + word["spec"] + word["root"] + word["counted"]
    columns = layout("Opened").key_columns(words)
    assert columns == dict.fromkeys(KEYS) | {"payer": b"\xaa" * 20, "lane": lane}
    nobody, somebody, token = bytes(32), bytes(12) + b"\xcc" * 20, b"\xdd" * 32
    for ends in (nobody + somebody, somebody + nobody):
        columns = layout("Transfer").key_columns(ends + token)
        assert (columns["holder"], columns["consent"]) == (b"\xcc" * 20, token)


def test_an_argument_that_an_event_lacks_is_no_way_to_find_it() -> None:
    with pytest.raises(InvalidInput, match="no argument colour"):
        layout("Opened").filters({"colour": 1})
    with pytest.raises(InvalidInput, match="no event Painted"):
        LAYOUTS.named("escrow", "Painted")
    with pytest.raises(InvalidInput, match="no event Registered"):
        LAYOUTS.named("escrow", "Registered")


def test_an_argument_of_several_words_cannot_be_laid_out() -> None:
    entry = {"name": "Noted", "inputs": [{"name": "note", "type": "string", "indexed": False}]}
    with pytest.raises(ValueError, match="not one plain word"):
        Layout.of("registry", entry)


REGISTERED = log_of("Registered", random_words(layout("Registered"), random.Random(1)), blockNumber=hex(FIRST))


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "0x" + "04" * 20},
        {"address": "0x" + "02" * 20},
        {"address": None},
        {"topics": []},
        {"topics": REGISTERED["topics"][:-1]},
        {"topics": [*REGISTERED["topics"], "0x" + "00" * 32]},
        {"topics": ["0x" + "11" * 32, *REGISTERED["topics"][1:]]},
        {"topics": [REGISTERED["topics"][0], REGISTERED["topics"][1][:-2], REGISTERED["topics"][2] + "00"]},
        {"topics": [REGISTERED["topics"][0], "00" + REGISTERED["topics"][1][2:], REGISTERED["topics"][2]]},
        {"data": "0x"},
        {"data": REGISTERED["data"] + "00"},
        {"data": REGISTERED["data"][:-2] + "zz"},
        {"data": REGISTERED["data"][:-2] + "  "},
        {"data": "00" + REGISTERED["data"][2:]},
        {"data": None},
        {"removed": True},
        {"blockNumber": None},
        {"blockNumber": "5"},
        {"blockNumber": "0x"},
        {"blockNumber": "0x-5"},
        {"blockNumber": "0x1_0"},
        {"blockNumber": "0x" + "f" * 17},
        {"logIndex": "0x80000000"},
        {"transactionIndex": "0x١"},
        {"blockHash": "0x" + "00" * 31},
        {"blockHash": "0x" + "00" * 31 + "  "},
        {"transactionHash": None},
    ],
)
def test_what_is_off_in_a_log_is_unavailable(changes: dict[str, Any]) -> None:
    node = ForkTree(random.Random(0), spoil=lambda method, answer: [REGISTERED | changes])
    node.grow(5)
    with pytest.raises(Unavailable):
        Chain(node).scan(LAYOUTS.read, LAYOUTS.addresses, (0, 5))


@pytest.mark.parametrize(("block", "transaction", "index"), [(5, 1, 1), (5, 1, 0), (4, 1, 9), (5, 0, 2)])
def test_logs_out_of_order_or_twice_are_refused(block: int, transaction: int, index: int) -> None:
    first = REGISTERED | {"blockNumber": "0x5", "transactionIndex": "0x1", "logIndex": "0x1"}
    place = {"blockNumber": hex(block), "transactionIndex": hex(transaction), "logIndex": hex(index)}
    with pytest.raises(ValueError):
        LAYOUTS.read([first, first | place])


@pytest.mark.parametrize(("block", "transaction", "index"), [(5, 1, 2), (5, 2, 2), (6, 0, 0)])
def test_logs_in_order_may_leave_out_places(block: int, transaction: int, index: int) -> None:
    first = REGISTERED | {"blockNumber": "0x5", "transactionIndex": "0x1", "logIndex": "0x1"}
    place = {"blockNumber": hex(block), "transactionIndex": hex(transaction), "logIndex": hex(index)}
    assert len(LAYOUTS.read([first, first | place])) == 2


@pytest.mark.parametrize("answer", [None, 7, {}, "0x", [None], [[]], [{}]])
def test_an_answer_that_is_no_list_of_logs_is_unavailable(answer: Any) -> None:
    node = ForkTree(random.Random(0), spoil=lambda method, _: answer)
    with pytest.raises(Unavailable):
        Chain(node).scan(LAYOUTS.read, LAYOUTS.addresses, (0, 5))
