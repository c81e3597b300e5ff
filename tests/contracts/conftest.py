"""A chain of each make with every contract deployed once per session; each test begins where that stands.

On the embedded chain a test works on a copy in memory; anvil is put back after each test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consent.chain.embedded import EmbeddedChain
from consent.chain.jsonrpc import HttpProvider
from consent.chain.outbox import MemoryOutbox
from tests.contracts.world import AnvilChain, World, attach, build_world, deploy_world
from tests.real import running_anvil


@pytest.fixture(scope="session")
def deployed() -> Iterator[World]:
    with EmbeddedChain(None) as embedded:
        yield build_world(embedded)


@pytest.fixture(scope="session")
def deployed_on_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("anvil")
    with running_anvil(folder) as node, AnvilChain(HttpProvider(node.url, timeout=60)) as chain:
        yield deploy_world(chain)


@pytest.fixture
def embedded_world(deployed: World) -> Iterator[World]:
    assert deployed.embedded is not None
    with deployed.embedded.duplicate() as embedded:
        yield attach(embedded, deployed)


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=pytest.mark.needs_nodes)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "embedded":
        yield request.getfixturevalue("embedded_world")
        return
    world: World = request.getfixturevalue("deployed_on_anvil")
    here = world.chain.request("evm_snapshot")
    world.gas.clear()
    world.chain.sending.keep_in(MemoryOutbox)  # else what is put back would be sent again
    yield world
    assert world.chain.request("evm_revert", here)
