from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from consent.chain.abi import signature_of
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, deploy, deployed, faucet, unit_of
from consent.chain.embedded import EmbeddedChain, developer
from consent.chain.outbox import MemoryOutbox
from consent.contracts import load
from consent.contracts.artifact import Artifact
from core.errors import Conflict, InvalidInput, NotFound, Refused
from core.ids import Address

OWNER = Address(b"\xab" * 20)


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[EmbeddedChain, Deployment]]:
    with EmbeddedChain(None) as embedded:
        yield embedded, deploy(Chain.embedded(embedded), developer())


@pytest.fixture
def chain(world: tuple[EmbeddedChain, Deployment]) -> Iterator[Chain]:
    with world[0].duplicate() as twin:
        yield Chain.embedded(twin)


@pytest.fixture
def deployment(world: tuple[EmbeddedChain, Deployment]) -> Deployment:
    return world[1]


def test_a_deployment_holds_our_code_wired_to_each_other(chain: Chain, deployment: Deployment) -> None:
    deployment.check(chain)
    deployment.check(chain, chain.block("finalized").hash)
    contracts = deployment.contracts(chain)
    assert contracts.escrow.read("token") == deployment.currency
    assert contracts.escrow.read("consents") == deployment.consent_token
    assert contracts.currency.read("decimals") == 6
    assert deployment.unit == contracts.escrow.read("unit") == 1
    assert deployment.first_block == 1
    assert chain.code(deployment.registry, deployment.first_block - 1) == b""


def test_whatever_does_not_fit_the_chain_is_named(chain: Chain, deployment: Deployment, dev: Account) -> None:
    other = deploy(chain, dev)
    for wrong, words in (
        ({"chain_id": 1}, "on chain 1"),
        ({"registry": deployment.escrow}, "DataRegistry"),
        ({"consent_token": OWNER}, "ConsentToken"),
        ({"escrow": deployment.currency}, "JobEscrow"),
        ({"currency": other.currency}, "JobEscrow .* for another chain or other contracts"),
        ({"consent_token": other.consent_token}, "JobEscrow .* for another chain or other contracts"),
        ({"escrow": other.escrow}, "JobEscrow .* for another chain or other contracts"),
        ({"unit": 10}, "JobEscrow .* for another chain or other contracts"),
    ):
        with pytest.raises(Conflict, match=words):
            replace(deployment, **wrong).check(chain)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="DataRegistry"):
        deployment.check(chain, 0)  # before it was deployed


def test_contracts_wired_to_others_are_found_out_by_their_views(
    chain: Chain, deployment: Deployment, dev: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = deploy(chain, dev)
    monkeypatch.setattr(Artifact, "constants", lambda *_: [])  # as if each word stood for another one
    with pytest.raises(Conflict, match="escrow belongs to another"):
        replace(deployment, currency=other.currency).check(chain)
    monkeypatch.setattr("consent.chain.deployment.unit_of", lambda _: 10)
    assert [one.what for one in deployment.findings(chain) if one.problem] == ["currency"]


@pytest.mark.parametrize("after", range(4))
def test_an_interrupted_deployment_goes_on_where_it_stopped(dev: Account, after: int) -> None:
    with EmbeddedChain(None) as embedded:
        chain, outbox = Chain.embedded(embedded), MemoryOutbox()
        chain.sending.keep_in(lambda: outbox)
        honest, sent = chain.submit_raw, list[bytes]()

        def dying(raw: bytes) -> None:
            if len(sent) == after:
                raise KeyboardInterrupt
            sent.append(raw)
            honest(raw)

        chain.submit_raw = dying  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            deploy(chain, dev, name="here")
        again = Chain.embedded(embedded)
        again.sending.keep_in(lambda: outbox)
        done = deploy(again, dev, name="here")
        done.check(again)
        assert again.nonce(dev.address) == 4
        assert done.first_block == 1
        assert deploy(again, dev, name="here") == done
        assert deploy(again, dev, name="there") != done


def test_contracts_are_deployed_for_a_currency_that_exists(chain: Chain, deployment: Deployment, dev: Account) -> None:
    done = deploy(chain, dev, deployment.currency)
    done.check(chain)
    assert (done.currency, done.unit) == (deployment.currency, deployment.unit)
    before = chain.nonce(dev.address)
    for wrong, words in ((OWNER, "no contract"), (deployment.registry, "no ERC-20")):
        with pytest.raises(InvalidInput, match=words):
            deploy(chain, dev, wrong)
    assert chain.nonce(dev.address) == before


def test_a_deployment_is_saved_and_loaded_strictly(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "deployment.json"
    with pytest.raises(NotFound):
        Deployment.load(path)
    deployment.save(path)
    assert Deployment.load(path) == deployment
    whole = path.read_text()
    for broken in (
        whole[:-1],
        whole.replace('"v":1', '"v":2'),
        whole.replace('"unit":1', '"unit":"1"'),
        whole.replace('"unit":1', '"unit":-1'),
        whole.replace('"unit":1', '"unit":true'),
        whole.replace('"unit":1', '"unit":1,"units":1'),
        whole.replace("0x", "", 1),
        "[]",
        "",
    ):
        path.write_text(broken)
        with pytest.raises(InvalidInput):
            Deployment.load(path)


def test_a_world_deploys_once(tmp_path: Path, chain: Chain, dev: Account) -> None:
    first = deployed(tmp_path, chain, dev)
    head = chain.block()
    assert deployed(tmp_path, chain, dev) == first
    assert chain.block() == head


def test_the_faucet_gives_what_was_asked(chain: Chain, deployment: Deployment, dev: Account) -> None:
    currency = deployment.contracts(chain).currency
    faucet(chain, dev, currency, OWNER, 7, 0)
    faucet(chain, dev, currency, OWNER, 0, 9)
    assert chain.balance(OWNER) == 7
    assert currency.read("balanceOf", OWNER) == 9
    (minted,) = currency.events("Transfer", receiver=OWNER)
    assert minted.args["value"] == 9


def test_play_money_exists_on_development_chains_only(
    chain: Chain, deployment: Deployment, dev: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chain, "is_development", False)
    head = chain.block()
    with pytest.raises(Refused):
        deploy(chain, dev)
    with pytest.raises(Refused):
        faucet(chain, dev, deployment.contracts(chain).currency, OWNER, 1, 1)
    assert chain.block() == head


def test_amounts_in_units_fit_64_bits_for_every_currency() -> None:
    assert [unit_of(decimals) for decimals in (0, 6, 9, 10, 18)] == [1, 1, 1, 10, 10**9]


def test_every_function_and_event_of_the_contracts_is_understood(chain: Chain, deployment: Deployment) -> None:
    for contract, name in zip(
        deployment.contracts(chain), ("DataRegistry", "ConsentToken", "JobEscrow", "TestToken"), strict=True
    ):
        artifact = load(name)
        for entry in artifact.abi:
            if entry["type"] == "event":
                topics = contract.interface.event_topics(entry["name"], {})
                assert len(topics) == 1 + sum(argument["indexed"] for argument in entry["inputs"])
        ours = {
            signature_of(entry): int.from_bytes(keccak(signature_of(entry).encode())[:4], "big")
            for entry in artifact.abi
            if entry["type"] == "function"
        }
        assert ours == {name: int(selector, 16) for name, selector in artifact.method_ids.items()}
