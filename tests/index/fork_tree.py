"""A node with a tree of blocks, one branch of which is the chain; tests grow it, fork it, and make it lie."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, delete, select

from allod import schema
from consent.chain.client import Chain
from consent.chain.deployment import Deployment
from consent.chain.jsonrpc import INVALID_PARAMS, TOO_MUCH, RpcError
from consent.index.indexer import Indexer
from consent.index.layout import Layout, Layouts
from consent.index.records import BlockRow, EventRow, SourceRow
from core.database import open_engine
from core.encoding import to_hex
from core.ids import Address

FIRST = 3
DEPLOYMENT = Deployment(
    chain_id=31337,
    registry=Address(b"\x01" * 20),
    consent_token=Address(b"\x02" * 20),
    escrow=Address(b"\x03" * 20),
    currency=Address(b"\x04" * 20),
    unit=1,
    first_block=FIRST,
)
LAYOUTS = Layouts(DEPLOYMENT)
TOPICS = {layout.name: key for key, layout in LAYOUTS._by_topic.items()}


@dataclass(frozen=True)
class FakeBlock:
    number: int
    hash: bytes
    parent: bytes
    logs: tuple[dict[str, Any], ...]

    def document(self) -> dict[str, Any]:
        return {
            "number": hex(self.number),
            "hash": to_hex(self.hash),
            "parentHash": to_hex(self.parent),
            "timestamp": hex(1_800_000_000 + 12 * self.number),
        }


def random_words(layout: Layout, dice: random.Random) -> bytes:
    """Words that the types of an event can hold."""
    words = bytearray()
    zeros = dict(layout.zeros)
    for start in range(0, layout.size, 32):
        empty = zeros.get(start, start) - start
        word = bytearray(bytes(empty) + bytes(dice.choice((0, 1, 2, 255)) for _ in range(32 - empty)))
        if start + 31 in layout.booleans:
            word[31] &= 1
        words += word
    return bytes(words)


def random_log(dice: random.Random) -> dict[str, Any]:
    """A log of one of our events, without its place."""
    address, topic = dice.choice(sorted(TOPICS.values()))
    layout = LAYOUTS._by_topic[address, topic]
    words = random_words(layout, dice)
    if layout.name == "Transfer":  # no consent ever changes hands
        words = dice.choice((bytes(32) + words[32:], words[:32] + bytes(32) + words[64:]))
    split = layout.topics * 32
    topics = [topic, *(to_hex(words[start : start + 32]) for start in range(0, split, 32))]
    return {"address": address, "topics": topics, "data": to_hex(words[split:])}


@dataclass
class ForkTree:
    """The node. `refuse` is the longest range that it answers, `spoil` changes its answers, `before` sees requests."""

    dice: random.Random
    refuse: int = 10**9
    spoil: Callable[[str, Any], Any] = lambda method, answer: answer
    before: Callable[[str, Sequence[Any]], None] = lambda method, params: None
    blocks: dict[bytes, FakeBlock] = field(default_factory=dict)
    chain: list[FakeBlock] = field(default_factory=list)
    guard: Any = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        if not self.chain:
            self.grow(1)

    def as_of(self, number: int) -> ForkTree:
        """An honest node whose chain ends at this block of this one's."""
        return ForkTree(random.Random(number), blocks=dict(self.blocks), chain=self.chain[: number + 1])

    def grow(self, count: int, most: int = 3) -> None:
        """Add blocks to the chain, each with up to `most` events in it from the first block that matters."""
        for _ in range(count):
            number, parent = len(self.chain), self.chain[-1].hash if self.chain else bytes(32)
            block_hash = sha256(parent + self.dice.randbytes(8)).digest()
            logs = []
            for index in range(self.dice.randint(0, most) if number >= FIRST else 0):
                place = {
                    "blockNumber": hex(number),
                    "blockHash": to_hex(block_hash),
                    "transactionHash": to_hex(sha256(block_hash + bytes([index // 2])).digest()),
                    "transactionIndex": hex(index // 2),
                    "logIndex": hex(index * 3),
                    "removed": False,
                }
                logs.append(random_log(self.dice) | place)
            block = FakeBlock(number, block_hash, parent, tuple(logs))
            self.blocks[block.hash] = block
            self.chain.append(block)

    def fork(self, depth: int, count: int) -> None:
        """Give up the newest `depth` blocks (never genesis) and grow `count` others."""
        with self.guard:
            del self.chain[max(1, len(self.chain) - depth) :]
            self.grow(count)

    # -- the provider -------------------------------------------------------------------------------------------------

    def request(self, method: str, params: Sequence[Any]) -> Any:
        with self.guard:
            self.before(method, params)
            return self.spoil(method, self._answer(method, params))

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getBlockByHash":
            block = self.blocks.get(bytes.fromhex(params[0][2:]))
            return block and block.document()
        if method == "eth_getBlockByNumber":
            number = len(self.chain) - 1 if params[0] == "latest" else int(params[0], 16)
            return self.chain[number].document() if number < len(self.chain) else None
        assert method == "eth_getLogs"
        (query,) = params
        if "blockHash" in query:
            block = self.blocks.get(bytes.fromhex(query["blockHash"][2:]))
            if block is None or block not in self.chain:
                raise RpcError(INVALID_PARAMS, "unknown block")
            return [dict(log) for log in block.logs]
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last - first + 1 > self.refuse:
            raise RpcError(TOO_MUCH, "query exceeds max block range")
        return [dict(log) for block in self.chain[first : last + 1] for log in block.logs]

    def close(self) -> None:
        pass


def new_engine() -> Engine:
    engine = open_engine("sqlite://")
    schema.metadata().create_all(engine)
    return engine


def clear(engine: Engine) -> None:
    """Take every row of the index out again: quicker than another database."""
    with engine.begin() as connection:
        for row in (EventRow, BlockRow, SourceRow):
            connection.execute(delete(row))


def indexer(node: ForkTree, engine: Engine) -> Indexer:
    return Indexer(Chain(node), DEPLOYMENT, engine)


def rows(engine: Engine) -> list[Any]:
    """Every row of the index, in order."""
    with engine.connect() as connection:
        return [
            connection.execute(select(*row.__table__.columns).order_by(*row.__table__.primary_key.columns)).all()
            for row in (SourceRow, BlockRow, EventRow)
        ]


@dataclass
class Rebuilding:
    """What the rows of an index would be that is begun now."""

    engine: Engine

    def __call__(self, node: ForkTree) -> list[Any]:
        clear(self.engine)
        indexer(node, self.engine).follow()
        return rows(self.engine)
