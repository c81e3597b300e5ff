"""Every error is a problem document, protected as every answer is, and the log says nothing that is anybody's."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from allod.server import app, problems, sessions
from allod.server.forms import Form
from allod.server.guard import Anyone
from allod.server.logs import JsonLines, logging_to, redact
from allod.world import World
from core import errors
from core.errors import AllodError, Busy, Conflict, Unavailable
from tests.server.people import Person, development_world

router = APIRouter(prefix="/v1")
SECRET = "CANARY-7319-secret"


class Note(Form):
    count: int
    text: str = ""


@router.post("/notes/{number}")
def note(caller: Anyone, number: int, given: Note) -> str:
    return "ok"


@router.get("/breaks")
def breaks(caller: Anyone) -> str:
    raise ValueError(SECRET)


@router.get("/conflicts")
def conflicts(caller: Anyone) -> str:
    raise Conflict("There is a newer head.", hint="Read it first.", head="bafy", missing=["a"], status=1, type="x")


@router.get("/database")
def database(caller: Anyone) -> str:
    raise OperationalError("SELECT " + SECRET, {}, Exception("database is locked"))


@router.get("/chain")
def chain(caller: Anyone) -> str:
    raise Unavailable("The chain's RPC endpoint at node.internal:8545 does not answer.", hint="Check ALLOD_CHAIN.")


@router.get("/busy")
def busy(caller: Anyone) -> str:
    raise Busy("The block store is held by process 4711.", hint="Wait for it.")


@router.get("/teapot")
def teapot(caller: Anyone) -> PlainTextResponse:
    return PlainTextResponse("I am a teapot", 418)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all: what is tested here changes none."""
    with development_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ROUTERS", [sessions.router, router])


@pytest.fixture
def http(anonymous: TestClient) -> TestClient:
    return anonymous


def problem(answer: Any, status: int, slug: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "hint", "instance", "trace_id"} <= found.keys()
    assert found["type"] == f"urn:allod:problem:{slug}"
    assert found["status"] == status
    assert found["trace_id"] == answer.headers["x-trace-id"]
    assert re.fullmatch("[0-9a-f]{32}", found["trace_id"])
    problems.Problem.model_validate(found)
    return found


def test_every_kind_of_error_is_a_problem(http: TestClient) -> None:
    problem(http.get("/v1/nothing"), 404, "not-found")
    problem(http.get("/v1"), 404, "not-found")
    problem(http.post("/nothing"), 404, "not-found")
    gone = http.put("/v1/breaks")
    problem(gone, 405, "wrong-method")
    assert gone.headers["allow"] == "GET"
    problem(http.get("/v1/breaks"), 500, "error")
    problem(http.get("/v1/database"), 503, "unavailable")
    problem(http.get("/v1/teapot"), 418, "invalid-input")
    problem(http.get("/v1/sessions/current"), 401, "sign-in-needed")
    problem(http.post("/v1/notes/1", content=b"x" * (129 << 10)), 413, "too-large")
    problem(http.post("/v1/notes/1", content=iter([b"x" * 70_000] * 3)), 413, "too-large")
    problem(http.get("/v1/breaks", headers={"x-large": "x" * 20_000}), 431, "head-too-large")
    problem(http.get("/v1/breaks", headers={"host": "evil.example"}), 421, "wrong-host")


def test_facts_for_programs_stand_beside_and_never_over_the_members(http: TestClient) -> None:
    found = problem(http.get("/v1/conflicts"), 409, "conflict")
    assert found["head"] == "bafy"
    assert found["missing"] == ["a"]
    assert found["detail"] == "There is a newer head."
    assert found["hint"] == "Read it first."


