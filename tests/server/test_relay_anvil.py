"""The relay on a chain that makes blocks by itself, calls them safe later, and takes some of them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from allod import relaying
from allod.server.app import create_app
from allod.world import World
from consent.chain.client import Chain
from consent.chain.deployment import deploy
from consent.chain.embedded import developer
from core.settings import Settings
from tests.real import running_anvil
from tests.server.market import Owner, ok, work
from tests.server.people import ORIGIN, TEST_BOUNDS, Person, account_of

pytestmark = pytest.mark.needs_nodes


@pytest.fixture
def town(tmp_path: Path) -> Iterator[tuple[World, Owner, Person]]:
    with ExitStack() as stack:
        node = stack.enter_context(running_anvil(tmp_path / "node"))
        deployment = tmp_path / "deployment.json"
        with Chain.http(node.url) as chain:
            deploy(chain, developer()).save(deployment)
        world = stack.enter_context(
            World(Settings(home=tmp_path / "home", rpc_url=node.url, deployment=deployment, patience=20))
        )
        app = create_app(world, origins=(ORIGIN,), bounds=TEST_BOUNDS)
        stack.callback(app.state.place.close)
        people = []
        for name in ("ada", "tom"):
            person = Person(name, account_of(name), stack.enter_context(TestClient(app, base_url=ORIGIN)))
            person.sign_in()
            people.append(person)
        yield world, Owner(world, people[0]), people[1]


def test_what_a_reorganisation_takes_out_happens_once_and_is_final_when_it_is_safe(
    town: tuple[World, Owner, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, owner, tom = town
    made = owner.publish()
    monkeypatch.setattr(relaying, "MINED_AT_ONCE", 0)  # its blocks come without us
    consent = owner.consent(made, tom.account.address)
    accepted = ok(owner.post_consent(consent), 202)
    work(world)
    assert owner.operation(accepted)["state"] == "included"
    world.chain.request("anvil_reorg", 2, [])
    for _ in range(10):
        work(world)
        found = owner.operation(accepted)
        token = consent.id(world.market.chain_id, world.market.token.address, consent.grantee)
        minted = world.market.events("token", "Transfer", token_id=int.from_bytes(token, "big"))
        if minted and found["state"] == "included":
            break
    assert (found["state"], len(minted)) == ("included", 1)
    assert found["block"] == minted[0].block_number
    world.chain.request("anvil_mine", hex(64))
    work(world)
    assert owner.operation(accepted)["state"] == "final"
    [row] = ok(owner.http.get("/v1/consents"))["data"]
    assert row["tokens"][0]["status"] == "live"
