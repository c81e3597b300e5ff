"""The activity as it grows: replay, ids, heartbeat, the JSON twin, and an end."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from allod.server import activity, streams
from allod.server.app import create_app
from allod.server.problems import TooOften
from allod.world import World
from core import listening
from core.database import transaction
from core.errors import NotFound
from core.ids import Address
from tests.server.people import TEST_BOUNDS, Person, sign_in_message

PATIENT = 60


def happen(world: World, account: bytes, *kinds: str) -> None:
    for kind in kinds:
        with transaction(world.engine) as session:
            activity.record(session, Address(account), kind, {"of": kind})


def events(text: str) -> list[dict[str, Any]]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "id" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def test_the_stream_replays_what_was_missed(ada: Person, tom: Person, world: World) -> None:
    happen(world, ada.account.address, "a", "b")
    happen(world, tom.account.address, "c")
    answer = ada.http.get("/v1/activity/stream", headers={"accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    found = events(answer.text)
    assert [one["event"] for one in found] == ["session.started", "a", "b"]
    assert [int(one["id"]) for one in found] == [one["data"]["id"] for one in found]
    last = found[1]["id"]
    for how in ({"headers": {"last-event-id": last}}, {"params": {"after": last}}):
        headers = {"accept": "text/event-stream", **how.get("headers", {})}
        rest = ada.http.get("/v1/activity/stream", headers=headers, params=how.get("params"))
        assert [one["event"] for one in events(rest.text)] == ["b"]


def test_its_twin_is_json(ada: Person, world: World) -> None:
    happen(world, ada.account.address, *"abc")
    page = ada.http.get("/v1/activity/stream", headers={"accept": "application/json"}).json()
    assert [one["kind"] for one in page["data"]] == ["session.started", "a", "b", "c"]
    assert page["has_more"] is False
    rest = ada.http.get("/v1/activity/stream", params={"after": page["next_after"]}).json()
    assert rest == {"data": [], "has_more": False, "next_after": None}


def test_the_list_is_newest_first_in_pages(ada: Person, tom: Person, world: World) -> None:
    happen(world, ada.account.address, *"abcdefg")
    happen(world, tom.account.address, "z")
    seen, after = [], None
    while True:
        page = ada.http.get("/v1/activity", params={"limit": 3, **({"after": after} if after else {})}).json()
        assert len(page["data"]) <= 3
        seen += [one["kind"] for one in page["data"]]
        after = page["next_after"]
        if not page["has_more"]:
            break
    assert seen == [*"gfedcba", "session.started"]


def test_a_cursor_of_another_list_is_refused(ada: Person) -> None:
    for after in ("x", "-1", "9" * 19, "1.5", "٣"):
        assert ada.http.get("/v1/activity", params={"after": after}).status_code == 422
        assert ada.http.get("/v1/activity/stream", headers={"last-event-id": after.encode()}).status_code == 422


@contextmanager
def running(world: World, **bounds: Any) -> Iterator[tuple[Any, str]]:
    """The server on a socket: streams that stay open need one."""
    bound = listening.listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    limits = replace(TEST_BOUNDS, stream_life=PATIENT, stream_look=0.01, **bounds)
    app = create_app(world, origins=(url,), bounds=limits)
    with listening.serving(app, bound, limits, name="test-server", grace=3, lifespan=True) as url:
        yield app, url
        app.state.place.stopping.set()
    bound.close()
    app.state.place.close()


def sign_in(client: httpx.Client, url: str, person: Person) -> None:
    nonce = client.post("/v1/nonces").json()["nonce"]
    body = sign_in_message(person.account, nonce, domain=url.removeprefix("http://"), uri=url)
    answer = client.post("/v1/sessions", json=body)
    client.headers.update({"x-csrf-token": answer.raise_for_status().json()["csrf_token"], "origin": url})


@contextmanager
def client_at(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=PATIENT, trust_env=False) as client:
        yield client


STREAM = {"accept": "text/event-stream"}


def test_what_happens_comes_at_once_and_a_heartbeat_meanwhile(ada: Person, world: World) -> None:
    with running(world, heartbeat=0.05) as (app, url), client_at(url) as client:
        sign_in(client, url, ada)
        with client.stream("GET", "/v1/activity/stream", headers=STREAM, params={"after": 2}) as answer:
            lines = answer.iter_lines()
            assert any(line == ": ping" for line in lines)
            happen(world, ada.account.address, "a.b")
            assert any(line == "event: a.b" for line in lines)
            assert app.state.streams.total() == 1


def test_the_end_of_the_session_ends_its_streams(ada: Person, world: World) -> None:
    with running(world) as (_, url), client_at(url) as client:
        sign_in(client, url, ada)
        with client.stream("GET", "/v1/activity/stream", headers=STREAM) as answer:
            lines = answer.iter_lines()
            assert any(line.startswith("event: session.started") for line in lines)
            with client_at(url) as other:
                other.cookies, other.headers = client.cookies, client.headers
                assert other.delete("/v1/sessions/current").status_code == 204
            assert list(lines) is not None  # it ends


def test_streams_are_bounded_and_counted_until_their_end(ada: Person, world: World) -> None:
    with running(world, streams_of_one=2) as (app, url), client_at(url) as client:
        sign_in(client, url, ada)
        with (
            client.stream("GET", "/v1/activity/stream", headers=STREAM) as one,
            client.stream("GET", "/v1/activity/stream", headers=STREAM) as two,
        ):
            reading = [one.iter_lines(), two.iter_lines()]  # letting go of one would end its stream
            assert all(next(lines) for lines in reading)
            third = client.get("/v1/activity/stream", headers=STREAM)
            assert third.status_code == 429
            assert third.headers["retry-after"]
            assert client.get("/v1/activity/stream", headers={"accept": "application/json"}).status_code == 200
        pause = threading.Event()
        for _ in range(6000):
            if not app.state.streams:
                break
            pause.wait(0.01)
        assert client.get("/v1/activity/stream", headers={"accept": "application/json"}).status_code == 200
        assert not app.state.streams


def test_streams_count_from_before_their_first_look_and_until_nobody_has_them(world: World) -> None:
    app = create_app(world, origins=("http://127.0.0.1",), bounds=replace(TEST_BOUNDS, streams_of_one=2))
    scope = {"type": "http", "app": app, "headers": [(b"accept", STREAM["accept"].encode())], "client": ("1.2.3.4", 1)}
    inside, go_on = threading.Semaphore(0), threading.Event()

    def read(after: int, at_most: int) -> list[streams.Event]:
        inside.release()
        assert go_on.wait(PATIENT)
        return []

    def follow(read: streams.Read = read) -> Any:
        return streams.follow(Request(scope), read, 0, None)

    def broken(after: int, at_most: int) -> list[streams.Event]:
        raise NotFound("gone")

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(follow) for _ in range(2)]
        try:
            assert all(inside.acquire(timeout=PATIENT) for _ in looking)
            with pytest.raises(TooOften):
                follow(broken)
        finally:
            go_on.set()
        answers = [one.result() for one in looking]
    assert app.state.streams.total() == 2
    looking.clear()
    answers.clear()  # neither was ever sent
    gc.collect()
    assert not app.state.streams
    for _ in range(3):
        with pytest.raises(NotFound):
            follow(broken)
    assert not app.state.streams
    app.state.place.close()


def test_a_server_that_stops_ends_its_streams(ada: Person, world: World) -> None:
    with client_at("http://127.0.0.1") as client:
        with running(world) as (app, url):
            client.base_url = httpx.URL(url)
            sign_in(client, url, ada)
            answer = client.send(client.build_request("GET", "/v1/activity/stream", headers=STREAM), stream=True)
            lines = answer.iter_lines()
            assert any(line.startswith("event: session.started") for line in lines)
            app.state.place.stopping.set()
            assert list(lines) is not None
        answer.close()
