"""A home with owners and a payer, left alone and copied for each test, and its server over the copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allod.world import World
from consent.chain.client import Chain
from consent.chain.embedded import EmbeddedChain
from core.settings import Settings
from tests.server.ordering import Town, tiny
from tests.server.people import Person
from tests.worker.homes import Home, make_home
from tests.worker.outside import Prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Home]:
    """A home in which ada granted and dario did not, left alone and copied."""
    folder, chain = tmp_path_factory.mktemp("home") / "home", EmbeddedChain(None)
    with World(Settings(home=folder), chain=Chain.embedded(chain)) as world:
        home = make_home(world, tiny(tmp_path_factory.mktemp("tiny")))
    return Prepared(folder, chain), home


@pytest.fixture
def world(prepared: tuple[Prepared, Home], tmp_path: Path) -> Iterator[World]:
    """The server's world over a copy of the home, with its `outside`."""
    with prepared[0].copy(tmp_path / "town") as outside, outside.world() as world:
        world.outside = outside  # type: ignore[attr-defined]
        yield world


@pytest.fixture
def town(world: World, prepared: tuple[Prepared, Home], person: Callable[..., Person]) -> Town:
    return Town(world.outside, prepared[1], world, person)  # type: ignore[attr-defined]
