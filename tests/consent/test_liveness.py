"""Thousands of tokens in as few calls as a node takes, all at one block, and no yes out of a malformed answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pytest

from consent.chain.client import Chain
from consent.chain.deployment import Deployment
from consent.chain.jsonrpc import INVALID_REQUEST, REVERTED, SERVER_ERROR, TOO_MUCH, RpcError
from consent.market.liveness import FEWEST, PAIRS, live
from consent.market.place import Market
from core.encoding import from_hex, to_hex
from core.errors import Refused, Unavailable
from core.ids import Address

HEAD = "0x" + "0a" * 32


@dataclass
class Node:
    """Answers `live_packed`: a token is live if the last byte of its pair is odd. `most` is what it takes at once."""

    market: Market = field(init=False)
    most: int = 8_192
    refusal: Exception = field(default_factory=lambda: RpcError(SERVER_ERROR, "EVM error OutOfGas"))
    spoil: Callable[[bytes], bytes] = lambda answer: answer
    calls: list[int] = field(default_factory=list)
    blocks: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        addresses = [Address(bytes([number]) * 20) for number in range(1, 5)]
        self.market = Market(Chain(self), Deployment(31337, *addresses, unit=1, first_block=0))

    def request(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getBlockByNumber":
            return {"number": "0x5", "hash": HEAD, "parentHash": HEAD, "timestamp": "0x1"}
        call, block = params
        data = self.market.token.interface.encode_call("live_packed", [b""])[:4]
        sent = from_hex(call["data"])
        length = int.from_bytes(sent[36:68], "big")
        pairs = sent[68 : 68 + length]
        assert sent == self.market.token.encode("live_packed", pairs)
        assert sent[:4] == data
        self.calls.append(length // 64)
        self.blocks.add(block["blockHash"])
        if length // 64 > self.most:
            raise self.refusal
        bits = [pairs[start + 63] & 1 for start in range(0, length, 64)]
        words = [sum(bit << place for place, bit in enumerate(bits[at : at + 256])) for at in range(0, len(bits), 256)]
        answer = b"".join(number.to_bytes(32, "big") for number in (32, len(words), *words))
        return to_hex(self.spoil(answer))

    def close(self) -> None:
        pass


def pairs(count: int) -> list[bytes]:
    return [sha256(number.to_bytes(4, "big")).digest() * 2 for number in range(count)]


def expected(some: list[bytes]) -> list[bool]:
    return [bool(pair[63] & 1) for pair in some]


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 512, PAIRS, PAIRS + 1])
def test_every_token_gets_its_own_answer(count: int) -> None:
    node = Node()
    assert live(node.market, pairs(count)) == expected(pairs(count))
    assert len(node.calls) == (1 if count <= PAIRS else 2)


def test_ten_thousand_take_two_calls_at_one_block() -> None:
    node = Node()
    assert live(node.market, pairs(10_000)) == expected(pairs(10_000))
    assert node.calls == [5_000, 5_000]
    assert node.blocks == {HEAD}
    node.blocks.clear()
    live(node.market, pairs(10_000), b"\x0b" * 32)
    assert node.blocks == {"0x" + "0b" * 32}


def test_nothing_is_asked_about_nobody() -> None:
    node = Node()
    assert live(node.market, []) == []
    assert node.calls == []


@pytest.mark.parametrize(
    "refusal",
    [
        RpcError(SERVER_ERROR, "EVM error OutOfGas"),
        RpcError(SERVER_ERROR, "out of gas: gas required exceeds allowance (50000000)"),
        RpcError(REVERTED, "execution reverted"),
        RpcError(INVALID_REQUEST, "Invalid request"),
        RpcError(TOO_MUCH, "request too large"),
        Unavailable("The chain's RPC endpoint answered eth_call with HTTP 413 and no JSON.", code=413),
    ],
)
def test_a_node_that_takes_fewer_is_asked_for_fewer(refusal: Exception) -> None:
    node = Node(most=1_000, refusal=refusal)
    assert live(node.market, pairs(3_000)) == expected(pairs(3_000))
    assert max(count for count in node.calls if count <= 1_000) == 750


def test_a_node_that_refuses_everything_is_not_asked_for_ever() -> None:
    node = Node(most=0)
    with pytest.raises(Refused, match="out of gas"):
        live(node.market, pairs(2_000))
    assert len(node.calls) < 10
    assert min(node.calls) <= FEWEST


def test_a_node_that_is_silent_is_asked_once() -> None:
    node = Node(most=0, refusal=Unavailable("The chain's RPC endpoint does not answer."))
    with pytest.raises(Unavailable):
        live(node.market, pairs(2_000))
    assert node.calls == [2_000]


def test_a_refusal_of_a_few_is_said_as_it_is() -> None:
    node = Node(most=0, refusal=RpcError(REVERTED, "execution reverted: no"))
    with pytest.raises(Refused, match="no"):
        live(node.market, pairs(FEWEST))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: b"",
        lambda answer: answer[:-1],
        lambda answer: answer[:-32],
        lambda answer: answer + bytes(32),
        lambda answer: answer + b"\x01",
        lambda answer: (33).to_bytes(32, "big") + answer[32:],
        lambda answer: answer[:32] + (9).to_bytes(32, "big") + answer[64:],
        lambda answer: answer[:-32] + b"\xff" * 32,
    ],
)
def test_an_answer_of_another_form_is_no_yes(spoil: Callable[[bytes], bytes]) -> None:
    node = Node(spoil=spoil)
    with pytest.raises(Unavailable, match="does not say"):
        live(node.market, pairs(300))
