"""Builds tests/vectors/provenance.json from fixed keys and values: `python -m tests.prove.provenance_vectors`."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from consent.chain.account import Account
from consent.order import Order
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.typed import keccak
from core.encoding import encode_json, to_hex
from core.ids import Address, ConsentId, JobId
from finetune.envelope import IN_TOTO, Envelope, pre_authentication
from finetune.ledger import Ledger, Tally, Use, split_ledger
from finetune.provenance import Share, statement_document, statement_hash
from finetune.verify import Trust

FILE = Path(__file__).parents[1] / "vectors" / "provenance.json"
RUNNER = Account(b"\x66" * 32)
MODEL_KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n"
    "6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n"
    "-----END PUBLIC KEY-----\n"
)


def address(byte: int) -> Address:
    return Address(bytes([byte]) * 20)


def recipe() -> Recipe:
    lora = Lora(4, 8, 0, ("q_proj", "v_proj"))
    use = purpose("academic-research").hash
    return Recipe("tiny", bytes(range(32)), lora, 2, 7, use, 5_000_000, 1, 2, 128)


def order() -> Order:
    opened, keepers = 1_764_000_000, (address(1), address(2), address(3))
    return Order(
        31337, address(0xE5), address(0x50), 3, opened, opened + 86_400, RUNNER.address, recipe().hash, bytes(1216),
        500, 3, keepers, 7 << 64 | 1000,
    )  # fmt: skip


def entries() -> list[bytes]:
    """A ledger of one attempt with one step."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        with Ledger(path, JobId(order().job_id)) as ledger:
            ledger.start(b"\x9a" * 32)
            ledger.commit(0, {ConsentId(b"\xc0" * 32): Use(24, 940)})
        return list(split_ledger(path.read_bytes()))


def statement() -> dict[str, Any]:
    """The statement of that order, with an amount beyond 2^53."""
    tally = Tally(order().job_id)
    for entry in entries():
        tally.read(entry)
    share = Share(
        ConsentId(b"\xc0" * 32),
        to_hex(address(0x0A)),
        to_hex(b"\xa5" * 32),
        to_hex(address(0x0B)),
        12,
        24,
        940,
        2**53 + 1,
    )
    return statement_document(
        order(),
        recipe(),
        plan_hash=b"\x9a" * 32,
        tally=tally,
        shares=[share],
        fee=500,
        losses={"ada": {"before": 5_691_076, "after": 5_500_242, "tokens": 34}},
        digests={"README.md": b"\x01" * 32, "adapter_model.safetensors": b"\x02" * 32},
        model_key=MODEL_KEY.encode(),
    )


def signed(name: str, account: Account, key: bytes, kind: str, payload: bytes) -> dict[str, str]:
    pae = pre_authentication(kind, payload)
    signature = account.sign_hash(keccak(pae))
    envelope = Envelope(kind, payload, to_hex(account.address), signature).encode()
    return {
        "name": name,
        "key": to_hex(key),
        "address": to_hex(account.address),
        "payload_type": kind,
        "payload": to_hex(payload),
        "pae": to_hex(pae),
        "digest": to_hex(keccak(pae)),
        "signature": to_hex(signature),
        "envelope": envelope.decode(),
        "statement_hash": to_hex(statement_hash(envelope)),
    }


def refused(good: str) -> list[dict[str, str]]:
    """Envelopes with one failure each."""
    document = json.loads(good)
    (signature,) = document["signatures"]

    def other(**changes: Any) -> str:
        return encode_json({**document, **changes}).decode()

    texts = {
        "no signature": other(signatures=[]),
        "two signatures": other(signatures=[signature, signature]),
        "an unknown member": other(more=1),
        "an unknown member of the signature": other(signatures=[{**signature, "alg": "x"}]),
        "base64 without padding": other(payload=document["payload"].rstrip("=")),
        "base64 with spare bits set": other(payload="AB=="),
        "base64 of URLs": other(payload="AP8gcGF5bG9hZA_-"),
        "a space behind it": good + " ",
        "members in another order": json.dumps(
            dict(reversed(document.items())), separators=(",", ":"), ensure_ascii=False
        ),
        "a type that is a number": other(payloadType=7),
    }
    return [{"name": name, "envelope": text} for name, text in texts.items()]


def build() -> dict[str, Any]:
    """The whole file."""
    document = statement()
    envelopes = [
        signed(name, Account(key), key, kind, payload)
        for name, key, kind, payload in (
            ("the statement of a small job", b"\x66" * 32, IN_TOTO, encode_json(document)),
            ("an empty payload", b"\x01" * 32, IN_TOTO, b""),
            ("a type of two-byte letters: lengths are bytes", b"\x02" * 32, "application/é", b"\x00\xff payload"),
        )
    ]
    committees = (b"\x04" * 32, b"\x05" * 32)
    return {
        "v": 1,
        "about": "DSSE envelopes, their secp256k1 signature over keccak256(PAE), the posted hash; 'refused' never "
        "decode. The statement follows from order, recipe, ledger entries and the values in it. Page 72.",
        "envelopes": envelopes,
        "refused": refused(envelopes[-1]["envelope"]),
        "statement": {
            "order": to_hex(order().encode()),
            "job": to_hex(order().job_id),
            "recipe": recipe().encode().decode(),
            "ledger": [to_hex(entry) for entry in entries()],
            "document": encode_json(document).decode(),
        },
        "trust": Trust(31337, address(1), address(2), address(3), committees).encode().decode(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(build(), indent=1, ensure_ascii=False) + "\n")
