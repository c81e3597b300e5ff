"""Every route answers each of {anonymous, owner, other owner, trainer, other trainer} as the committed table says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI

from allod.server import guard
from allod.server.openapi import bare_app
from tests.server.stage import CALLS, CAST, Row, Stage, fits, rows, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def routes() -> set[str]:
    return {f"{method} {path}" for method, path, _ in guard.guarded_routes(bare_app())}


def test_the_table_names_every_route_and_no_other() -> None:
    assert {row.route for row in rows()} == routes()


def test_every_registered_call_is_of_a_route(stage: Stage) -> None:
    assert set(CALLS) <= routes()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.route)
def test_each_of_the_cast_is_answered_as_the_table_says(row: Row, stage: Stage) -> None:
    got = {who: stage.ask(row.route, stage.people[who]) for who in CAST}
    wrong = {
        who: f"{one.status_code} instead of {row.expected[who]}: {one.text[:300]}"
        for who, one in got.items()
        if not fits(one.status_code, row.expected[who])
    }
    assert not wrong


def test_only_routes_that_ask_for_a_session_turn_the_anonymous_away() -> None:
    """A route that asks for a session says 401 to the anonymous, and only such a route does."""
    asks = {f"{method} {path}": who for method, path, who in guard.guarded_routes(bare_app())}
    for row in rows():
        assert (row.expected["anonymous"] == "401") is (asks[row.route] == "signed in"), row.route


def test_a_route_that_does_not_say_who_may_call_it_stops_the_server() -> None:
    app, router = FastAPI(), APIRouter(prefix="/v1")

    @router.get("/open")
    def forgotten() -> str:
        return "hello"

    app.include_router(router)
    with pytest.raises(RuntimeError, match="GET /v1/open"):
        guard.require_guards(app)
