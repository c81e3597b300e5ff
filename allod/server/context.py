"""What a handler may ask for: the home's world, a transaction, and what this server was told about itself.

    def handler(here: Here, db: Db) -> ...

`Db` is one transaction for one request: it commits before the answer leaves, and nothing of it stays where the handler
raises. Tables are reached through it, everything else of the home through `Here`. Dependencies that wait for nothing
are coroutines: they need no thread of the pool, so that /livez answers while all of these wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from allod.server.bounds import Bounds
from allod.server.readiness import Readiness
from allod.server.turns import Turns
from allod.world import World
from core.database import transaction
from core.limits import Buckets


@dataclass
class Place:
    """One server: its world, the origins (scheme://host[:port]) under which browsers reach it, its bounds.

    `own_hosts` are Host headers that it answers to besides: where it listens behind a proxy.
    """

    world: World
    origins: tuple[str, ...]
    bounds: Bounds
    own_hosts: frozenset[str] = frozenset()
    stopping: threading.Event = field(default_factory=threading.Event)
    accounts: Buckets = field(init=False)
    readiness: Readiness = field(init=False)
    commits: Turns = field(init=False)
    publications: Turns = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = Buckets(self.bounds.account)
        self.readiness = Readiness(self.world, patience=self.bounds.parts)
        self.commits, self.publications = Turns("commits"), Turns("publications")

    def close(self) -> None:
        """Let the threads of the readiness checks go."""
        self.readiness.close()

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by https only."""
        return all(origin.startswith("https:") for origin in self.origins)

    @property
    def cookie(self) -> str:
        """The name of the session cookie: Secure cookies do not exist on http://127.0.0.1."""
        return "__Host-allod" if self.is_secure else "allod"

    @property
    def hosts(self) -> set[str]:
        """The Host headers that are ours: those of the origins, and where it listens itself."""
        return {urlsplit(origin).netloc for origin in self.origins} | self.own_hosts


def place_of(request: Request) -> Place:
    """The server that answers this request."""
    place: Place = request.app.state.place
    return place


async def _place(request: Request) -> Place:
    return place_of(request)


InPlace = Annotated[Place, Depends(_place)]


async def _world(place: InPlace) -> World:
    return place.world


def _transaction(place: InPlace) -> Iterator[Session]:
    with transaction(place.world.engine) as session:
        yield session


Here = Annotated[World, Depends(_world)]
Db = Annotated[Session, Depends(_transaction, scope="function")]
