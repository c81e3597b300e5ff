"""A chain with every contract deployed once per session; each test works on its own copy in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consent.chain.embedded import EmbeddedChain
from tests.contracts.world import World, attach, build_world


@pytest.fixture(scope="session")
def deployed() -> Iterator[World]:
    with EmbeddedChain(None) as embedded:
        yield build_world(embedded)


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.embedded.duplicate() as embedded:
        yield attach(embedded, deployed)
