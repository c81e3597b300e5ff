"""The index on a real anvil: reorganised, reverted, and mined anew with other transactions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, deploy
from consent.chain.embedded import developer
from consent.chain.outbox import MemoryOutbox
from consent.index.indexer import Indexer
from consent.market.place import Market
from tests.index.fork_tree import new_engine, rows
from tests.real import running_anvil

pytestmark = pytest.mark.needs_nodes


class Town:
    """Contracts on anvil, an index that follows, and the words in which the tests act."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.deployment: Deployment = deploy(chain, developer())
        self.market = Market(chain, self.deployment)
        self.engine, self.engines = new_engine(), list[Engine]()
        self.index = Indexer(chain, self.deployment, self.engine)

    def act(self, *numbers: int) -> None:
        """Register a dataset and raise an epoch for each number, as the developer."""
        for number in numbers:
            self.market.registry.transact(developer(), "register", bytes([number]) * 32, bytes(32))
            self.market.token.transact(developer(), "revoke_all")

    def digests(self) -> list[int]:
        return [event.args["digest"][0] for event in self.index.events("registry", "Registered")]

    def check(self) -> None:
        """Follow, and compare with an index begun now and with the generic decoder."""
        head = self.index.follow()
        assert head.hash == self.chain.block().hash
        fresh = new_engine()
        self.engines.append(fresh)
        Indexer(self.chain, self.deployment, fresh).follow()
        assert rows(self.engine) == rows(fresh)
        for contract, name in (("registry", "Registered"), ("token", "EpochRaised")):
            generic = getattr(self.market, contract).events(name, self.deployment.first_block)
            assert self.index.events(contract, name) == generic


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with running_anvil(tmp_path / "anvil") as node, Chain.http(node.url) as chain:
        town = Town(chain)
        yield town
        for engine in (town.engine, *town.engines):
            engine.dispose()


def forget_what_was_sent(chain: Chain) -> None:
    """Else what the reorganisation undid would be sent again with the next transaction."""
    chain.sending.keep_in(MemoryOutbox)


def until_block(chain: Chain, number: int) -> None:
    """Wait for the chain to be that long: anvil mines after it answered."""
    deadline = time.monotonic() + 60
    while chain.block().number < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_reorganisation_with_other_transactions(town: Town) -> None:
    other = Account(b"\x55" * 32)
    town.chain.send(developer(), other.address, value=10**18)
    town.act(1, 2, 3)
    town.check()
    assert town.digests() == [1, 2, 3]
    data = town.market.registry.encode("register", b"\x09" * 32, bytes(32))
    prepared = town.chain.prepare(other, town.deployment.registry, data, nonce=0, gas=100_000)
    before = town.chain.block()
    # The newest four blocks, all about 2 and 3, give way to four others, the second with another registration.
    town.chain.request("anvil_reorg", 4, [["0x" + prepared.raw.hex(), 1]])
    forget_what_was_sent(town.chain)
    until_block(town.chain, before.number)
    assert town.chain.block().hash != before.hash
    town.check()
    town.act(4)
    town.check()
    assert town.digests() == [1, 9, 4]


@pytest.mark.parametrize("blocks", [2, 90])
def test_a_revert_and_another_history(town: Town, blocks: int) -> None:
    """Reverting makes the chain shorter; `blocks` is more than the tail that is read block by block, or less."""
    town.act(1)
    snapshot: Any = town.chain.request("evm_snapshot")
    town.act(2)
    town.chain.request("anvil_mine", hex(blocks))
    town.act(3)
    town.check()
    assert town.digests() == [1, 2, 3]
    assert town.chain.request("evm_revert", snapshot) is True
    forget_what_was_sent(town.chain)
    town.check()
    assert town.digests() == [1]
    town.act(4)
    town.chain.request("anvil_mine", hex(blocks))
    town.act(5)
    town.check()
    assert town.digests() == [1, 4, 5]


def test_a_revert_below_the_contracts_empties_the_index(tmp_path: Path) -> None:
    with running_anvil(tmp_path / "anvil") as node, Chain.http(node.url) as chain:
        snapshot = chain.request("evm_snapshot")
        town = Town(chain)
        town.act(1)
        town.check()
        chain.request("evm_revert", snapshot)
        assert town.index.follow() == (town.deployment.first_block - 1, b"")
        assert town.digests() == []
        for engine in (town.engine, *town.engines):
            engine.dispose()
