"""The committed vectors of keepers' messages, receipts and logs hold for this implementation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account, recover
from consent.keeper.log import audit
from consent.keeper.proposal import LedgerTotal, Proposal
from consent.keeper.receipt import Receipt
from consent.keeper.request import read_release, release_digest
from consent.keeper.revocation import read_revocation, stored_digest, write_revocation
from consent.keeper.service import read_service, service_digest, write_service
from consent.keeper.wire import kind_of, read_reply, sign, unsign
from consent.typed import settlement_digest
from core.encoding import decode_cbor, encode_cbor, from_hex, to_hex
from core.errors import Corrupted, InvalidInput, Refused
from core.ids import Address, ConsentId
from vault import merkle

FOLDER = Path(__file__).parents[1] / "vectors"
MESSAGES: dict[str, Any] = json.loads((FOLDER / "keeper_messages.json").read_text())
RECEIPTS: dict[str, Any] = json.loads((FOLDER / "receipts.json").read_text())
TOKEN = Address(from_hex(MESSAGES["token"], 20))
ESCROW = Address(from_hex(MESSAGES["escrow"], 20))
READERS: dict[str, Callable[[bytes], object]] = {
    "release": read_release,
    "ledger": LedgerTotal.decode,
    "settlement": Proposal.decode,
    "revoke": read_revocation,
}


def named(part: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in MESSAGES[part]]


def digest_and_bytes(path: str, body: bytes) -> tuple[bytes, bytes]:
    """What is signed for a body, and the body encoded again."""
    if path == "release":
        keeper, request = read_release(body)
        return release_digest(request.order, ConsentId(from_hex(MESSAGES["consent"])), keeper, body), request.body(
            keeper
        )
    if path == "ledger":
        total = LedgerTotal.decode(body)
        return total.digest(TOKEN), total.encode()
    if path == "settlement":
        proposal = Proposal.decode(body)
        return proposal.digest, proposal.encode()
    message = read_revocation(body)
    return message.digest(MESSAGES["chain_id"], TOKEN), write_revocation(message)


@pytest.mark.parametrize("case", named("signed"))
def test_signed_requests_have_these_bytes_digests_and_signatures(case: dict[str, Any]) -> None:
    body, signature = unsign(from_hex(case["request"]))
    digest, again = digest_and_bytes(case["path"], body)
    assert to_hex(body) == to_hex(again) == case["body"]
    assert to_hex(digest) == case["digest"]
    signer = Account(from_hex(MESSAGES["keys"][case["signer"]]))
    assert to_hex(signer.sign_hash(digest)) == to_hex(signature) == case["signature"]
    assert to_hex(sign(body, signature)) == case["request"]


@pytest.mark.parametrize("case", named("unsigned"))
def test_unsigned_requests_say_of_what_kind_they_are(case: dict[str, Any]) -> None:
    assert kind_of(from_hex(case["request"])) == decode_cbor(from_hex(case["request"]))["kind"]


@pytest.mark.parametrize("case", named("refused"))
def test_other_bodies_never_decode(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        READERS[case["kind"]](from_hex(case["body"]))


def test_keepers_sign_these_acknowledgements_and_settlements() -> None:
    keeper = Account(from_hex(MESSAGES["keys"]["keeper 1"]))
    stored, settled = MESSAGES["stored"], MESSAGES["settlement"]
    digest = stored_digest(MESSAGES["chain_id"], TOKEN, from_hex(stored["message"]), stored["seen"])
    assert (to_hex(digest), to_hex(keeper.sign_hash(digest))) == (stored["digest"], stored["signature"])
    root, statement = int(settled["root"], 16), from_hex(settled["statement"])
    digest = settlement_digest(MESSAGES["chain_id"], ESCROW, from_hex(MESSAGES["job"]), root, statement)
    assert (to_hex(digest), to_hex(keeper.sign_hash(digest))) == (settled["digest"], settled["signature"])


def test_a_keeper_says_what_it_is_in_these_bytes() -> None:
    keeper = Account(from_hex(MESSAGES["keys"]["keeper 1"]))
    reply = from_hex(MESSAGES["service"]["reply"])
    said = read_service(reply, keeper.address)
    assert write_service(said, keeper) == reply
    assert to_hex(service_digest(unsign(reply)[0])) == MESSAGES["service"]["digest"]
    assert (said.chain_id, said.token, said.escrow, said.entries) == (MESSAGES["chain_id"], TOKEN, ESCROW, 3)


@pytest.mark.parametrize("changes", [{"time": -1}, {"address": bytes(20)}, {"kind": "servant"}, {"extra": 1}])
def test_a_keepers_word_of_another_form_is_not_taken(changes: dict[str, Any]) -> None:
    keeper = Account(from_hex(MESSAGES["keys"]["keeper 1"]))
    body, signature = unsign(from_hex(MESSAGES["service"]["reply"]))
    changed = encode_cbor({**decode_cbor(body), **changes})
    with pytest.raises(Corrupted):
        read_service(sign(changed, keeper.sign_hash(service_digest(changed))), keeper.address)
    with pytest.raises(Corrupted, match="is not the keeper"):
        read_service(sign(changed, signature), keeper.address)


def test_an_error_is_the_exception_it_names() -> None:
    with pytest.raises(Refused, match="The owner revoked this consent"):
        read_reply(from_hex(MESSAGES["error"]), (), "The reply")


def test_the_receipt_has_these_bytes_and_this_digest() -> None:
    receipt = Receipt.read(decode_cbor(from_hex(RECEIPTS["encoded"])))
    chain_id, address = RECEIPTS["chain_id"], Address(from_hex(RECEIPTS["address"]))
    assert to_hex(encode_cbor(receipt.fields())) == RECEIPTS["encoded"]
    assert to_hex(receipt.digest(chain_id, ESCROW)) == RECEIPTS["digest"]
    receipt.verify(chain_id, ESCROW, address)
    assert recover(from_hex(RECEIPTS["digest"]), receipt.sig) == address
    leaves = [from_hex(object_id) + from_hex(digest) for object_id, digest in RECEIPTS["sealed"]]
    assert merkle.root(leaves) == receipt.root


@pytest.mark.parametrize("name", ["job", "consent", "keeper", "safe", "latest", "root", "previous"])
def test_a_receipt_with_another_field_does_not_verify(name: str) -> None:
    fields = decode_cbor(from_hex(RECEIPTS["encoded"]))
    fields[name] = 2 if name == "keeper" else bytes(32)
    with pytest.raises(Corrupted, match="did not sign this receipt"):
        Receipt.read(fields).verify(RECEIPTS["chain_id"], ESCROW, Address(from_hex(RECEIPTS["address"])))


def test_the_log_chains_and_the_receipt_stands_in_it() -> None:
    entries = audit([from_hex(item["entry"]) for item in RECEIPTS["log"]], head=from_hex(RECEIPTS["log"][-1]["hash"]))
    assert [entry.kind for entry in entries] == [item["kind"] for item in RECEIPTS["log"]]
    receipt = Receipt.read(decode_cbor(from_hex(RECEIPTS["encoded"])))
    release = next(entry for entry in entries if entry.previous == receipt.previous)
    assert release.facts == {
        "job": receipt.job,
        "consent": receipt.consent,
        "objects": 3,
        "safe": receipt.safe,
        "latest": receipt.latest,
        "root": receipt.root,
    }
