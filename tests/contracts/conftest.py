"""A chain with every contract deployed once per session; each test works on its own copy in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import EmbeddedChain, developer
from consent.contracts import load
from tests.contracts.world import OTHER_OWNER, OWNER, RELAYER, RUNNER, STRANGER, TRAINER, World, attach


@pytest.fixture(scope="session")
def deployed() -> Iterator[World]:
    with EmbeddedChain(None) as embedded:
        chain, dev = Chain.embedded(embedded), developer()

        def make(name: str, *args: Any) -> Contract:
            artifact = load(name)
            return create(chain, dev, artifact.abi, artifact.bytecode, *args)[0]

        for who in (OWNER, OTHER_OWNER, TRAINER, RUNNER, STRANGER, RELAYER):
            chain.send(dev, who.address, value=10**18, gas=21_000)
        token, money = make("ConsentToken"), make("TestToken")
        escrow = make("JobEscrow", money.address, 1, token.address)
        yield World(embedded, chain, make("DataRegistry"), token, money, escrow)


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.embedded.duplicate() as embedded:
        yield attach(embedded, deployed)
