"""The keepers' vectors, made from fixed keys: `python tests/keeper/keeper_vectors.py` writes them anew."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from consent.chain.account import Account
from consent.grant import Consent
from consent.keeper.log import START, Entry
from consent.keeper.proposal import NO_STATEMENT, LedgerTotal, Proposal
from consent.keeper.receipt import Receipt, release_root
from consent.keeper.request import ReleaseRequest, SharedObject, release_digest
from consent.keeper.revocation import Revoke, RevokeAll, RevokeNonces, stored_digest, write_revocation
from consent.keeper.revoking import write_query
from consent.keeper.service import Service, service_digest, write_service
from consent.keeper.trees import write_deposit, write_job_query, write_payee_query
from consent.keeper.wire import sign, unsign, write, write_error
from consent.order import Order
from consent.tree import FEE, Leaf, SumTree
from consent.typed import settlement_digest
from core.encoding import decode_cbor, encode_cbor, to_hex
from core.errors import Refused
from core.ids import NOBODY, Address, Asset, ConsentId, JobId, ObjectId

FOLDER = Path(__file__).parents[1] / "vectors"
CHAIN_ID = 31337
TOKEN = Address(bytes([0xC0]) * 20)
ESCROW = Address(bytes([0xE5]) * 20)
KEYS = {"owner": 1, "payer": 2, "runner": 3, "keeper 1": 11, "keeper 2": 12, "keeper 3": 13}
PEOPLE = {name: Account(bytes([number]) * 32) for name, number in KEYS.items()}


def parts() -> tuple[Consent, Order, SumTree]:
    owner, payer, runner = (PEOPLE[name] for name in ("owner", "payer", "runner"))
    consent = Consent(
        owner=owner.address,
        grantee=payer.address,
        asset=Asset(bytes([0xA5]) * 32),
        terms=bytes([8]) * 32,
        purpose=bytes([6]) * 32,
        runner=NOBODY,
        escrow=ESCROW,
        not_before=1_700_000_000,
        expiry=1_900_000_000,
        max_uses=0,
        nonce=5 << 8 | 3,
    )
    consent_id = consent.id(CHAIN_ID, TOKEN, payer.address)
    tree = SumTree([Leaf(consent_id, owner.address, 1_600), Leaf(FEE, runner.address, 250)])
    order = Order(
        chain_id=CHAIN_ID,
        escrow=ESCROW,
        payer=payer.address,
        lane=0,
        opened=1_800_000_000,
        start=1_800_086_400,
        runner=runner.address,
        recipe_hash=bytes([7]) * 32,
        job_pk=bytes([4]) * 1216,
        fee=250,
        q=3,
        keepers=tuple(PEOPLE[f"keeper {i}"].address for i in (1, 2, 3)),
        root=tree.root,
    )
    return consent, order, tree


def changed(body: bytes, **fields: Any) -> bytes:
    return encode_cbor({**decode_cbor(body), **fields})


def to_nonces(owner: Address, word: bytes, mask: bytes) -> bytes:
    return write("revoke_nonces", owner=owner, word=word, mask=mask)


def messages() -> dict[str, Any]:
    consent, order, tree = parts()
    consent_id = consent.id(CHAIN_ID, TOKEN, order.payer)
    payer, owner, keeper = (PEOPLE[name] for name in ("payer", "owner", "keeper 1"))
    signed = []

    def add(name: str, path: str, body: bytes, digest: bytes, signer: str) -> None:
        signature = PEOPLE[signer].sign_hash(digest)
        values = {"body": body, "digest": digest, "signature": signature, "request": sign(body, signature)}
        signed.append({"name": name, "path": path, "signer": signer, **{k: to_hex(v) for k, v in values.items()}})

    item = SharedObject(b"manifest", 1, (bytes([1]) * 32,), b"row", 1, (bytes([2]) * 32,))
    request = ReleaseRequest(
        bytes([9]) * 32, order, consent, b"terms", b"recipe", b"header", b"table", bytes([3]) * 64, (item,)
    )
    body = request.body(1)
    add("a release of one object", "release", body, release_digest(order, consent_id, 1, body), "runner")
    total = LedgerTotal(order, consent, 40)
    add("a ledger total", "ledger", total.encode(), total.digest(TOKEN), "runner")
    closing = Proposal(order)
    add("a proposal that closes only", "settlement", closing.encode(), closing.digest, "payer")
    final = tree.lowered({consent_id: 0})
    proposal = Proposal(order, final.encode(), bytes([5]) * 32)
    add("a proposal of a final tree", "settlement", proposal.encode(), proposal.digest, "runner")
    revocations = {
        "a revocation by id": Revoke(owner.address, (consent_id,)),
        "a revocation of nonces": RevokeNonces(owner.address, 5, 1 << 3),
        "a revocation of all": RevokeAll(owner.address, 0),
    }
    for name, message in revocations.items():
        add(name, "revoke", write_revocation(message), message.digest(CHAIN_ID, TOKEN), "owner")
    digest = revocations["a revocation by id"].digest(CHAIN_ID, TOKEN)
    stored = stored_digest(CHAIN_ID, TOKEN, digest, 1_800_000_100)
    statement = settlement_digest(CHAIN_ID, ESCROW, order.job_id, final.root, bytes([5]) * 32)
    unsigned = [
        ("a tree", "tree", write_deposit(order, tree)),
        ("a job's tree", "tree", write_job_query(order.job_id)),
        ("trees that pay an account", "tree", write_payee_query(owner.address)),
        ("what is revoked", "revoke", write_query([(consent, payer.address)])),
        ("a page of the log", "log", write("log", first=0, count=1000)),
        ("what a keeper is", "service", write("service")),
    ]
    service = Service(keeper.address, CHAIN_ID, TOKEN, ESCROW, (b"{}",), 3, bytes([24]) * 32, 1_800_000_200)
    said = write_service(service, keeper)
    nothing = to_nonces(owner.address, bytes(7), bytes(32))
    long_word = to_nonces(owner.address, bytes(11), bytes(31) + b"\1")
    refused = [
        ("no objects", "release", changed(body, objects=[])),
        ("65 objects", "release", changed(body, objects=[item.fields()] * 65)),
        ("keeper 0", "release", changed(body, keeper=0)),
        ("another version", "release", changed(body, v=2)),
        ("a field too many", "release", changed(body, extra=1)),
        ("a short table signature", "release", changed(body, table_sig=bytes(63))),
        ("a byte behind the end", "release", body + b"\0"),
        ("no mask", "revoke", nothing),
        ("a word of 88 bits", "revoke", long_word),
        ("no ids", "revoke", write("revoke", owner=owner.address, ids=[])),
        ("a negative total", "ledger", changed(total.encode(), record_epochs=-1)),
        ("a short statement", "settlement", changed(closing.encode(), statement=NO_STATEMENT[1:])),
    ]
    return {
        "v": 1,
        "about": "Requests to keepers. 'refused' are bodies that never decode. Keys are byte patterns, for tests only.",
        "chain_id": CHAIN_ID,
        "token": to_hex(TOKEN),
        "escrow": to_hex(ESCROW),
        "keys": {name: to_hex(bytes([number]) * 32) for name, number in KEYS.items()},
        "job": to_hex(order.job_id),
        "consent": to_hex(consent_id),
        "signed": signed,
        "unsigned": [{"name": name, "path": path, "request": to_hex(data)} for name, path, data in unsigned],
        "stored": {
            "message": to_hex(digest),
            "seen": 1_800_000_100,
            "digest": to_hex(stored),
            "signature": to_hex(keeper.sign_hash(stored)),
        },
        "settlement": {
            "root": to_hex(final.root.to_bytes(32, "big")),
            "statement": to_hex(bytes([5]) * 32),
            "digest": to_hex(statement),
            "signature": to_hex(keeper.sign_hash(statement)),
        },
        "service": {"reply": to_hex(said), "digest": to_hex(service_digest(unsign(said)[0]))},
        "error": to_hex(write_error(Refused("The owner revoked this consent."))),
        "refused": [{"name": name, "kind": kind, "body": to_hex(data)} for name, kind, data in refused],
    }


def receipts() -> dict[str, Any]:
    consent, order, _ = parts()
    consent_id, keeper = consent.id(CHAIN_ID, TOKEN, order.payer), PEOPLE["keeper 1"]
    sealed = [(ObjectId(bytes([number]) * 32), bytes([number + 100]) * 1169) for number in (1, 2, 3)]
    log, previous = [], START
    facts: list[tuple[str, dict[str, Any]]] = [
        ("revocation", {"owner": PEOPLE["owner"].address, "message": bytes([1]) * 32}),
        (
            "release",
            {
                "job": order.job_id,
                "consent": consent_id,
                "objects": 3,
                "safe": bytes([21]) * 32,
                "latest": bytes([22]) * 32,
                "root": release_root(sealed),
            },
        ),
        ("ledger", {"job": order.job_id, "consent": consent_id, "record_epochs": 40}),
        ("closed", {"job": order.job_id}),
        ("settlement", {"job": order.job_id, "root": bytes([23]) * 32, "statement": NO_STATEMENT}),
    ]
    receipt = None
    for seq, (kind, fields) in enumerate(facts):
        entry = Entry(kind, seq, previous, 1_800_000_000 + seq, fields)
        log.append({"kind": kind, "entry": to_hex(entry.encode()), "hash": to_hex(entry.hash)})
        if kind == "release":
            unsigned = Receipt(
                JobId(fields["job"]),
                ConsentId(fields["consent"]),
                1,
                fields["safe"],
                fields["latest"],
                fields["root"],
                previous,
                bytes(65),
            )
            receipt = unsigned.signed(keeper, CHAIN_ID, ESCROW)
        previous = entry.hash
    assert receipt is not None
    return {
        "v": 1,
        "about": "A receipt, what it is over, and the log it stands in. 'sealed' pairs object ids with sha256 of R_i.",
        "chain_id": CHAIN_ID,
        "escrow": to_hex(ESCROW),
        "address": to_hex(keeper.address),
        "sealed": [[to_hex(object_id), to_hex(sha256(share).digest())] for object_id, share in sealed],
        "encoded": to_hex(encode_cbor(receipt.fields())),
        "fields": {k: v if isinstance(v, int) else to_hex(v) for k, v in receipt.fields().items()},
        "digest": to_hex(receipt.digest(CHAIN_ID, ESCROW)),
        "log": log,
    }


if __name__ == "__main__":
    for name, build in (("keeper_messages", messages), ("receipts", receipts)):
        (FOLDER / f"{name}.json").write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n")
