"""Attacks on those who sign: an endpoint that lies about what is signed, and consents that could never count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import deploy, faucet
from consent.chain.embedded import EmbeddedChain, developer
from consent.market.granting import draft
from consent.market.paying import balance, deposit
from consent.market.place import Market
from consent.terms import Terms
from consent.typed import domain_separator
from core.errors import InvalidInput, Refused
from core.ids import Asset

OWNER, TRAINER = Account(bytes([61]) * 32), Account(bytes([62]) * 32)


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with Chain.embedded(EmbeddedChain(None), owned=True) as chain:
        market = Market(chain, deploy(chain, developer()))
        faucet(chain, developer(), market.currency, TRAINER.address, 10**19, 10_000)
        yield market


def lie(monkeypatch: pytest.MonkeyPatch, contract: Any, **answers: Any) -> None:
    """From now on the endpoint answers these views of the contract as given."""
    honest = contract.read
    monkeypatch.setattr(
        contract, "read", lambda name, *args, **more: answers[name] if name in answers else honest(name, *args, **more)
    )


@pytest.mark.parametrize("case", ["another chain", "another token"])
def test_a_permit_is_never_signed_for_a_domain_that_the_endpoint_made_up(
    market: Market, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Signed as asked it would be a permit for the payer's money in another token or on another chain."""
    token = market.currency.address
    chain, at = (1, token) if case == "another chain" else (market.chain_id, bytes([9]) * 20)
    lie(monkeypatch, market.currency, DOMAIN_SEPARATOR=domain_separator("Allod Test Dollar", chain, at))
    signed: list[bytes] = []
    honest = Account.sign_hash

    def sign_hash(self: Account, digest: bytes) -> bytes:
        signed.append(digest)
        return honest(self, digest)

    monkeypatch.setattr(Account, "sign_hash", sign_hash)
    with pytest.raises(Refused, match="permit"):
        deposit(market, TRAINER, 10)
    assert signed == []
    monkeypatch.undo()
    before = balance(market, TRAINER.address).deposited
    deposit(market, TRAINER, 10)
    assert balance(market, TRAINER.address).deposited == before + 10


def terms_of(market: Market, **changes: Any) -> Terms:
    expiry = market.chain.block().timestamp + 86400
    return Terms.write(
        purposes=["service-provision"], payee=OWNER.address, committee=bytes(32), expiry=expiry, **changes
    )


@pytest.mark.parametrize("uses", [0, 4, 70_000, -1])
def test_no_consent_is_drafted_whose_uses_its_terms_forbid(market: Market, uses: int) -> None:
    """Every keeper would refuse it: the owner signs, the trainer pays for the opening, and nothing is released."""
    terms = terms_of(market, max_uses=3)
    with pytest.raises(InvalidInput):
        draft(market, OWNER.address, Asset(bytes(32)), terms, "service-provision", [], max_uses=uses)
    assert draft(market, OWNER.address, Asset(bytes(32)), terms, "service-provision", [], max_uses=2).max_uses == 2
