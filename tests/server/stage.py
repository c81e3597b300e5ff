"""The cast of the access table: an owner, another owner, a trainer, another trainer, and nobody, at one server.

How a route is called stands in `tests/server/calls/*.py`, one function for each that needs more than its path:

    @call("POST /v1/requests/{id}/denial")
    def deny(stage: Stage, who: Person) -> Response:
        number = stage.once("request", make_request)       # what the owner and the trainer of the play have made
        return who.http.post(f"/v1/requests/{number}/denial", json={"reason": "no"})

Whoever calls first changes what the next one meets: make a thing of its own for each caller where that matters.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from allod.server.app import create_app
from allod.world import World
from consent.chain.account import Account
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of, browser, development_world

CAST = ("anonymous", "owner", "other_owner", "trainer", "other_trainer")
Call = Callable[["Stage", Person], Response]
CALLS: dict[str, Call] = {}


def call(route: str) -> Callable[[Call], Call]:
    """Register how "METHOD /path" is called."""

    def register(how: Call) -> Call:
        assert route not in CALLS, f"{route} is called in two ways"
        CALLS[route] = how
        return how

    return register


@dataclass
class Stage:
    """One server and its cast; `once` makes what several calls need."""

    world: World
    people: dict[str, Person]
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> Person:
        """Whose vault, datasets, consents and requests are asked for."""
        return self.people["owner"]

    @property
    def trainer(self) -> Person:
        """Who asked that owner, and whose jobs are asked for."""
        return self.people["trainer"]

    def once(self, name: str, make: Callable[[Stage], Any]) -> Any:
        """What `make` gives, made at the first call."""
        if name not in self.made:
            self.made[name] = make(self)
        return self.made[name]

    def ask(self, route: str, who: Person) -> Response:
        """Call a route as it is registered, else by its bare path."""
        method, path = route.split(" ")
        how = CALLS.get(route)
        return how(self, who) if how else who.http.request(method, path)


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A server with its cast."""
    for module in sorted((Path(__file__).parent / "calls").glob("*.py")):
        import_module(f"tests.server.calls.{module.stem}")
    with ExitStack() as stack:
        world = stack.enter_context(development_world(folder))
        app = create_app(world, origins=(ORIGIN,), bounds=TEST_BOUNDS)
        stack.callback(app.state.place.close)
        nobody = stack.enter_context(TestClient(app, base_url=ORIGIN))
        people = {"anonymous": Person("anonymous", account_of("anonymous"), nobody)}
        for name in CAST[1:]:
            people[name] = Person(name, account_of(name), stack.enter_context(closing(browser(nobody))))
            people[name].sign_in()
        yield Stage(world, people)


@dataclass(frozen=True)
class Row:
    """What each of the cast gets from one route: a status, or a class of them as 2xx."""

    route: str
    expected: dict[str, str]


def rows() -> list[Row]:
    """The committed table."""
    with (Path(__file__).with_name("access.csv")).open(newline="") as file:
        return [Row(f"{row['method']} {row['path']}", {who: row[who] for who in CAST}) for row in csv.DictReader(file)]


def fits(status: int, expected: str) -> bool:
    """Whether a status is the expected one, or of the expected class."""
    return re.fullmatch(expected.replace("x", "[0-9]"), str(status)) is not None


__all__ = ["CALLS", "CAST", "Account", "Row", "Stage", "call", "fits", "rows", "staged"]