def test_each_flaw_is_named_without_what_was_sent(http: TestClient) -> None:
    answer = http.post("/v1/notes/x", json={"count": SECRET, SECRET: SECRET})
    found = problem(answer, 422, "invalid-input")
    assert {flaw["at"] for flaw in found["errors"]} == {"path.number", "body.count", "body"}
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'{"count":1e999}', b'{"count":' + b"9" * 5000 + b"}"]
)
def test_a_body_that_is_no_document_is_told_so(http: TestClient, body: bytes) -> None:
    answer = http.post("/v1/notes/1", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500
    problem(answer, answer.status_code, "invalid-input")


def test_every_slug_has_a_title() -> None:
    kinds = [AllodError]
    for kind in kinds:
        kinds += [one for one in kind.__subclasses__() if one not in kinds]
    assert {kind.slug for kind in kinds} <= problems.TITLES.keys()
    assert errors.NotFound.slug in problems.TITLES


def test_every_answer_protects_a_browser(http: TestClient) -> None:
    for path in ("/v1/nothing", "/v1/breaks", "/v1/teapot", "/v1/openapi.json"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" not in headers  # on http://127.0.0.1
        assert "access-control-allow-origin" not in headers


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logging_to(stream):
        yield stream


def test_a_request_is_one_line_that_names_nobody(ada: Person, log: io.StringIO) -> None:
    token = ada.http.cookies["allod"]
    answer = ada.http.post(f"/v1/notes/7319?word={SECRET}", json={"count": 1, "text": SECRET})
    assert answer.status_code == 200
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 1
    line = lines[0]
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/notes/{number}", 200)
    assert line["trace_id"] == answer.headers["x-trace-id"]
    assert set(line) == {"at", "level", "logger", "event", "method", "route", "status", "ms", "trace_id"}
    for word in (SECRET, "7319", token, ada.address, ada.address[2:], "testclient", "127.0.0.1"):
        assert word not in log.getvalue()


def test_an_error_is_told_by_its_kind_and_place(http: TestClient, log: io.StringIO) -> None:
    answer = http.get("/v1/breaks")
    assert SECRET not in answer.text
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["a request failed", "request"]
    assert lines[0]["error"] == "ValueError"
    assert any("breaks" in place for place in lines[0]["where"])
    assert lines[0]["trace_id"] == lines[1]["trace_id"] == answer.json()["trace_id"]
    assert SECRET not in log.getvalue()


def test_where_the_parts_of_the_server_are_is_for_its_operator_alone(http: TestClient, log: io.StringIO) -> None:
    answer = http.get("/v1/chain")
    found = problem(answer, 503, "unavailable")
    assert (found["retry_after"], answer.headers["retry-after"]) == (10, "10")
    assert "internal" not in answer.text
    assert "ALLOD" not in answer.text
    assert "4711" not in http.get("/v1/busy").text
    line = json.loads(log.getvalue().splitlines()[0])
    assert "node.internal" in line["why"]
    assert line["trace_id"] == found["trace_id"]


def test_a_path_that_is_no_route_is_not_written_down(http: TestClient, log: io.StringIO) -> None:
    http.get(f"/v1/{SECRET}")
    http.get(f"/{SECRET}", headers={"accept": "text/html"})
    http.request(SECRET.replace("-", ""), "/v1/breaks")
    assert SECRET not in log.getvalue()
    assert SECRET.replace("-", "") not in log.getvalue()


@pytest.mark.parametrize(
    ("said", "hidden"),
    [
        ("GET http://x/v1?word=plain HTTP/1.1", "plain"),
        ("cookie: allod=plain", "plain"),
        ("Set-Cookie: allod=plain; Path=/", "plain"),
        ("authorization=plain", "plain"),
        ("sent by 0x" + "ab" * 20, "abab"),
        ("from 203.0.113.9:5512", "203.0"),
        ("from 2001:db8:0:1::7", "2001"),
        ("token aZ09_-" + "b" * 30, "bbbb"),
    ],
)
def test_what_others_log_is_redacted(said: str, hidden: str) -> None:
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "x", 1, "%s", (said,), None)
    assert hidden in said
    assert hidden not in JsonLines().format(record)
    assert redact("Waiting for connections to close.") == "Waiting for connections to close."
