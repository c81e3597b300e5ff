"""Whether the server is ready, part by part, and what an operator can count."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from allod import depot
from allod.server import metrics, readiness
from allod.server.readiness import CHECKS, Readiness
from allod.world import World
from core.errors import Unavailable
from tests.server.people import Person


def flaws(world: World) -> dict[str, str]:
    looking = Readiness(world, patience=60)
    try:
        return {part: flaw for part, flaw in looking.look().items() if flaw}
    finally:
        looking.close()


def test_a_whole_world_is_ready(anonymous: TestClient) -> None:
    answer = anonymous.get("/readyz")
    assert answer.status_code == 200, answer.text
    assert answer.json()["ready"] is True
    assert answer.json()["parts"].keys() == CHECKS.keys()
    assert anonymous.get("/livez").text == "ok\n"


def test_a_server_that_stops_is_alive_and_not_ready(anonymous: TestClient) -> None:
    anonymous.app.state.place.stopping.set()  # type: ignore[attr-defined]
    answer = anonymous.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["server"]["ready"] is False
    assert anonymous.get("/livez").status_code == 200


def test_each_part_that_does_not_work_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flaws(world) == {}
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'other'"))
    assert flaws(world).keys() == {"migrations"}
    with world.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    assert flaws(world).keys() == {"migrations"}
    monkeypatch.setattr(depot.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    assert flaws(world)["disk"] == "There is no room for uploads."


def test_a_chain_that_is_away_or_old_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise Unavailable("http://secret.example does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.chain), "block", away)
        assert flaws(world)["chain"] == "It does not work (unavailable)."
    with monkeypatch.context() as patch:
        patch.setattr(type(world.chain), "is_development", False)
        patch.setattr(type(world.chain), "block", lambda *_: SimpleNamespace(timestamp=0))
        assert "s old" in flaws(world)["chain"]
    with monkeypatch.context() as patch:
        patch.setattr(type(world.chain), "check_chain_id", lambda _: 1)
        assert "another chain" in flaws(world)["chain"]


def test_keepers_are_needed_up_to_their_threshold(world: World) -> None:
    def silent(path: str, body: bytes) -> bytes:
        raise Unavailable("away")

    world.ports[1] = SimpleNamespace(call=silent)  # type: ignore[assignment]
    assert flaws(world) == {}
    world.ports[2] = SimpleNamespace(call=silent)  # type: ignore[assignment]
    assert flaws(world) == {"keepers": "1 of 3 answer; 2 are needed."}


def test_a_part_that_hangs_is_told_in_time_and_asked_once(world: World) -> None:
    go_on, asked = threading.Event(), []

    def hangs(world: World) -> str:
        asked.append(1)
        go_on.wait(60)
        return ""

    checks = {"chain": hangs, "disk": lambda world: ""}
    looking = Readiness(world, patience=0.05, good_for=0, checks=checks)

    def until(wanted: dict[str, str]) -> None:
        for _ in range(1200):
            if looking.look() == wanted:
                return
        raise AssertionError

    until({"chain": readiness.SILENT, "disk": ""})
    until({"chain": readiness.SILENT, "disk": ""})
    assert asked == [1]
    go_on.set()
    until({"chain": "", "disk": ""})
    looking.close()


def test_a_database_that_is_gone_is_not_ready(world: World) -> None:
    world.engine.dispose()
    for file in world.home.glob("allod.db*"):
        file.write_bytes(b"no database" * 1000)
    assert {"database", "migrations"} <= flaws(world).keys()


def test_numbers_are_counted_and_answered_on_a_port_of_their_own(ada: Person) -> None:
    ada.http.get("/v1/sessions/current")
    ada.http.get("/v1/nothing/of-ours")
    assert ada.http.get("/metrics").status_code == 404
    with metrics.serving(ada.http.app.state.metrics, 0) as url:  # type: ignore[attr-defined]
        assert url.startswith("http://127.0.0.1:")
        said = urllib.request.urlopen(url, timeout=60).read().decode()
    assert 'allod_requests_total{method="GET",route="/v1/sessions/current",status="200"} 1.0' in said
    assert 'route="(none)",status="404"' in said
    assert "of-ours" not in said
    assert ada.address not in said
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=60)
