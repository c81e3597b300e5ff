"""The committed vectors of provenance hold here, and a foreign library agrees with the signatures."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from eth_keys import keys

from core.encoding import from_hex
from core.errors import Corrupted
from finetune.envelope import Envelope, pre_authentication
from finetune.provenance import read_statement, statement_hash
from finetune.verify import Trust
from tests.prove.provenance_vectors import FILE, build

VECTORS: dict[str, Any] = json.loads(FILE.read_text())


def cases(part: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in VECTORS[part]]


def test_what_is_committed_is_what_is_built() -> None:
    assert build() == VECTORS


@pytest.mark.parametrize("case", cases("envelopes"))
def test_envelopes_have_these_bytes_and_signatures(case: dict[str, str]) -> None:
    kind, payload = case["payload_type"].encode(), from_hex(case["payload"])
    by_hand = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    assert pre_authentication(case["payload_type"], payload) == by_hand == from_hex(case["pae"])
    envelope = Envelope.decode(case["envelope"].encode())
    assert (envelope.payload, envelope.key_id) == (payload, case["address"])
    assert envelope.signature == from_hex(case["signature"], 65)
    assert base64.b64decode(json.loads(case["envelope"])["payload"]) == payload
    assert statement_hash(case["envelope"].encode()) == from_hex(case["statement_hash"])
    assert hashlib.sha256(case["envelope"].encode()).digest() == from_hex(case["statement_hash"])
    raw = envelope.signature[:64] + bytes([envelope.signature[64] - 27])
    signer = keys.Signature(raw).recover_public_key_from_msg_hash(from_hex(case["digest"]))
    assert signer == keys.PrivateKey(from_hex(case["key"])).public_key
    assert signer.to_canonical_address() == from_hex(case["address"])


@pytest.mark.parametrize("case", cases("refused"))
def test_an_envelope_of_another_form_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(Corrupted):
        Envelope.decode(case["envelope"].encode())


def test_the_statement_of_the_vector_reads_back() -> None:
    _, document = read_statement(VECTORS["envelopes"][0]["envelope"].encode())
    assert document == json.loads(VECTORS["statement"]["document"])
    assert document["predicate"]["buildDefinition"]["externalParameters"]["job"] == VECTORS["statement"]["job"]


def test_the_trust_of_the_vector_reads_back() -> None:
    trust = Trust.decode(VECTORS["trust"].encode())
    assert trust.encode().decode() == VECTORS["trust"]
    assert (trust.chain_id, trust.escrow) == (31337, b"\x03" * 20)
