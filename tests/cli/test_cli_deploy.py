"""The contracts on somebody else's chain: deployed once whatever interrupts it, compared with the artifacts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from allod.nodes import AnvilNode
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import create
from consent.chain.deployment import Deployment
from consent.chain.embedded import developer
from consent.contracts import load
from tests.cli.conftest import Terminal
from tests.real import running_anvil

pytestmark = pytest.mark.needs_nodes


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AnvilNode]:
    with running_anvil(tmp_path / "anvil") as node:
        yield node


@pytest.fixture
def there(allod: Terminal, node: AnvilNode) -> Terminal:
    """A person at an empty home whose chain is anvil."""
    allod.settings["rpc_url"] = node.url
    return allod


def test_contracts_are_deployed_verified_and_used(there: Terminal) -> None:
    said = there("chain", "deploy")
    assert said.data["chain_id"] == 31337
    assert said.data["contracts"].keys() == {"registry", "consent_token", "escrow", "currency"}
    assert Path(said.data["deployment"]) == there.home / "chain" / "deployment.json"
    checked = there("chain", "verify").data["checks"]
    assert [row["what"] for row in checked] == ["DataRegistry", "ConsentToken", "JobEscrow", "wiring", "currency"]
    assert all(row["ok"] for row in checked)
    there("vault", "init", "--as", "tess")
    there("faucet", "50", "--as", "tess")
    there("deposit", "20", "--as", "tess")
    assert there("balance", "--as", "tess").data["deposited"] == "20.00"
    again = there("chain", "deploy")
    assert (again.code, again.error["type"]) == (6, "conflict")
    assert "--output" in again.error["next"]


def test_a_deployment_that_was_cut_off_loses_nothing(
    there: Terminal, node: AnvilNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, left = Chain.submit_raw, [2]

    def cut_off(chain: Chain, raw: bytes) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        honest(chain, raw)

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "submit_raw", cut_off)
        assert there("chain", "deploy").code == 130
    assert not (there.home / "chain" / "deployment.json").exists()
    done = there("chain", "deploy").data
    with Chain.http(node.url) as chain:
        assert chain.nonce(developer().address) == 4  # each contract once
        Deployment.load(Path(done["deployment"])).check(chain)


@pytest.mark.parametrize("json_", [True, False])
def test_other_contracts_are_told_with_an_exit_code(there: Terminal, json_: bool) -> None:
    path = there.home.parent / "elsewhere.json"
    there("chain", "deploy", "--output", path)
    document = json.loads(path.read_text())
    document["registry"] = document["currency"]
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    said = there("chain", "verify", "--deployment", path, json=json_)
    assert said.code == 10
    if json_:
        rows = {row["what"]: row["ok"] for row in said.error["detail"]["checks"]}
        assert rows == {"DataRegistry": False, "ConsentToken": True, "JobEscrow": True}
    else:
        assert "✗ DataRegistry" in said.out
        assert "✓ JobEscrow" in said.out
    missing = there("chain", "verify")
    assert (missing.code, missing.error["type"]) == (3, "not-found")


def test_an_endpoint_of_another_chain_is_refused_at_the_start(there: Terminal) -> None:
    path = there.home.parent / "elsewhere.json"
    there("chain", "deploy", "--output", path)
    path.write_text(path.read_text().replace('"chain_id":31337', '"chain_id":10'))
    for words in (("chain", "verify"), ("balance",)):
        there("vault", "init", "--as", "tess")
        said = there(*words, "--as", "tess", deployment=str(path))
        assert (said.code, said.error["type"]) == (5, "refused")
        assert "serves chain 31337; this is set up for chain 10" in said.error["title"]


def test_elsewhere_whoever_acts_pays_and_names_the_currency(allod: Terminal, tmp_path: Path) -> None:
    with running_anvil(tmp_path / "anvil", chain_id=10) as node, Chain.http(node.url) as chain:
        allod.settings["rpc_url"] = node.url
        issuer, artifact = Account(b"\6" * 32), load("TestToken")
        node.fund(issuer.address, 10**18)
        currency = "0x" + create(chain, issuer, artifact.abi, artifact.bytecode)[0].address.hex()
        address = allod("vault", "init", "--as", "olga").data["address"]
        for words, kind in (
            ([], "invalid-input"),
            (["--currency", "0x12"], "invalid-input"),
            (["--currency", "0x" + "ab" * 20], "invalid-input"),
            (["--currency", currency], "refused"),  # she has no money for gas
        ):
            assert allod("chain", "deploy", "--as", "olga", *words).error["type"] == kind
        node.fund(bytes.fromhex(address[2:]), 10**18)
        done = allod("chain", "deploy", "--as", "olga", "--currency", currency).data
        assert (done["from"], done["contracts"]["currency"]) == (address, currency)
        assert chain.nonce(bytes.fromhex(address[2:])) == 3  # type: ignore[arg-type]
        assert allod("chain", "verify").code == 0


def test_two_endpoints_that_disagree_are_no_chain_for_a_command(there: Terminal, tmp_path: Path) -> None:
    there("chain", "deploy")
    url = there.settings["rpc_url"]
    with running_anvil(tmp_path / "other", "--timestamp", "1700000000") as other:
        said = there("chain", "verify", rpc_url=f"{url},{other.url}")
        assert (said.code, said.error["type"]) == (9, "unavailable")
        assert "disagree" in said.error["title"]
    said = there("chain", "verify", rpc_url=f"{url},{other.url}", patience="0")
    assert (said.code, said.error["type"]) == (9, "unavailable")
    assert "does not answer" in said.error["title"]
