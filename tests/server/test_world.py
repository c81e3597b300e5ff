"""What a client is told before it signs or seals anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from allod.server.about import describe
from allod.world import World
from consent.committee import Committee
from consent.purposes import PURPOSES
from core.encoding import from_hex, to_hex
from finetune.jobkey import open_runner, runner_address
from tests.server.people import development_world


def test_it_names_chain_contracts_and_money(anonymous: TestClient, world: World) -> None:
    found: dict[str, Any] = anonymous.get("/v1/world").json()
    place = world.deployment
    assert found["chain_id"] == place.chain_id
    assert found["contracts"] == {
        "registry": to_hex(place.registry),
        "consent_token": to_hex(place.consent_token),
        "escrow": to_hex(place.escrow),
        "currency": to_hex(place.currency),
    }
    assert found["currency"]["decimals"] == world.market.decimals
    assert found["is_development"] is True
    assert "play money" in found["notice"]
    assert [one["code"] for one in found["purposes"]] == [one.code for one in PURPOSES]


def test_the_committee_can_be_checked_from_its_own_text(anonymous: TestClient, world: World) -> None:
    told = anonymous.get("/v1/world").json()["committee"]
    committee = Committee.decode(told["document"].encode())
    committee.verify()
    assert told["id"] == to_hex(committee.id) == to_hex(world.committee.id)
    assert told["hash"] == to_hex(committee.hash)
    assert [from_hex(one["hpke_key"]) for one in told["keepers"]] == [one.hpke for one in committee.keepers]
    assert (told["t"], told["n"], told["q"]) == (committee.t, committee.n, committee.q)


def test_the_runner_is_named_without_its_key(anonymous: TestClient, world: World) -> None:
    assert anonymous.get("/v1/world").json()["runner"]["address"] is None
    runner = open_runner(world.home / "runner")
    assert anonymous.get("/v1/world").json()["runner"]["address"] == to_hex(runner.account.address)
    (world.home / "runner" / "address").write_text("half an addr")
    assert runner_address(world.home / "runner") is None
    assert open_runner(world.home / "runner").account.address == runner_address(world.home / "runner")


def test_who_operates_what_stands_in_the_settings(tmp_path: Path) -> None:
    one, each = "One firm runs all keepers.", "A. | B."
    for number, (keepers, expected) in enumerate(((one, [one] * 3), (each, ["A.", "B.", "B."]))):
        said = {"server_operator": "S.", "runner_operator": "R.", "keeper_operators": keepers}
        with development_world(tmp_path / str(number), **said) as world:
            operators = describe(world).operators
        assert operators.server == "S."
        assert operators.runner == "R."
        assert operators.keepers == expected
    with development_world(tmp_path / "default") as world:
        assert all("this computer" in one.lower() for one in describe(world).operators.keepers)
