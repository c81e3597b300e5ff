"""The page's deeds are Python's: the vectors, random values with their signatures, wallets, cards, sentences."""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import Page

from allod.server.signin import read_message, signer_of
from consent.chain.account import Account
from consent.chain.wallet import personal_digest
from core.encoding import to_hex
from core.errors import InvalidInput
from tests.consent.conftest import build_sample
from tests.web.random_deeds import all_cases
from tests.web.running import check, check_cases, outcomes
from tests.web.serving import ROOT

pytestmark = pytest.mark.needs_browser

VECTORS = ("consent", "terms", "recipes", "trees", "orders", "contracts")


def test_the_vectors_hold(vector_page: Page) -> None:
    for name in VECTORS:
        vectors = json.loads((ROOT / f"tests/vectors/{name}.json").read_text("utf-8"))
        check(vector_page, name, vectors, len(vectors.get("cases", [0])) + len(vectors.get("refused", [])))


def test_random_deeds_are_made_signed_and_refused_alike(vector_page: Page) -> None:
    cases = all_cases(build_sample())
    # Cases teach something only where both sides accept some and refuse some.
    for act in ("decode_consent", "decode_order", "decode_tree", "decode_terms", "decode_recipe", "json", "encode_json",
                "recover", "quote", "parse_units", "read_address"):  # fmt: skip
        assert cases.accepted(act) >= 3, act
        assert cases.refused(act) >= 3, act
    assert cases.refused("decode_committee") > 30
    check_cases(vector_page, "differential", cases.all)


def test_wallets_are_found_and_sign_as_the_key_does(vector_page: Page) -> None:
    check(vector_page, "wallets", {}, 10)


def test_terms_consents_and_prices_are_told_in_sentences(vector_page: Page) -> None:
    check(vector_page, "words", {}, 6)


def test_cards_are_kept_in_bounds(vector_page: Page) -> None:
    check(vector_page, "cards", {})


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://allod.example", "http://localhost:5173"])
def test_the_server_takes_the_sign_in_message(vector_page: Page, origin: str) -> None:
    owner = Account(bytes([7]) * 32)
    given = {"address": to_hex(owner.address), "chainId": 31337, "nonce": "aB3" * 8, "now": time.time()}
    (outcome,) = outcomes(vector_page, "signIn", {"cases": [{**given, "origin": origin}]})
    assert outcome["error"] is None
    message = read_message(outcome["name"], origins=("https://other.example", origin), chain_id=31337)
    assert message.nonce == given["nonce"]
    signature = owner.sign_hash(personal_digest(outcome["name"].encode()))
    assert signer_of(message, signature, lambda *_: False) == owner.address
    with pytest.raises(InvalidInput):
        read_message(outcome["name"], origins=(origin,), chain_id=1)
    with pytest.raises(InvalidInput):
        read_message(outcome["name"], origins=("https://other.example",), chain_id=31337)
