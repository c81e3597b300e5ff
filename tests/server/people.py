"""People with keys and browsers, and the development world that they meet in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

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
TEST_BOUNDS = Bounds(client=PLENTY, sign_in=PLENTY, account=PLENTY, stream_life=0, parts=60)
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
        answer = self.http.post("/v1/sessions", json=sign_in_message(self.account, nonce, **changes))
        assert answer.status_code == 201, answer.text
        self.http.headers.update({"X-CSRF-Token": answer.json()["csrf_token"], "Origin": ORIGIN})
        return dict(answer.json())


def account_of(name: str) -> Account:
    """The key of a person of this name: the same name, the same key."""
    return Account(name.encode().rjust(32, b"\x01"))


def browser(of: TestClient) -> TestClient:
    """Another client of the same running server, with a cookie jar of its own."""
    client = TestClient(of.app, base_url=ORIGIN)
    client.portal = of.portal  # the same event loop, as one process has one
    return client


@contextmanager
def again(who: Person) -> Iterator[Person]:
    """The same person in another browser; signed in if the first is."""
    with closing(browser(who.http)) as client:
        other = Person(who.name, who.account, client)
        if "x-csrf-token" in who.http.headers:
            other.sign_in()
        yield other


def sign_in_message(account: Account, nonce: str, **changes: Any) -> dict[str, str]:
    """The body of a sign-in, with any field of the message changed."""
    fields: dict[str, Any] = {
        "domain": "127.0.0.1:8600",
        "uri": ORIGIN,
        "chain_id": 31337,
        "address": to_hex(account.address),
        "issued": time.time(),
        "ends": time.time() + 300,
        "begins": None,
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
    if fields["begins"] is not None:
        lines.append(f"Not Before: {iso(fields['begins'])}")
    message = "\n".join(lines)
    return {"message": message, "signature": to_hex(account.sign_hash(personal_digest(message.encode())))}


def iso(moment: float) -> str:
    """A time as EIP-4361 writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


@contextmanager
def development_world(folder: Path, **settings: Any) -> Iterator[World]:
    """A world of its own, empty but for its contracts and keepers."""
    with (
        EmbeddedChain(None) as chain,
        World(Settings(home=folder / "home", **settings), chain=Chain.embedded(chain)) as world,
    ):
        world.committee  # noqa: B018 - founded here, before anybody is asked for it
        world.deployment  # noqa: B018
        yield world
