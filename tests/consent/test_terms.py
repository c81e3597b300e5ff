"""Terms have one form and one meaning; quotes are exact; what is not allowed is said in a sentence."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.purposes import PURPOSES, purpose, purpose_of_hash
from consent.terms import Counts, Terms, allows, price, quote
from consent.typed import keccak
from core.encoding import encode_json
from core.errors import InvalidInput
from core.ids import NOBODY, Address


def test_terms_are_an_odrl_offer_with_dpv_purposes(sample):
    document = json.loads(sample.terms.encode())
    assert document["@type"] == "Offer"
    assert document["@context"][0] == "http://www.w3.org/ns/odrl.jsonld"
    constraint = document["permission"][0]["constraint"][0]
    assert constraint == {
        "leftOperand": "purpose",
        "operator": "isAnyOf",
        "rightOperand": ["dpv:AcademicResearch", "dpv:ServiceProvision"],
    }


def test_terms_survive_their_encoding(sample):
    for terms in (
        sample.terms,
        replace(sample.terms, base_models=None, max_uses=0),
        replace(sample.terms, runner=sample.runner.address, expiry=253402300799),
    ):
        assert Terms.decode(terms.encode()) == terms


def test_written_terms_are_salted_so_that_equal_terms_have_unequal_hashes(sample):
    def write() -> Terms:
        return Terms.write(
            purposes=["service-provision", "academic-research"],
            payee=sample.owner.address,
            committee=sample.committee.hash,
            expiry=1_900_000_000,
        )

    one, two = write(), write()
    assert one.hash != two.hash
    assert replace(one, salt=two.salt) == two
    assert one.purposes == ("academic-research", "service-provision")


def _edits():
    def at(document):
        return document["permission"][0]

    yield lambda d: d.update(extra=1)
    yield lambda d: d.pop("uid")
    yield lambda d: d.update(uid="urn:allod:terms:0x12")
    yield lambda d: d.update({"@type": "Agreement"})
    yield lambda d: d.update({"@context": "http://www.w3.org/ns/odrl.jsonld"})
    yield lambda d: d.update(profile="urn:allod:terms:2")
    yield lambda d: d["permission"].append(copy.deepcopy(at(d)))
    yield lambda d: d.update(permission=[])
    yield lambda d: d.update(permission={})
    yield lambda d: at(d).update(action="use")
    yield lambda d: at(d)["constraint"].reverse()
    yield lambda d: at(d)["constraint"].append(at(d)["constraint"][0])
    yield lambda d: at(d)["constraint"].append({"leftOperand": "x", "operator": "eq", "rightOperand": 1})
    yield lambda d: at(d)["constraint"].pop(0)
    yield lambda d: at(d)["constraint"].pop(1)
    yield lambda d: at(d)["constraint"].pop(2)
    yield lambda d: at(d)["constraint"].pop(3)
    yield lambda d: at(d)["constraint"][0].update(operator="isNoneOf")
    yield lambda d: at(d)["constraint"][0].update(rightOperand=["dpv:Marketing"])
    yield lambda d: at(d)["constraint"][0].update(rightOperand=["dpv:ServiceProvision", "dpv:AcademicResearch"])
    yield lambda d: at(d)["constraint"][0].update(rightOperand=[7])
    yield lambda d: at(d)["constraint"][1].update(rightOperand="4")
    yield lambda d: at(d)["constraint"][1].update(rightOperand=True)
    yield lambda d: at(d)["constraint"][2].update(rightOperand="2030-03-17T17:46:40Z")
    yield lambda d: at(d)["constraint"][2]["rightOperand"].update({"@value": "2030-3-17T17:46:40Z"})
    yield lambda d: at(d)["constraint"][2]["rightOperand"].update({"@value": 5})
    yield lambda d: at(d)["constraint"][3].update(rightOperand="0x" + "AB" * 32)
    yield lambda d: at(d)["constraint"][4].update(rightOperand="any")
    yield lambda d: at(d)["constraint"][5].update(rightOperand=0)
    yield lambda d: at(d)["duty"][0]["constraint"][0].update(rightOperand=-1)
    yield lambda d: at(d)["duty"][0]["constraint"].pop()
    yield lambda d: at(d)["duty"][0].update(compensatedParty="urn:allod:account:0x" + "00" * 20)
    yield lambda d: at(d)["duty"].clear()


@pytest.mark.parametrize("edit", list(_edits()))
def test_edited_terms_are_refused(sample, edit):
    document = json.loads(sample.terms.encode())
    edit(document)
    with pytest.raises(InvalidInput):
        Terms.decode(encode_json(document))


def test_terms_in_another_form_are_refused(sample):
    data = sample.terms.encode()
    for wrong in (data + b"\n", data.replace(b":1000", b":1000.0"), data.replace(b":1000", b":1e3"), b"[]", b"", b"{"):
        with pytest.raises(InvalidInput):
            Terms.decode(wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"purposes": ()}, {"purposes": ("nonsense",)}, {"purposes": ("service-provision", "academic-research")},
        {"purposes": ("academic-research", "academic-research")}, {"base_models": ()}, {"base_models": (bytes(31),)},
        {"base_models": (bytes([2]) * 32, bytes([1]) * 32)}, {"max_epochs": 0}, {"max_epochs": 1001},
        {"max_uses": 2**16}, {"flat": -1}, {"flat": 2**53}, {"per_record_epoch": 2**53}, {"flat": 1.5},
        {"payee": NOBODY}, {"payee": bytes(32)}, {"expiry": 0}, {"expiry": 253402300800}, {"salt": b""},
        {"runner": b""}, {"committee": b""},
    ],
)  # fmt: skip
def test_malformed_terms_do_not_exist(sample, change):
    with pytest.raises(InvalidInput):
        replace(sample.terms, **change)


small = st.integers(0, 10**6)


@given(small, small, st.integers(0, 10**6), st.integers(1, 1000))
def test_a_quote_is_flat_plus_rate_times_records_times_epochs(sample, flat, rate, records, epochs):
    terms = replace(sample.terms, flat=flat, per_record_epoch=rate)
    recipe = replace(sample.recipe, epochs=epochs)
    assert quote(terms, recipe, Counts(1, records)) == flat + rate * records * epochs


@given(small, small, small, st.integers(1, 999), st.sampled_from(["flat", "rate", "records", "epochs"]))
def test_a_quote_never_falls_when_something_grows(sample, flat, rate, records, epochs, grown):
    more = {name: int(name == grown) for name in ("flat", "rate", "records", "epochs")}

    def ask(extra: dict[str, int]) -> int:
        terms = replace(sample.terms, flat=flat + extra["flat"], per_record_epoch=rate + extra["rate"])
        recipe = replace(sample.recipe, epochs=epochs + extra["epochs"])
        return quote(terms, recipe, Counts(9, records + extra["records"]))

    assert ask(more) >= ask(dict.fromkeys(more, 0))


def test_a_quote_beyond_64_bits_is_refused(sample):
    terms = replace(sample.terms, flat=0, per_record_epoch=2**53 - 1)
    assert price(terms, 2**10) == (2**53 - 1) * 2**10
    with pytest.raises(InvalidInput):
        price(terms, 2**12)
    with pytest.raises(InvalidInput):
        price(terms, -1)
    with pytest.raises(InvalidInput):
        Counts(0, 2**64)


def test_the_sample_recipe_is_allowed(sample):
    assert allows(sample.terms, sample.recipe) == []
    assert allows(replace(sample.terms, base_models=None), replace(sample.recipe, base_hash=bytes(32))) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"purpose": purpose("commercial-research").hash}, "commercial-research"),
        ({"purpose": bytes(32)}, "public list"),
        ({"base_hash": bytes(32)}, "base model"),
        ({"epochs": 5}, "epochs"),
    ],
)
def test_what_the_terms_do_not_allow_is_said(sample, change, word):
    reasons = allows(sample.terms, replace(sample.recipe, **change))
    assert len(reasons) == 1
    assert word in reasons[0]


def test_every_broken_limit_is_named(sample):
    recipe = replace(sample.recipe, epochs=9, base_hash=bytes(32), purpose=purpose("personalisation").hash)
    assert len(allows(sample.terms, recipe)) == 3


def test_purposes_are_the_hashes_of_their_dpv_addresses():
    assert len({entry.hash for entry in PURPOSES}) == len({entry.code for entry in PURPOSES}) == len(PURPOSES)
    for entry in PURPOSES:
        assert entry.hash == keccak(b"https://w3id.org/dpv#" + entry.term.encode())
        assert purpose_of_hash(entry.hash) is entry is purpose(entry.code)
    assert purpose_of_hash(bytes(32)) is None
    with pytest.raises(InvalidInput, match="personalisation"):
        purpose("world-domination")


def test_an_address_of_zeros_means_any_runner(sample):
    assert Terms.decode(sample.terms.encode()).runner == NOBODY == Address(bytes(20))
