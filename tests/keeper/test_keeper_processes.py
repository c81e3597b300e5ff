"""Three keepers in processes of their own, asked over HTTP, that are killed, stall and cheat."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consent.chain.rpc import serving
from consent.keeper.asking import Patience
from consent.keeper.client import (
    NO_STATEMENT,
    close_job,
    collect_settlement,
    deposit_tree,
    read_log,
    release,
    revoke_everywhere,
)
from consent.keeper.founding import found_committee
from consent.keeper.keys import KeeperKeys
from consent.keeper.revocation import RevokeAll
from consent.keeper.store import StoredLog
from consent.market.paying import settle
from consent.market.place import Market, Relayer
from core.encoding import decode_cbor, encode_cbor
from core.errors import Refused, Unavailable
from core.files import Lock
from tests.keeper.processes import PATIENT, KeeperProcess, running

HEDGED = Patience(hedge=1.0, answer=PATIENT)
PATIENTLY = Patience(hedge=PATIENT, answer=PATIENT)


@pytest.fixture
def keepers(world: Any, tmp_path: Path) -> Iterator[list[KeeperProcess]]:
    """The world's keepers as processes; the tree is handed in already."""
    world.stop_keepers()
    committee, deployment = tmp_path / "committee.json", tmp_path / "deployment.json"
    committee.write_bytes(world.committee.encode())
    world.place.save(deployment)
    with serving(world.chain._provider._chain) as rpc:
        made = [KeeperProcess(world.folder / str(index), rpc, committee, deployment) for index in (1, 2, 3)]
        with running(made):
            yield made


def ports(keepers: list[KeeperProcess]) -> Any:
    return {index: keeper.port for index, keeper in enumerate(keepers, start=1)}


def ask(world: Any, doors: Any, name: str = "ada", patience: Patience = HEDGED) -> Any:
    token = world.place.consent_token
    return release(
        doors, world.committee, token, world.request(name), world.runner, world.check(name), patience=patience
    )


def logged(keeper: KeeperProcess) -> list[str]:
    from consent.keeper.log import Entry

    return [Entry.decode(data).kind for data in StoredLog(keeper.folder / "keeper.sqlite").entries()]


@pytest.mark.slow
def test_a_job_is_released_to_while_n_minus_t_keepers_are_dead_and_not_beyond(
    world: Any, keepers: list[KeeperProcess]
) -> None:
    assert deposit_tree(ports(keepers), world.order, world.tree) == {}
    found = ask(world, ports(keepers), patience=PATIENTLY)
    assert {receipt.keeper for receipt in found.receipts} == {1, 2}
    keepers[0].kill()  # SIGKILL: what it answered was durable before
    assert logged(keepers[0]) == ["release"]
    found = ask(world, ports(keepers))
    assert {receipt.keeper for receipt in found.receipts} == {2, 3}
    assert "does not answer" in found.reasons.get(1, "does not answer")
    assert found.liars == set()

    keepers[1].kill()
    with pytest.raises(Unavailable, match="does not answer") as caught:
        ask(world, ports(keepers), patience=Patience(hedge=1.0, answer=PATIENT, away=0.2, pause=0.1))
    assert set(caught.value.detail["reasons"]) == {1, 2}

    keepers[1].restart()
    assert {receipt.keeper for receipt in ask(world, ports(keepers)).receipts} == {2, 3}
    assert read_log(keepers[1].port)[-1].kind == "release"


@pytest.mark.slow
def test_a_stalled_keeper_is_hedged_and_a_cheat_is_named(world: Any, keepers: list[KeeperProcess]) -> None:
    keepers[0].stall()
    found = ask(world, ports(keepers))
    assert {receipt.keeper for receipt in found.receipts} == {2, 3}
    assert found.liars == set()
    keepers[0].go_on()

    class Cheat:
        """A keeper whose shares are not those of the owner's table."""

        def call(self, path: str, body: bytes) -> bytes:
            reply = decode_cbor(keepers[1].port.call(path, body))
            reply["shares"] = [bytes(len(share)) for share in reply["shares"]]
            return encode_cbor(reply)

    found = ask(world, {**ports(keepers), 2: Cheat()}, patience=PATIENTLY)
    assert found.liars == {2}
    assert {receipt.keeper for receipt in found.receipts} == {1, 3}


