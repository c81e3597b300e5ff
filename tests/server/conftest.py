"""A development world in a folder of its own, the server over it in this process, and people who are signed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from allod import effects, operations, relaying
from allod.server.app import create_app
from allod.server.bounds import Bounds
from allod.world import World
from consent.chain.account import Account
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of, browser, development_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A development world, empty but for its contracts and keepers."""
    with development_world(tmp_path) as world:
        yield world


@pytest.fixture
def bounds() -> Bounds:
    """What the server allows; a test file may say otherwise."""
    return TEST_BOUNDS


@pytest.fixture
def anonymous(world: World, bounds: Bounds, tmp_path: Path) -> Iterator[TestClient]:
    """A client that nobody signed in."""
    origins = (ORIGIN, "http://localhost:8600")
    app = create_app(world, origins=origins, bounds=bounds, static=tmp_path / "static")
    with TestClient(app, base_url=ORIGIN) as client:
        yield client
    app.state.place.close()


@pytest.fixture
def person(anonymous: TestClient) -> Iterator[Callable[..., Person]]:
    """Makes people of the same server: `person("ada")` is signed in; the same name is the same key."""
    with ExitStack() as stack:

        def make(name: str, *, signed_in: bool = True, account: Account | None = None) -> Person:
            one = Person(name, account or account_of(name), stack.enter_context(closing(browser(anonymous))))
            if signed_in:
                one.sign_in()
            return one

        yield make


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Stops the clock of operations, and lets seconds pass on it."""
    at = [operations.now()]
    for module in (operations, relaying, effects):
        monkeypatch.setattr(module, "now", lambda: at[0])

    def wait(seconds: int) -> None:
        at[0] += seconds

    return wait


@pytest.fixture
def ada(person: Callable[..., Person]) -> Person:
    """An owner, signed in."""
    return person("ada")


@pytest.fixture
def tom(person: Callable[..., Person]) -> Person:
    """A trainer, signed in."""
    return person("tom")
