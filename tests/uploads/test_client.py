"""The client of programs and a server that is busy: what it may send again it sends again, when the server says so."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from allod.client import Client
from consent.chain.account import Account
from core.errors import AllodError, Conflict, Unavailable
from vault.cid import RAW, Cid

HEAD = Cid.of(RAW, b"a head")
CALLS: dict[str, Callable[[Client], object]] = {
    "missing": lambda client: client.missing([HEAD]),
    "send": lambda client: client.send(b"a part"),
    "commit": lambda client: client.commit(HEAD, None, b"\x01" * 64),
}


class Answers:
    """A server that gives these answers in turn, the last one for ever; what it was sent."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.left = list(answers)
        self.sent: list[tuple[str, str, bytes]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append((request.method, request.url.path, request.content))
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]

    def client(self) -> Client:
        """A client of it."""
        http = httpx.Client(base_url="http://home", transport=httpx.MockTransport(self))
        return Client("http://home", Account(b"\x01" * 32), http=http)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client slept each time; it sleeps no moment."""
    found: list[float] = []
    monkeypatch.setattr("allod.client.time.sleep", found.append)
    return found


def problem(status: int, slug: str, **more: object) -> httpx.Response:
    document = {"type": f"urn:allod:problem:{slug}", "title": "No.", "detail": "No.", "status": status, **more}
    return httpx.Response(status, content=json.dumps(document).encode())


@pytest.mark.parametrize("call", CALLS)
def test_each_step_is_sent_again_when_a_busy_server_says_so(waits: list[float], call: str) -> None:
    busy = problem(503, "unavailable", retry_after=3)
    home = Answers(busy, busy, httpx.Response(200, json={"missing": []}))
    CALLS[call](home.client())
    assert waits == [3, 3]
    assert len(home.sent) == 3
    assert len(set(home.sent)) == 1  # the same to the byte


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (problem(503, "unavailable", retry_after=3600), Unavailable),  # longer than anybody waits
        (problem(503, "unavailable"), Unavailable),
        (problem(409, "conflict", head=str(HEAD)), Conflict),
    ],
    ids=["an hour", "no word of when", "a conflict"],
)
def test_what_does_not_pass_by_waiting_is_said_at_once(
    waits: list[float], call: str, answer: httpx.Response, error: type[AllodError]
) -> None:
    home = Answers(answer)
    with pytest.raises(error):
        CALLS[call](home.client())
    assert (waits, len(home.sent)) == ([], 1)
