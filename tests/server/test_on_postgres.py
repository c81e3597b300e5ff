"""The server's own tables on PostgreSQL: sessions, kept answers, and a log whose ids are seen in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from allod.server import activity
from allod.server.app import create_app
from allod.world import World
from core.database import transaction
from core.ids import Address
from tests.real import running_postgres
from tests.server.at_most import WAYS, no_more_than
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of, development_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("postgres")
    with running_postgres() as url, development_world(folder, database_url=url) as world:
        yield world


def test_sessions_and_the_log(world: World) -> None:
    app = create_app(world, origins=(ORIGIN,), bounds=TEST_BOUNDS)
    with TestClient(app, base_url=ORIGIN) as client:
        ada = Person("ada", account_of("ada"), client)
        ada.sign_in()
        assert ada.http.get("/v1/activity").json()["data"][0]["kind"] == "session.started"
        assert ada.http.get("/readyz").json()["ready"] is True
        assert ada.http.delete("/v1/sessions/current").status_code == 204
        assert ada.http.get("/v1/sessions/current").status_code == 401
    app.state.place.close()


def test_a_stream_steps_over_no_entry_that_is_committed_late(world: World) -> None:
    """An entry with a smaller id never appears behind one with a larger, whoever commits first."""
    who = Address(b"o" * 20)
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        with transaction(world.engine) as session:
            activity.record(session, who, "first", {})
            session.flush()
            begun.set()
            assert go_on.wait(60)

    def quickly() -> None:
        with transaction(world.engine) as session:
            activity.record(session, who, "second", {})

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(slowly)
        assert begun.wait(60)
        two = pool.submit(quickly)
        assert not two.done()
        with transaction(world.engine) as session:
            assert activity.since(session, who, after=0, at_most=10) == []
        go_on.set()
        one.result(60)
        two.result(60)
    with transaction(world.engine) as session:
        found = activity.since(session, who, after=0, at_most=10)
    assert [entry.kind for entry in found] == ["first", "second"]
    assert found[0].id < found[1].id


@pytest.mark.parametrize(("add", "most"), WAYS)
def test_the_last_one_of_a_bound_is_had_once(
    world: World, add: Callable[[Session], None], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_more_than(world.engine, add, most, monkeypatch)
