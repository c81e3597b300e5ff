"""The committed vectors of consents, terms, recipes, trees and orders hold for this implementation."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account, recover
from consent.committee import Committee
from consent.grant import Consent
from consent.order import Order
from consent.purposes import PURPOSES
from consent.recipe import Recipe
from consent.terms import Counts, Terms, allows, quote
from consent.tree import SumTree, verify
from core.encoding import from_hex, to_hex
from core.errors import InvalidInput

FOLDER = Path(__file__).parents[1] / "vectors"


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def cases(name: str, part: str = "cases") -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in load(name)[part]]


def word(number: int) -> str:
    return to_hex(number.to_bytes(32, "big"))


@pytest.mark.parametrize("case", cases("consent"))
def test_consents_have_these_bytes_digests_ids_and_signatures(case):
    consent = Consent.decode(from_hex(case["encoded"]))
    chain_id, token, holder = case["chain_id"], from_hex(case["token"]), from_hex(case["holder"])
    digest = consent.digest(chain_id, token)
    for name, value in case["fields"].items():
        ours = getattr(consent, name)
        assert value == (to_hex(ours) if isinstance(ours, bytes) else str(ours) if name == "nonce" else ours)
    assert to_hex(consent.encode()) == case["encoded"]
    assert to_hex(digest) == case["digest"]
    assert to_hex(consent.id(chain_id, token, holder)) == case["id"]
    owner = Account(from_hex(load("consent")["owner_key"]))
    assert to_hex(owner.sign_hash(digest)) == case["signature"]
    assert recover(digest, from_hex(case["signature"])) == consent.owner


@pytest.mark.parametrize("case", cases("terms"))
def test_terms_have_these_hashes_prices_and_answers(case):
    terms = Terms.decode(case["document"].encode())
    recipe = Recipe.decode(case["recipe"].encode())
    assert terms.encode() == case["document"].encode()
    assert to_hex(terms.hash) == case["hash"] == to_hex(sha256(case["document"].encode()).digest())
    assert str(quote(terms, recipe, Counts(**case["counts"]))) == case["quote"]
    assert allows(terms, recipe) == case["reasons"]
    assert case["allowed"] is (case["reasons"] == [])


def test_purposes_are_those_of_the_vectors():
    ours = [{"code": entry.code, "iri": entry.iri, "hash": to_hex(entry.hash)} for entry in PURPOSES]
    assert ours == load("terms")["purposes"]


@pytest.mark.parametrize("case", cases("recipes"))
def test_recipes_have_these_hashes(case):
    recipe = Recipe.decode(case["document"].encode())
    assert recipe.encode() == case["document"].encode()
    assert to_hex(recipe.hash) == case["hash"]


@pytest.mark.parametrize("case", cases("trees"))
def test_trees_have_these_words_positions_and_proofs(case):
    tree = SumTree.decode(from_hex(case["encoded"]))
    assert (word(tree.root), str(tree.total), to_hex(tree.encode())) == (case["root"], case["total"], case["encoded"])
    assert len(tree.leaves) == len(case["leaves"])
    for index, (leaf, told) in enumerate(zip(tree.leaves, case["leaves"], strict=True)):
        assert (to_hex(leaf.consent_id), to_hex(leaf.payee)) == (told["consent"], told["payee"])
        assert (str(leaf.amount), word(leaf.word)) == (told["amount"], told["word"])
        assert (tree.position(index), [word(w) for w in tree.proof(index)]) == (told["position"], told["proof"])
        proof = [int(text, 16) for text in told["proof"]]
        assert verify(int(case["root"], 16), leaf, told["position"], proof)


@pytest.mark.parametrize("case", cases("orders"))
def test_orders_have_these_hashes(case):
    order = Order.decode(from_hex(case["encoded"]))
    assert to_hex(order.encode()) == case["encoded"]
    ours = {
        "brief": to_hex(order.brief),
        "committee": to_hex(order.committee),
        "spec": to_hex(order.spec),
        "counted": to_hex(order.counted_hash),
        "order": to_hex(order.order_hash),
        "times": word(order.times),
        "open_word": word(order.open_word),
        "lane_word_empty": word(order.lane_word(0)),
        "job_id": to_hex(order.job_id),
    }
    assert ours == {name: case[name] for name in ours}


def test_the_committee_of_the_vectors_is_signed_and_has_this_id():
    told = load("orders")["committee"]
    committee = Committee.decode(told["document"].encode())
    committee.verify()
    assert (to_hex(committee.id), to_hex(committee.hash)) == (told["id"], told["hash"])
    assert to_hex(committee.digest) == told["digest"]


@pytest.mark.parametrize("case", cases("consent", "refused"))
def test_refused_consents_never_decode(case):
    with pytest.raises(InvalidInput):
        Consent.decode(from_hex(case["encoded"]))


@pytest.mark.parametrize("case", cases("trees", "refused"))
def test_refused_trees_never_decode(case):
    with pytest.raises(InvalidInput):
        SumTree.decode(from_hex(case["encoded"]))


@pytest.mark.parametrize("case", cases("orders", "refused"))
def test_refused_orders_never_decode(case):
    with pytest.raises(InvalidInput):
        Order.decode(from_hex(case["encoded"]))


@pytest.mark.parametrize("case", cases("terms", "refused"))
def test_refused_terms_never_decode(case):
    with pytest.raises(InvalidInput):
        Terms.decode(case["document"].encode())


@pytest.mark.parametrize("case", cases("recipes", "refused"))
def test_refused_recipes_never_decode(case):
    with pytest.raises(InvalidInput):
        Recipe.decode(case["document"].encode())
