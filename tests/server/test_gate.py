"""A client is bounded in rate, size and time, and told when to come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import APIRouter, Request
from starlette.testclient import TestClient
from starlette.types import Message

from allod.server import app, sessions
from allod.server.app import create_app
from allod.server.bounds import Bounds
from allod.server.gate import Gate
from allod.server.guard import Anyone
from allod.world import World
from core.limits import Rate
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of, browser, development_world

router = APIRouter(prefix="/v1")
NEVER_AGAIN = Rate(1 / 3600, 5)
go_on = threading.Event()


@router.get("/waits")
def waits(caller: Anyone) -> str:
    assert go_on.wait(60)
    return "late"


@router.post("/large", max_body_size=1 << 20)
async def large(caller: Anyone, request: Request) -> int:
    return len(await request.body())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: what is tested here changes none."""
    with development_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(app, "ROUTERS", [sessions.router, router])
    go_on.clear()
    yield
    go_on.set()


def served(world: World, **bounds: Any) -> TestClient:
    return TestClient(create_app(world, origins=(ORIGIN,), bounds=replace(TEST_BOUNDS, **bounds)), base_url=ORIGIN)


def test_a_client_beyond_its_rate_is_told_when_to_come_back(world: World) -> None:
    with served(world, client=NEVER_AGAIN) as http:
        answers = [http.get("/v1/sessions/current") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert answers[-1].json()["type"] == "urn:allod:problem:too-often"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3600


def test_signing_in_has_a_rate_of_its_own(world: World) -> None:
    with served(world, sign_in=NEVER_AGAIN) as http:
        assert [http.post("/v1/nonces").status_code for _ in range(6)] == [201] * 5 + [429]
        assert http.get("/v1/sessions/current").status_code == 401


def test_an_account_has_a_rate_in_all_its_browsers(world: World) -> None:
    with served(world, account=NEVER_AGAIN) as http:
        one, other = (Person("ada", account_of("ada"), browser(http)) for _ in range(2))
        tom = Person("tom", account_of("tom"), browser(http))
        for person in (one, other, tom):
            person.sign_in()
        found = [who.http.get("/v1/sessions/current").status_code for who in (one, other) * 3]
        assert found == [200] * 5 + [429]
        assert tom.http.get("/v1/sessions/current").status_code == 200


def test_a_route_may_take_larger_bodies(world: World) -> None:
    with served(world) as http:
        assert http.post("/v1/large", content=b"x" * (1 << 20)).json() == 1 << 20
        assert http.post("/v1/large", content=b"x" * ((1 << 20) + 1)).status_code == 413
        assert http.post("/v1/large", content=iter([b"x" * 70_000] * 16)).status_code == 413


def test_an_answer_that_takes_too_long_is_given_up(world: World) -> None:
    with served(world, body=0, answer=0.1) as http:
        answer = http.get("/v1/waits")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        go_on.set()


def test_hosts_that_are_not_ours_get_nothing(world: World) -> None:
    with served(world) as http:
        for host in ("evil.example", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:8600.evil.example", ""):
            assert http.get("/v1/sessions/current", headers={"host": host}).status_code == 421


def gated(world: World, bounds: Bounds, inner: Any) -> Gate:
    place = create_app(world, origins=(ORIGIN,), bounds=bounds).state.place
    return Gate(inner, place)


SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/v1/large",
    "headers": [(b"host", b"127.0.0.1:8600"), (b"content-length", b"1")],
    "query_string": b"",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 8600),
    "scheme": "http",
    "root_path": "",
    "allod.trace_id": "0" * 32,
}


def test_a_body_that_does_not_arrive_ends_the_request(world: World) -> None:
    from starlette.exceptions import HTTPException

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def nowhere(message: Message) -> None:
        raise AssertionError

    gate = gated(world, replace(TEST_BOUNDS, body=0.05), inner)
    with pytest.raises(HTTPException) as refused:
        asyncio.run(gate(dict(SCOPE), never, nowhere))
    assert refused.value.status_code == 408


def test_a_client_that_takes_nothing_is_left_alone(world: World) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 1000})

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def stuck(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    gate = gated(world, replace(TEST_BOUNDS, write=0.05), inner)
    with pytest.raises(TimeoutError):
        asyncio.run(gate(dict(SCOPE), nothing, stuck))
