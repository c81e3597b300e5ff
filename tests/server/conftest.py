"""A development world in a folder of its own, the server over it in this process, and people who are signed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from allod.server.app import create_app
from allod.server.bounds import Bounds
from allod.world import World
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.embedded import EmbeddedChain
from consent.chain.wallet import personal_digest
from core.encoding import to_hex
from core.limits import Rate
from core.settings import Settings

ORIGIN = "http://127.0.0.1:8600"
PLENTY = Rate(10_000, 100_000)
TEST_BOUNDS = Bounds(client=PLENTY, sign_in=PLENTY, account=PLENTY, stream_life=0)
"""No test is turned away for its speed, and a stream ends once it has said what there is."""


@dataclass
class Person:
    """Somebody with a key and a browser; `http` is signed in once `sign_in` was called."""

    name: str
    account: Account
    http: TestClient

    @property
    def address(self) -> str:
        """The account as the API writes it."""
        return to_hex(self.account.address)

    def sign_in(self, **changes: Any) -> dict[str, Any]:
        """Sign in, and carry the CSRF token and our origin from now on."""
        nonce = self.http.post("/v1/nonces").json()["nonce"]
        said = sign_in_message(self.account, nonce, **changes)
        answer = self.http.post("/v1/sessions", json=said)
        assert answer.status_code == 201, answer.text
        self.http.headers.update({"X-CSRF-Token": answer.json()["csrf_token"], "Origin": ORIGIN})
        return dict(answer.json())


def sign_in_message(account: Account, nonce: str, **changes: Any) -> dict[str, str]:
    """The body of a sign-in, with any field of the message changed."""
    fields: dict[str, Any] = {
        "domain": "127.0.0.1:8600",
        "uri": ORIGIN,
        "chain_id": 31337,
        "address": to_hex(account.address),
        "issued": time.time(),
        "ends": time.time() + 300,
        **changes,
    }
    lines = [
        f"{fields['domain']} wants you to sign in with your Ethereum account:",
        fields["address"],
        "",
        "Sign in to Allod.",
        "",
        f"URI: {fields['uri']}",
        "Version: 1",
        f"Chain ID: {fields['chain_id']}",
        f"Nonce: {nonce}",
        f"Issued At: {iso(fields['issued'])}",
    ]
    if fields["ends"] is not None:
        lines.append(f"Expiration Time: {iso(fields['ends'])}")
    message = "\n".join(lines)
    return {"message": message, "signature": to_hex(account.sign_hash(personal_digest(message.encode())))}


def iso(moment: float) -> str:
    """A time as EIP-4361 writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A development world, empty but for its contracts and keepers."""
    with (
        EmbeddedChain(None) as chain,
        World(Settings(home=tmp_path / "home"), chain=Chain.embedded(chain)) as world,
    ):
        world.committee  # noqa: B018 - founded once, here
        world.deployment  # noqa: B018
        yield world


@pytest.fixture
def bounds() -> Bounds:
    """What the server allows; a test file may say otherwise."""
    return TEST_BOUNDS


@pytest.fixture
def anonymous(world: World, bounds: Bounds) -> Iterator[TestClient]:
    """A client that nobody signed in."""
    app = create_app(world, origins=(ORIGIN, "http://localhost:8600"), bounds=bounds)
    with TestClient(app, base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def person(anonymous: TestClient) -> Iterator[Callable[..., Person]]:
    """Makes people of the same server: `person("ada")` is signed in; the same name is the same key."""
    made = []

    def make(name: str, *, signed_in: bool = True) -> Person:
        client = TestClient(anonymous.app, base_url=ORIGIN)
        made.append(client)
        one = Person(name, Account(name.encode().rjust(32, b"\x01")), client)
        if signed_in:
            one.sign_in()
        return one

    yield make
    for client in made:
        client.close()


@pytest.fixture
def ada(person: Callable[..., Person]) -> Person:
    """An owner, signed in."""
    return person("ada")


@pytest.fixture
def tom(person: Callable[..., Person]) -> Person:
    """A trainer, signed in."""
    return person("tom")
