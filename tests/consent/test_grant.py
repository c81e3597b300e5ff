"""A consent is well-formed or does not exist; its token id binds digest and holder."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi import encode as abi_encode
from hypothesis import given
from hypothesis import strategies as st

from consent.grant import Consent, nonce_of
from consent.typed import keccak
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput
from core.ids import NOBODY, Address

CHAIN_ID, TOKEN = 31337, Address(bytes([0xC0]) * 20)


def test_the_token_id_hashes_digest_and_holder(sample):
    consent, holder = sample.consent, sample.trainer.address
    assert consent.id(CHAIN_ID, TOKEN, holder) == keccak(consent.digest(CHAIN_ID, TOKEN) + holder)


def test_another_chain_or_token_contract_gives_another_id(sample):
    consent, holder = sample.consent, sample.trainer.address
    ids = {
        consent.id(CHAIN_ID, TOKEN, holder),
        consent.id(1, TOKEN, holder),
        consent.id(CHAIN_ID, Address(bytes([1]) * 20), holder),
    }
    assert len(ids) == 3


def test_a_named_consent_has_no_other_holder(sample):
    with pytest.raises(InvalidInput):
        sample.consent.id(CHAIN_ID, TOKEN, sample.owner.address)


def test_an_offer_gives_every_taker_a_token_of_their_own(sample):
    offer = replace(sample.consent, grantee=NOBODY)
    assert offer.is_offer
    assert offer.id(CHAIN_ID, TOKEN, sample.trainer.address) != offer.id(CHAIN_ID, TOKEN, sample.runner.address)
    with pytest.raises(InvalidInput):
        offer.holder()
    with pytest.raises(InvalidInput):
        offer.holder(NOBODY)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**56 - 1), st.integers(0, 255))
def test_a_nonce_comes_apart_into_epoch_word_and_bit(sample, epoch, word, bit):
    consent = sample.consent.with_nonce(nonce_of(epoch, word, bit))
    assert (consent.epoch, consent.word, consent.bit) == (epoch, word, bit)
    assert Consent.decode(consent.encode()) == consent


def test_its_tuple_is_the_contracts_struct(sample):
    types = "(address,address,bytes32,bytes32,bytes32,address,address,uint40,uint40,uint16,uint96)"
    packed = abi_encode([types], [sample.consent.as_tuple()])
    assert len(packed) == 11 * 32


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", NOBODY), ("escrow", NOBODY), ("owner", b"short"), ("grantee", "0x" + "11" * 20), ("asset", bytes(31)),
        ("not_before", 1_900_000_000), ("expiry", 0), ("expiry", 2**40), ("max_uses", 2**16), ("max_uses", True),
        ("nonce", -1), ("nonce", 2**96),
    ],
)  # fmt: skip
def test_a_malformed_consent_does_not_exist(sample, field, value):
    with pytest.raises(InvalidInput):
        replace(sample.consent, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("v", 2), ("kind", "offer"), ("nonce", 5), ("nonce", bytes(11)), ("expiry", None), ("runner", []), ("extra", 0)],
)
def test_a_consents_bytes_with_one_wrong_field_are_refused(sample, field, value):
    fields = decode_cbor(sample.consent.encode())
    fields[field] = value
    with pytest.raises(InvalidInput):
        Consent.decode(encode_cbor(fields))


@pytest.mark.parametrize("field", ["v", "kind", "owner", "max_uses", "nonce"])
def test_a_consent_that_lacks_a_field_is_refused(sample, field):
    fields = decode_cbor(sample.consent.encode())
    del fields[field]
    with pytest.raises(InvalidInput):
        Consent.decode(encode_cbor(fields))


@given(st.binary(max_size=400))
def test_noise_is_never_a_consent(data):
    with pytest.raises(InvalidInput):
        Consent.decode(data)