@pytest.mark.slow
def test_a_revocation_that_was_acknowledged_survives_a_kill(world: Any, keepers: list[KeeperProcess]) -> None:
    owner, place = world.datasets["ada"].owner, (world.place.chain_id, world.place.consent_token)
    message = RevokeAll(owner.address, 0)
    signature = owner.sign_hash(message.digest(*place))
    done = revoke_everywhere({1: keepers[0].port}, world.committee, *place, message, signature)
    keepers[0].kill()
    assert done.stored == (1,)
    keepers[0].restart()
    assert read_log(keepers[0].port)[-1].kind == "revocation"
    done = revoke_everywhere(ports(keepers), world.committee, *place, message, signature, patience=PATIENTLY)
    assert (done.stored, done.certain) == ((1, 2, 3), True)
    for keeper in keepers[1:]:
        keeper.kill()
        keeper.launch()
    for keeper in keepers[1:]:
        keeper.ready()
    with pytest.raises(Refused, match="The owner revoked this consent"):
        ask(world, ports(keepers), patience=PATIENTLY)
    assert ask(world, ports(keepers), "bob").shares


@pytest.mark.slow
def test_a_refund_needs_q_alive_else_the_opening_tree_stands(world: Any, keepers: list[KeeperProcess]) -> None:
    market = Market(world.chain, world.place)
    lanes = market.escrow.read("lanes", world.order.payer, world.order.lane)
    assert lanes == world.order.open_word
    keepers[2].kill()
    said = close_job(ports(keepers), world.order, world.trainer, patience=HEDGED)
    assert sorted(said.released) == [1, 2]
    final = world.tree.lowered({leaf.consent_id: 0 for leaf in world.tree.leaves})
    with pytest.raises(Unavailable, match="2 of the 3 keepers that are needed signed"):
        collect_settlement(
            ports(keepers), world.committee, world.order, final, NO_STATEMENT, world.trainer, patience=HEDGED
        )
    assert market.escrow.read("lanes", world.order.payer, world.order.lane) == world.order.open_word

    keepers[2].restart()
    signatures = collect_settlement(
        ports(keepers), world.committee, world.order, final, NO_STATEMENT, world.trainer, patience=HEDGED
    )
    by_address = {world.committee.addresses[index - 1]: signature for index, signature in signatures.items()}
    settle(market, Relayer(world.chain, world.stranger), world.order, final.root, NO_STATEMENT, by_address)
    assert market.escrow.read("lanes", world.order.payer, world.order.lane) != world.order.open_word
    assert [logged(keeper) for keeper in keepers] == [["closed", "settlement"]] * 3


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What `allod keeper` with these words says, in this process, where it fails."""
    from allod.cli.main import build

    capsys.readouterr()
    code = build(["keeper", *words])(["keeper", *words, "--json"], standalone_mode=False)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code != 0
    assert not told["ok"]
    return dict(told["error"])


def test_a_keeper_starts_only_where_it_belongs(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.stop_keepers()
    committee, deployment = tmp_path / "committee.json", tmp_path / "deployment.json"
    committee.write_bytes(world.committee.encode())
    world.place.save(deployment)

    def serve(rpc: str, **changes: str) -> dict[str, Any]:
        settings = {"committee": str(committee), "deployment": str(deployment), "rpc": rpc, **changes}
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return said(capsys, "serve", str(world.folder / "1"), *words)

    with serving(world.chain._provider._chain) as rpc:
        assert "can be reached from other machines" in serve(rpc, listen="0.0.0.0:0")["title"]
        assert "is no address to listen on" in serve(rpc, listen="nowhere")["title"]
        assert "is no address to listen on" in serve(rpc, listen="127.0.0.1:70000")["title"]
        assert "does not answer" in serve("http://127.0.0.1:1")["title"]
        assert serve(f"{rpc},http://127.0.0.1:1")["type"] == "unavailable"
        with Lock(world.folder / "1" / "LOCK", what="This keeper"):
            assert serve(rpc)["type"] == "busy"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert serve(rpc, listen=f"127.0.0.1:{taken.getsockname()[1]}")["type"] == "busy"
        other = replace(world.place, escrow=world.place.registry)
        other.save(tmp_path / "other.json")
        assert serve(rpc, deployment=str(tmp_path / "other.json"))["type"] == "conflict"
        unsigned = tmp_path / "unsigned.json"
        unsigned.write_bytes(replace(world.committee, signatures=()).encode())
        assert "not signed by its keepers" in serve(rpc, committee=str(unsigned))["title"]
        assert serve(rpc, committee=str(tmp_path / "none.json"))["type"] == "not-found"
        strangers = [KeeperKeys.create(tmp_path / f"stranger{index}") for index in (1, 2, 3)]
        foreign = tmp_path / "foreign.json"
        foreign.write_bytes(found_committee(strangers, 2, 3, 1, 2**39).encode())
        assert "not named by that committee" in serve(rpc, committee=str(foreign))["title"]


@pytest.mark.slow
def test_a_keeper_ends_politely(world: Any, keepers: list[KeeperProcess]) -> None:
    assert keepers[0].port.call("service", b"")
    assert keepers[0].end(signal.SIGTERM) == 0
    log = keepers[0].folder.with_suffix(".log").read_text()
    assert "Stopped" in log
    assert "GET service 200" in log
    assert keepers[1].end(signal.SIGINT) == 0
