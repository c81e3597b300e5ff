"""Writes keys.json, shamir.json, merkle.json, hpke.json, manifests.json and readers.json beside this file.

    python tests/vectors/vault_vectors.py

What can be computed twice is computed here a second time, from hashes, AES-GCM and Ed25519 alone, in a plainer hand
than the code under test; the tests then hold the code to it. Two things cannot: HPKE envelopes are made from fresh
randomness, so hpke.json keeps those it has; and what readers.json expects is what docs/format/31-readers.md says,
written out by hand.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from mnemonic import Mnemonic

HERE = Path(__file__).parent


def seeded(name: str, length: int = 32) -> bytes:
    return hashlib.shake_256(b"allod vault vectors: " + name.encode()).digest(length)


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    pseudo = hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest()
    return hmac.new(pseudo, info + b"\1", hashlib.sha256).digest()


def cbor(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def link(codec: int, data: bytes) -> cbor2.CBORTag:
    return cbor2.CBORTag(42, bytes((0, 1, codec, 0x12, 0x20)) + hashlib.sha256(data).digest())


def shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def write(name: str, value: dict[str, Any]) -> None:
    text = json.dumps(shown(value), indent=1, ensure_ascii=False, sort_keys=False)
    (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


ROOT = bytes(range(32))
VAULT, OBJECT, SLOT = seeded("vault"), seeded("object"), seeded("slot")
SIGN_SEED = hkdf(ROOT, b"", b"allod/manifest-sign/v1\0")
SIGNER = Ed25519PrivateKey.from_private_bytes(SIGN_SEED)
MANIFEST_PK = SIGNER.public_key().public_bytes_raw()


def sealed(label: bytes, thing: bytes, nonce: bytes, plain: bytes) -> bytes:
    return nonce + AESGCM(hkdf(ROOT, b"", label + b"\0" + VAULT + thing)).encrypt(nonce, plain, None)


def padded(value: Any) -> bytes:
    data = cbor(value)
    plain = len(data).to_bytes(4, "big") + data
    return plain + bytes(-len(plain) % 256)


def keys() -> None:
    words = []
    for entropy in (bytes(32), b"\xff" * 32, ROOT, seeded("entropy")):
        words.append({"root": entropy, "words": Mnemonic("english").to_mnemonic(entropy)})
    good = words[2]["words"].split()
    refused = [
        {"about": "a word less", "words": " ".join(good[:-1])},
        {"about": "another last word: the checksum fails", "words": " ".join([*good[:-1], "zoo"])},
        {"about": "a word that is in no list", "words": " ".join([*good[:-1], "allod"])},
        {"about": "twelve words", "words": " ".join(["abandon"] * 11 + ["about"])},
    ]
    public = {
        "v": 1,
        "type": "allod/keyfile",
        "vault_id": "0x" + VAULT.hex(),
        "manifest_pk": "0x" + MANIFEST_PK.hex(),
        "address": "0x" + "11" * 20,
    }
    head = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    salt, nonce = seeded("salt"), seeded("slot nonce", 12)
    lock = hashlib.scrypt("caf\u00e9 am see".encode(), salt=salt, n=1024, r=8, p=1, maxmem=1 << 26, dklen=32)
    slot_key = hkdf(lock, b"", b"allod/slot/v1\0" + VAULT + SLOT)
    slot = {
        "kind": "passphrase",
        "id": "0x" + SLOT.hex(),
        "salt": "0x" + salt.hex(),
        "scrypt": {"n": 1024, "r": 8, "p": 1},
        "sealed": "0x" + (nonce + AESGCM(slot_key).encrypt(nonce, ROOT, head)).hex(),
    }
    file = json.dumps({**public, "slots": [slot]}, sort_keys=True, separators=(",", ":"))
    write(
        "keys",
        {
            "v": 1,
            "about": "Recovery words, keys below the root key 0x00…1f, wraps, and a key file. 'refused' are no keys.",
            "words": words,
            "refused": refused,
            "derived": {
                "root": ROOT,
                "vault_id": VAULT,
                "object_id": OBJECT,
                "manifest_sign_seed": SIGN_SEED,
                "manifest_pk": MANIFEST_PK,
                "evm_key": hkdf(ROOT, b"", b"allod/evm/v1\0" + bytes(4)),
                "wrap_key": hkdf(ROOT, b"", b"allod/wrap/v1\0" + VAULT + OBJECT),
                "meta_key": hkdf(ROOT, b"", b"allod/meta/v1\0" + VAULT + OBJECT),
                "record_key": hkdf(ROOT, b"", b"allod/record/v1\0" + VAULT + OBJECT),
            },
            "wrap": {
                "plain": seeded("dek"),
                "wrap": sealed(b"allod/wrap/v1", OBJECT, seeded("wrap nonce", 12), seeded("dek")),
            },
            "key_file": {
                "about": "The passphrase is given decomposed; it is normalised to NFKC before scrypt.",
                "passphrase": "cafe\u0301 am see",
                "file": file,
                "root": ROOT,
            },
        },
    )


def times(a: int, b: int) -> int:
    wide = 0
    for bit in range(8):
        if b >> bit & 1:
            wide ^= a << bit
    for bit in range(15, 7, -1):
        if wide >> bit & 1:
            wide ^= 0x11B << (bit - 8)
    return wide


def shamir() -> None:
    cases = []
    for t, n in ((2, 2), (2, 3), (3, 5), (5, 9)):
        secret = seeded(f"secret {t} of {n}")
        higher = [seeded(f"coefficient {degree} of {t} of {n}") for degree in range(1, t)]
        shares = []
        for x in range(1, n + 1):
            share = bytearray()
            for place in range(32):
                y, power = secret[place], 1
                for coefficient in higher:
                    power = times(power, x)
                    y ^= times(coefficient[place], power)
                share.append(y)
            shares.append(bytes(share) + bytes((x,)))
        cases.append({"t": t, "n": n, "secret": secret, "coefficients": higher, "shares": shares})
    one, two = cases[0]["shares"]
    refused = [
        {"about": "one share", "shares": [one]},
        {"about": "the same share twice", "shares": [one, one]},
        {"about": "a share number 0", "shares": [one, two[:32] + b"\0"]},
        {"about": "a share a byte short", "shares": [one, two[:32]]},
        {"about": "a share a byte long", "shares": [one, two + b"\2"]},
    ]
    write(
        "shamir",
        {
            "v": 1,
            "about": "Shares y[32] ‖ x of polynomials over GF(2^8)/0x11B with the secret as constant term; "
            "coefficients from degree 1 up. Any t shares combine to the secret.",
            "cases": cases,
            "refused": refused,
        },
    )


def merkle_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + merkle_root(leaves[:k]) + merkle_root(leaves[k:])).digest()


def merkle_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*merkle_path(index, leaves[:k]), merkle_root(leaves[k:])]
    return [*merkle_path(index - k, leaves[k:]), merkle_root(leaves[:k])]


def merkle() -> None:
    trees = []
    for size in (0, 1, 2, 3, 5, 8, 13):
        leaves = [seeded(f"leaf {index}", index % 4 + 1) for index in range(size)]
        paths = [merkle_path(index, leaves) for index in range(size)]
        trees.append({"leaves": leaves, "root": merkle_root(leaves), "proofs": paths})
    leaves = [seeded(f"leaf {index}", index % 4 + 1) for index in range(5)]
    root, path = merkle_root(leaves), merkle_path(1, leaves)
    claim = {"root": root, "leaf": leaves[1], "index": 1, "size": 5, "proof": path}
    inner = hashlib.sha256(b"\0" + leaves[0]).digest() + hashlib.sha256(b"\0" + leaves[1]).digest()
    refused = [
        {"about": "another leaf", **claim, "leaf": leaves[2]},
        {"about": "another index", **claim, "index": 0},
        {"about": "an index beyond the tree", **claim, "index": 5},
        {"about": "a tree of another size", **claim, "size": 2},
        {"about": "a proof cut short", **claim, "proof": path[:-1]},
        {"about": "a proof with one hash more", **claim, "proof": [*path, bytes(32)]},
        {"about": "a proof in the wrong order", **claim, "proof": path[::-1]},
        {"about": "a hash of 31 bytes", **claim, "proof": [path[0][:31], *path[1:]]},
        {"about": "an inner node as leaf", **claim, "leaf": inner, "index": 0, "size": 3, "proof": path[1:]},
        {"about": "an empty tree", "root": merkle_root([]), "leaf": b"", "index": 0, "size": 0, "proof": []},
    ]
    about = "RFC 9162 trees: roots and the proof of every leaf. No claim in 'refused' holds."
    write("merkle", {"v": 1, "about": about, "trees": trees, "refused": refused})


def context(label: bytes, fields: dict[str, Any], object_id: bytes, i: int, keeper_pk: bytes) -> bytes:
    return (
        label
        + b"\0"
        + fields["chain_id"].to_bytes(8, "big")
        + fields["token"]
        + fields["owner"]
        + fields["asset"]
        + fields["vault_id"]
        + object_id
        + fields["batch_id"]
        + bytes((fields["t"], fields["n"], i))
        + hashlib.sha256(keeper_pk).digest()
    )


def hpke() -> None:
    from vault.hpke import hpke_open, hpke_public, hpke_seal

    fields = {
        "chain_id": 31337,
        "token": seeded("token", 20),
        "owner": seeded("owner", 20),
        "asset": seeded("asset"),
        "vault_id": VAULT,
        "batch_id": seeded("batch", 16),
        "t": 2,
        "n": 3,
    }
    job_seed, job_id, dek = seeded("job key"), seeded("job id"), seeded("dek")
    seeds = [seeded(f"keeper {i}") for i in (1, 2, 3)]
    slope = seeded("slope")
    path = HERE / "hpke.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    keepers = []
    for i, seed in enumerate(seeds, 1):
        public, batch_seed = hpke_public(seed), seeded(f"batch seed {i}")
        share = bytes(dek[at] ^ times(slope[at], i) for at in range(32)) + bytes((i,))
        seed_info = context(b"allod/seed/v1", fields, bytes(32), i, public)
        cell_key = hkdf(batch_seed, fields["batch_id"], context(b"allod/cell/v1", fields, OBJECT, i, public))
        release_info = context(b"allod/release/v1", fields, OBJECT, i, public) + job_id
        if kept:
            envelope, release = (bytes.fromhex(kept["keepers"][i - 1][name][2:]) for name in ("sealed", "release"))
        else:
            envelope, release = (
                hpke_seal(public, batch_seed, seed_info),
                hpke_seal(hpke_public(job_seed), share, release_info),
            )
        if hpke_open(seed, envelope, seed_info) != batch_seed or hpke_open(job_seed, release, release_info) != share:
            raise SystemExit("hpke.json keeps envelopes of other inputs: delete it, then run this again")
        keepers.append(
            {
                "i": i,
                "private": seed,
                "public": public,
                "seed_info": seed_info,
                "sealed": envelope,
                "batch_seed": batch_seed,
                "cell_key": cell_key,
                "cell": AESGCM(cell_key).encrypt(bytes(12), share, None),
                "share": share,
                "hash": hashlib.sha256(context(b"allod/share/v1", fields, OBJECT, i, public) + share).digest(),
                "release_info": release_info,
                "release": release,
            }
        )
    row = cbor({"object": OBJECT, "cells": [k["cell"] for k in keepers], "hashes": [k["hash"] for k in keepers]})
    head = cbor(
        {
            "v": 1,
            "kind": "shares",
            "asset": fields["asset"],
            "batch": fields["batch_id"],
            "committee": seeded("committee"),
            "t": 2,
            "n": 3,
            "sealed": [keeper["sealed"] for keeper in keepers],
            "rows_root": merkle_root([row]),
            "rows": 1,
            "sequence": 1,
        }
    )
    write(
        "hpke",
        {
            "v": 1,
            "about": "One object shared 2-of-3 and released to one job (docs/format/40-sharing.md). HPKE: base mode, "
            "X-Wing (0x647a), HKDF-SHA256, AES-256-GCM; private keys are X-Wing seeds, envelopes enc ‖ ciphertext.",
            "xwing": {
                "about": "draft-connolly-cfrg-xwing-kem, appendix C, first vector: the public key's first 72 bytes",
                "private": "0x7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
                "public_starts": "0xe2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d"
                "a5fa1a92c49f25513e0fd30d6b1611c9ab9635d7086727a4b7d21d34244e66969cf15b3b",
            },
            "scope": fields,
            "object_id": OBJECT,
            "dek": dek,
            "dek_commit": hkdf(dek, b"", b"allod/dek-commit/v1\0" + VAULT + OBJECT),
            "job": {"id": job_id, "private": job_seed, "public": hpke_public(job_seed)},
            "keepers": keepers,
            "row": row,
            "head": head,
            "manifest_pk": MANIFEST_PK,
            "sig": SIGNER.sign(b"allod/share-table/v1\0" + head),
        },
    )


def manifests() -> None:
    dek = seeded("dek")
    description = {
        "name": "notes.txt",
        "type": "text/plain",
        "size": 1,
        "added": 1790000000,
        "records": 3,
        "broken": 0,
        "notes": "",
    }
    value = {
        "v": 1,
        "kind": "object",
        "vault": VAULT,
        "object": OBJECT,
        "payload": link(0x55, b"payload"),
        "size": 57,
        "alg": "AES256_GCM_HKDF_1MB",
        "dek_commit": hkdf(dek, b"", b"allod/dek-commit/v1\0" + VAULT + OBJECT),
        "wrap": sealed(b"allod/wrap/v1", OBJECT, seeded("wrap nonce", 12), dek),
        "meta": sealed(b"allod/meta/v1", OBJECT, seeded("meta nonce", 12), padded(description)),
    }
    manifest = cbor(value)
    members = cbor({"v": 1, "kind": "members", "cids": [link(0x71, manifest)]})
    objects = cbor({"v": 1, "kind": "page", "cids": [link(0x71, manifest)]})
    card = cbor({"v": 1, "kind": "card", "card": {"title": "Notes"}, "pages": [link(0x71, members)]})
    header_value = {
        "v": 1,
        "kind": "dataset",
        "vault": VAULT,
        "manifest_pk": MANIFEST_PK,
        "root": merkle_root([hashlib.sha256(manifest).digest()]),
        "objects": 1,
        "records": 3,
        "card": link(0x71, card),
    }
    header = cbor(header_value)
    record_id = seeded("record")
    body = {"kind": "terms", "body": {"terms": b"{}"}}
    record = cbor(
        {
            "v": 1,
            "kind": "record",
            "vault": VAULT,
            "record": record_id,
            "sealed": sealed(b"allod/record/v1", record_id, seeded("record nonce", 12), padded(body)),
        }
    )
    records = cbor({"v": 1, "kind": "page", "cids": [link(0x71, record)]})
    unsigned = {
        "v": 1,
        "kind": "head",
        "vault": VAULT,
        "manifest_pk": MANIFEST_PK,
        "sequence": 4,
        "objects": [link(0x71, objects)],
        "datasets": [link(0x71, header)],
        "records": [link(0x71, records)],
    }
    sig = SIGNER.sign(b"allod/vault-head/v1\0" + cbor(unsigned))
    head = cbor({**unsigned, "sig": sig})
    order = dict(reversed(value.items()))
    renumbered = cbor({**unsigned, "sequence": 5, "sig": sig})
    bare = cbor({**unsigned, "sig": SIGNER.sign(cbor(unsigned))})
    refused = [
        {"about": "version 2", "as": "object", "block": cbor({**value, "v": 2})},
        {"about": "a member too many", "as": "object", "block": cbor({**value, "x": 0})},
        {"about": "a member missing", "as": "object", "block": cbor({k: v for k, v in value.items() if k != "size"})},
        {"about": "a size no ciphertext has", "as": "object", "block": cbor({**value, "size": 55})},
        {"about": "another algorithm", "as": "object", "block": cbor({**value, "alg": "AES256_GCM_HKDF_4KB"})},
        {"about": "members in another order", "as": "object", "block": cbor2.dumps(order)},
        {"about": "a byte behind", "as": "object", "block": manifest + b"\0"},
        {"about": "a payload that is no file", "as": "object", "block": cbor({**value, "payload": link(0x71, b"")})},
        {"about": "a dataset of nothing", "as": "dataset", "block": cbor({**header_value, "objects": 0})},
        {"about": "an object's manifest", "as": "dataset", "block": manifest},
        {"about": "another number under the signature", "as": "head", "block": renumbered},
        {"about": "a signature without its context", "as": "head", "block": bare},
        {"about": "a dataset's list", "as": "page", "block": members},
        {"about": "an empty page", "as": "page", "block": cbor({"v": 1, "kind": "page", "cids": []})},
    ]
    write(
        "manifests",
        {
            "v": 1,
            "about": "One vault's blocks under the root key 0x00…1f. No block in 'refused' is a document of that kind.",
            "root_key": ROOT,
            "vault_id": VAULT,
            "object_id": OBJECT,
            "dek": dek,
            "description": description,
            "record": body,
            "manifest_pk": MANIFEST_PK,
            "blocks": {
                "object": manifest,
                "objects": objects,
                "members": members,
                "card": card,
                "dataset": header,
                "record": record,
                "records": records,
                "head": head,
            },
            "header_digest": hashlib.sha256(header).digest(),
            "refused": refused,
        },
    )


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def conversation(current: str | None, **nodes: Any) -> str:
    mapping = {
        key: {
            "parent": parent,
            "children": [],
            "message": role and {"author": {"role": role}, "content": {"content_type": "text", "parts": [said]}},
        }
        for key, (parent, role, said) in nodes.items()
    }
    return json.dumps([{"title": "t", "mapping": mapping, "current_node": current}])


def readers() -> None:
    cases: list[dict[str, Any]] = []

    def case(name: str, data: str | bytes, media_type: str, *records: dict[str, Any]) -> None:
        held = {"utf8": data} if isinstance(data, str) else {"bytes": data}
        cases.append({"name": name, **held, "media_type": media_type, "records": list(records)})

    def text(place: str, content: str) -> dict[str, Any]:
        return {"place": place, "kind": "text", "text": content}

    def turns(place: str, *given: tuple[str, str]) -> dict[str, Any]:
        return {"place": place, "kind": "chat", **chat(*given)}

    def broken(place: str) -> dict[str, Any]:
        return {"place": place, "kind": "broken"}

    plain, rows, values = "text/plain", "application/jsonl", "application/json"
    case("empty", "", plain)
    case(
        "a short text", "# Mill\n\nIt turns,\nand turns.\n", plain, text("lines 1–4", "# Mill\n\nIt turns,\nand turns.")
    )
    case(
        "a note a line",
        "The mill opens at six.\r\nWho has the key? Anna.\r\n“The weir is low.”\r\n",
        plain,
        text("line 1", "The mill opens at six."),
        text("line 2", "Who has the key? Anna."),
        text("line 3", "“The weir is low.”"),
    )
    listed = "- One thing.\n- Another.\n- A third."
    case("a list is no row of notes", listed, plain, text("lines 1–3", listed))
    first, second = "a" * 3000, "b" * 3000
    case("paragraphs beyond 4 KiB", f"{first}\n\n{second}", plain, text("line 1", first), text("line 3", second))
    filler = "word " * 400
    case(
        "a long text ends records at headings",
        f"{filler}\n\n## Two\n\n{filler}\n\n{filler}",
        plain,
        text("line 1", filler.strip()),
        text("lines 3–7", f"## Two\n\n{filler.strip()}\n\n{filler.strip()}"),
    )
    case("bytes that are no text", b"Before.\n\n\xff\xfe\xfd bad\n\nAfter.", plain,
         text("line 1", "Before."), broken("line 3"), text("line 5", "After."))  # fmt: skip
    case("UTF-16", "Über.".encode("utf-16"), plain, text("line 1", "Über."))
    case("a picture", b"\x89PNG\r\n\x1a\n\0\0", "application/octet-stream", broken("whole file"))
    case("a task list is text", "[ ] buy flour", plain, text("line 1", "[ ] buy flour"))
    lines = [
        json.dumps(chat(("system", "Be brief."), ("user", "Who?"), ("assistant", "Anna."))),
        "",
        json.dumps({"prompt": "Q", "completion": "A"}),
        json.dumps({"text": "Just text."}),
        '{"messages": [',
        json.dumps(chat(("user", "No answer?"))),
        json.dumps(chat(("tool", "x"), ("assistant", "y"))),
        json.dumps({"messages": [{"role": "assistant", "content": [{"type": "text", "text": "parts"}]}]}),
    ]
    case(
        "chat lines",
        "\n".join(lines),
        rows,
        turns("line 1", ("system", "Be brief."), ("user", "Who?"), ("assistant", "Anna.")),
        turns("line 3", ("user", "Q"), ("assistant", "A")),
        text("line 4", "Just text."),
        broken("line 5"),
        broken("line 6"),
        broken("line 7"),
        turns("line 8", ("assistant", "parts")),
    )
    tree = {
        "r": (None, None, ""),
        "u": ("r", "user", "Who?"),
        "a": ("u", "assistant", "Nobody."),
        "b": ("u", "assistant", "Anna."),
        "t": ("b", "tool", "page"),
        "c": ("t", "assistant", "At the weir."),
    }
    case(
        "a conversation's current branch",
        conversation("c", **tree),
        values,
        turns("conversation 1", ("user", "Who?"), ("assistant", "Anna.\n\nAt the weir.")),
    )
    case("a branch nobody named", conversation(None, **tree), values, broken("conversation 1"))
    case("a loop", conversation("u", u=("a", "user", "x"), a=("u", "assistant", "y")), values, broken("conversation 1"))
    one = json.dumps(chat(("assistant", "Yes.")))
    case(
        "a list that lost a bracket",
        f'[{{"messages": [}},\n{one}]',
        values,
        broken("conversation 1"),
        turns("conversation 2", ("assistant", "Yes.")),
    )
    deep = '{"text": "deep", "more": ' + "[" * 499 + "]" * 499 + "}"
    case(
        "JSON to the letter",
        '{"text": "first"}\n{"text": "x", "n": NaN}\n\ufeff{"text": "x"}\n{"text": "one", "text": "two"}\n'
        f"{deep}\n" + deep.replace("[]", "[[]]") + '\n{"text": "long", "n": ' + "9" * 5000 + "}\n",
        rows,
        text("line 1", "first"),
        broken("line 2"),
        broken("line 3"),
        text("line 4", "two"),
        text("line 5", "deep"),
        broken("line 6"),
        text("line 7", "long"),
    )
    about = "Files, the media type their content tells, and their records in order ('broken' places aside from counts)."
    write("readers", {"v": 1, "about": about, "cases": cases})


if __name__ == "__main__":
    for part in (keys, shamir, merkle, hpke, manifests, readers):
        part()
