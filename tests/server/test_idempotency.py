"""One key, one effect: asked again, at the same time, with something else, after a failure and after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy import func, select, update

from allod.server import activity, app, sessions
from allod.server.forms import Form
from allod.server.guard import SignedIn
from allod.server.idempotency import Once
from allod.server.records import ActivityRow, AnswerRow
from allod.world import World
from core.database import transaction, utc_now
from core.errors import Refused
from tests.server.people import Person

router = APIRouter(prefix="/v1")
arrived, go_on = threading.Event(), threading.Event()


class Order(Form):
    what: str
    mode: str = ""


class Done(BaseModel):
    number: int


@router.post("/orders", status_code=202)
def order(given: Order, once: Once, account: SignedIn) -> Done:
    """Leave a row; fail, wait or forget as told."""
    if given.mode == "wait":
        arrived.set()
        assert go_on.wait(60)
    activity.record(once.session, account, "ordered", {"what": given.what})
    once.session.flush()
    number = once.session.scalar(select(func.max(ActivityRow.id)))
    if given.mode == "refuse":
        raise Refused("No.", hint="Do not.")
    if given.mode == "break":
        raise ZeroDivisionError
    if given.mode == "forget":
        return Done(number=0)
    return once.keep(Done(number=number or 0))


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ROUTERS", [sessions.router, router])
    arrived.clear()
    go_on.clear()


Ask = Callable[..., Any]


@pytest.fixture
def ask(ada: Person) -> Ask:
    def asking(key: str | None = "key-00001", who: Person = ada, **body: str) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        return who.http.post("/v1/orders", json={"what": "bread", **body}, headers=headers)

    return asking


def orders(world: World) -> int:
    with transaction(world.engine) as session:
        return session.scalar(select(func.count()).where(ActivityRow.kind == "ordered")) or 0


def test_the_same_key_gives_the_same_answer_and_one_effect(ask: Ask, world: World) -> None:
    first, second = ask(), ask()
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert orders(world) == 1


def test_another_key_is_another_effect(ask: Ask, world: World) -> None:
    assert ask("key-00001").json() != ask("key-00002").json()
    assert orders(world) == 2


def test_the_same_key_with_something_else_is_refused(ask: Ask, world: World) -> None:
    assert ask(what="bread").status_code == 202
    assert ask(what="wine").status_code == 422
    assert orders(world) == 1


def test_a_key_is_its_accounts_own(ask: Ask, tom: Person, world: World) -> None:
    assert ask().json() != ask(who=tom).json()
    assert orders(world) == 2


@pytest.mark.parametrize("key", [None, "short", "x" * 129, "with space", "nul\0nul\0"])
def test_without_a_key_nothing_is_done(ask: Ask, world: World, key: str | None) -> None:
    answer = ask(key)
    assert answer.status_code == 422
    assert "dempotency" in answer.text
    assert orders(world) == 0


def test_a_refusal_changes_nothing_and_frees_the_key(ask: Ask, world: World) -> None:
    assert ask(mode="refuse").status_code == 403
    assert orders(world) == 0
    assert ask().status_code == 202


def test_a_request_that_is_not_of_its_form_frees_the_key(ask: Ask, world: World) -> None:
    assert ask(unknown="x").status_code == 422
    assert ask().status_code == 202
    assert orders(world) == 1


@pytest.mark.parametrize("mode", ["break", "forget"])
def test_a_failure_of_ours_changes_nothing_and_frees_the_key(ask: Ask, world: World, mode: str) -> None:
    assert ask(mode=mode).status_code == 500
    assert orders(world) == 0
    assert ask().status_code == 202


def test_while_the_first_is_at_work_the_second_is_told_to_wait(ask: Ask, world: World) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, mode="wait")
        assert arrived.wait(60)
        meanwhile = ask(mode="wait")
        go_on.set()
        done = first.result(60)
    assert meanwhile.status_code == 409
    assert meanwhile.headers["retry-after"] == "2"
    assert done.status_code == 202
    assert ask(mode="wait").content == done.content
    assert orders(world) == 1


def test_of_many_at_once_one_does_it(ask: Ask, world: World) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(60) for future in [pool.submit(ask) for _ in range(16)]]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.content for answer in answers if answer.status_code == 202}) == 1
    assert orders(world) == 1


def crashed(world: World, ago: timedelta) -> None:
    """As a server leaves it that died between the claim and the answer."""
    with transaction(world.engine) as session:
        session.execute(update(AnswerRow).values(status=None, body=None, since=utc_now() - ago))


def test_after_a_crash_the_key_is_free_once_nobody_can_be_at_work(ask: Ask, world: World) -> None:
    assert ask().status_code == 202
    crashed(world, timedelta(minutes=4))
    assert ask().status_code == 409
    crashed(world, timedelta(minutes=6))
    assert ask(what="wine").status_code == 422  # still this request's key
    assert ask().status_code == 202


def test_whoever_lost_the_key_meanwhile_does_nothing(ask: Ask, world: World) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(ask, mode="wait")
        assert arrived.wait(60)
        with transaction(world.engine) as session:
            session.execute(update(AnswerRow).values(claim=b"another request."))
        go_on.set()
        assert slow.result(60).status_code == 409
    assert orders(world) == 0


def test_an_answer_is_kept_for_a_day(ask: Ask, world: World) -> None:
    first = ask()
    with transaction(world.engine) as session:
        session.execute(update(AnswerRow).values(since=utc_now() - timedelta(hours=23)))
    assert ask().content == first.content
    with transaction(world.engine) as session:
        session.execute(update(AnswerRow).values(since=utc_now() - timedelta(hours=25)))
    assert ask().content != first.content
