"""A committee's document: numbered, distinct, signed by each keeper, with a quorum that no releaser can miss."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from eth_abi import encode as abi_encode

from consent.committee import Committee, committee_hash
from consent.typed import keccak
from core.encoding import encode_json
from core.errors import Corrupted, InvalidInput


def test_the_hash_is_the_abi_form_of_quorum_and_addresses(sample):
    committee = sample.committee
    packed = abi_encode(["uint256", "address[]"], [committee.q, list(committee.addresses)])
    assert committee.hash == keccak(packed) == committee_hash(committee.q, committee.addresses)


def test_the_hash_outlives_an_epoch_but_the_id_does_not(sample):
    later = replace(sample.committee, epoch=2, signatures=())
    assert later.hash == sample.committee.hash
    assert later.id != sample.committee.id


def test_a_signed_committee_survives_its_encoding(sample):
    again = Committee.decode(sample.committee.encode())
    assert again == sample.committee
    again.verify()
    assert replace(again, signatures=()).id == again.id


def test_an_unsigned_or_foreign_signature_is_named(sample):
    unsigned = replace(sample.committee, signatures=())
    with pytest.raises(Corrupted):
        Committee.decode(unsigned.encode()).verify()
    signatures = [key.sign_hash(unsigned.digest) for key in sample.keepers]
    signatures[1] = sample.owner.sign_hash(unsigned.digest)
    with pytest.raises(Corrupted, match="Keeper 2"):
        unsigned.signed(signatures)
    with pytest.raises(Corrupted, match="Keeper 1"):
        unsigned.signed([bytes(65)] * 3)


def test_a_signature_of_another_epoch_does_not_count(sample):
    with pytest.raises(Corrupted):
        replace(sample.committee, epoch=2).verify()


@pytest.mark.parametrize(
    "change",
    [
        {"t": 0}, {"t": 4}, {"q": 1}, {"q": 4}, {"epoch": -1}, {"end": 0}, {"end": 2**40}, {"keepers": ()},
        {"signatures": (bytes(65),)}, {"signatures": (b"", b"", b"")},
    ],
)  # fmt: skip
def test_a_malformed_committee_does_not_exist(sample, change):
    with pytest.raises(InvalidInput):
        replace(sample.committee, **change)


def test_keepers_are_distinct_and_in_order(sample):
    one, two, three = sample.committee.keepers
    for keepers in (
        (two, one, three),
        (one, replace(two, address=one.address), three),
        (one, replace(two, hpke=one.hpke), three),
    ):
        with pytest.raises(InvalidInput):
            replace(sample.committee, keepers=keepers, signatures=())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("v",), 0), (("type",), "committee"), (("n",), 2), (("n",), "3"), (("t",), 2.5), (("more",), 1),
        (("keepers",), []), (("keepers", 0), {}), (("keepers", 0, "index"), 2), (("keepers", 0, "hpke"), "0x00"),
        (("keepers", 0, "address"), "0x" + "00" * 20), (("keepers", 0, "endpoint"), ""),
        (("keepers", 0, "name"), "K"), (("signatures",), ["0x"]), (("signatures",), None),
    ],
)  # fmt: skip
def test_a_document_with_one_wrong_field_is_refused(sample, path, value):
    document = json.loads(sample.committee.encode())
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    data = json.dumps(document).encode() if isinstance(value, float) else encode_json(document)
    with pytest.raises(InvalidInput):
        Committee.decode(data)
