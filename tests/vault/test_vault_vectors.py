"""Every implementation reads these vectors alike: keys, shares, trees, sharing, documents, readers."""

from __future__ import annotations

import hashlib
import hmac
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import AllodError, Corrupted, InvalidInput
from core.ids import Address, Asset, JobId, ObjectId, VaultId
from vault import hpke, merkle, shares
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR
from vault.datasets import read_card, read_manifests
from vault.keys import KeyFile, RootKey
from vault.manifest import DatasetHeader, ObjectManifest, VaultHead, decode_page, digest
from vault.readers import BrokenRecord, Record, detect, read_records
from vault.segments import dek_commitment
from vault.sharetable import ShareRow, verify_head, verify_row
from vault.sharing import Scope, context, open_release, open_share, recover_dek
from vault.vault import Vault
from vault.wrapping import unwrap

FOLDER = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    def revive(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("0x"):
            return bytes.fromhex(value[2:])
        if isinstance(value, dict):
            return {key: revive(item) for key, item in value.items()}
        return [revive(item) for item in value] if isinstance(value, list) else value

    return revive(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


KEYS, SHAMIR, MERKLE, HPKE, MANIFESTS, READERS = map(load, ("keys", "shamir", "merkle", "hpke", "manifests", "readers"))


def about(case: Any) -> str:
    return str(case["about"])


def test_words_are_root_keys() -> None:
    for case in KEYS["words"]:
        assert RootKey(case["root"]).words() == case["words"]
        assert RootKey.from_words(case["words"]) == RootKey(case["root"])


@pytest.mark.parametrize("case", KEYS["refused"], ids=about)
def test_other_words_are_no_key(case: Any) -> None:
    with pytest.raises(InvalidInput):
        RootKey.from_words(case["words"])


def test_keys_below_the_root_are_the_vectors() -> None:
    derived = KEYS["derived"]
    root = RootKey(derived["root"])
    place = derived["vault_id"], derived["object_id"]
    assert root.signing_key().private_bytes_raw() == derived["manifest_sign_seed"]
    assert root.manifest_pk() == derived["manifest_pk"]
    assert root.evm_key() == derived["evm_key"]
    for label in ("wrap", "meta", "record"):
        assert root.derive(f"allod/{label}/v1", *place) == derived[f"{label}_key"]
    wrap = KEYS["wrap"]
    assert unwrap(root, "allod/wrap/v1", VaultId(place[0]), place[1], wrap["wrap"]) == wrap["plain"]


def test_the_key_file_unlocks() -> None:
    case = KEYS["key_file"]
    file = KeyFile.decode(case["file"].encode())
    assert file.unlock(case["passphrase"]) == RootKey(case["root"])
    assert file.encode() == case["file"].encode()


@pytest.mark.parametrize("case", SHAMIR["cases"], ids=lambda case: f"{case['t']} of {case['n']}")
def test_any_t_shares_combine(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen in combinations(case["shares"], case["t"]):
        assert shares.combine(chosen) == case["secret"]
    fixed = iter(case["coefficients"])
    monkeypatch.setattr(shares.random, "randbits", lambda _: int.from_bytes(next(fixed), "big"))
    assert shares.split(case["secret"], case["t"], case["n"]) == case["shares"]


@pytest.mark.parametrize("case", SHAMIR["refused"], ids=about)
def test_other_shares_do_not_combine(case: Any) -> None:
    with pytest.raises(InvalidInput):
        shares.combine(case["shares"])


@pytest.mark.parametrize("case", MERKLE["trees"], ids=lambda case: f"{len(case['leaves'])} leaves")
def test_trees_have_the_vectors_roots_and_proofs(case: Any) -> None:
    tree = merkle.Tree(case["leaves"])
    assert tree.root == case["root"]
    for index, leaf in enumerate(case["leaves"]):
        assert tree.proof(index) == case["proofs"][index]
        assert merkle.verify(case["root"], leaf, index, len(case["leaves"]), case["proofs"][index])


@pytest.mark.parametrize("case", MERKLE["refused"], ids=about)
def test_no_false_claim_about_a_tree_holds(case: Any) -> None:
    assert not merkle.verify(case["root"], case["leaf"], case["index"], case["size"], case["proof"])


# Sharing


def rfc_9180_open(private: bytes, envelope: bytes, info: bytes) -> bytes:
    """HPKE opened by hand: X-Wing (combiner SHA3-256), the key schedule of RFC 9180 §5.1, AES-256-GCM."""
    expanded = hashlib.shake_256(private).digest(96)
    mlkem, own = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    ct_m, ct_x, body = envelope[:1088], envelope[1088:1120], envelope[1120:]
    own_public = own.public_key().public_bytes_raw()
    ss_x = own.exchange(X25519PublicKey.from_public_bytes(ct_x))
    shared = hashlib.sha3_256(mlkem.decapsulate(ct_m) + ss_x + ct_x + own_public + rb"\.//^" + b"\\").digest()
    suite = b"HPKE" + bytes.fromhex("647a00010002")

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()

    def expand(key: bytes, label: bytes, more: bytes, length: int) -> bytes:
        labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + more
        return hmac.new(key, labelled + b"\1", hashlib.sha256).digest()[:length]

    schedule = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(shared, b"secret", b"")
    nonce = expand(secret, b"base_nonce", schedule, 12)
    return AESGCM(expand(secret, b"key", schedule, 32)).decrypt(nonce, body, b"")


SCOPE = Scope(
    HPKE["scope"]["chain_id"],
    Address(HPKE["scope"]["token"]),
    Address(HPKE["scope"]["owner"]),
    Asset(HPKE["scope"]["asset"]),
    VaultId(HPKE["scope"]["vault_id"]),
)


def test_x_wing_keys_are_the_drafts() -> None:
    assert hpke.hpke_public(HPKE["xwing"]["private"]).startswith(HPKE["xwing"]["public_starts"])


@pytest.mark.parametrize("keeper", HPKE["keepers"], ids=lambda keeper: f"keeper {keeper['i']}")
def test_a_keepers_share_opens_and_reaches_the_job(keeper: Any) -> None:
    scope, i, public = HPKE["scope"], keeper["i"], keeper["public"]
    object_id, job = ObjectId(HPKE["object_id"]), HPKE["job"]
    place = (scope["batch_id"], scope["t"], scope["n"], i, public)
    assert hpke.hpke_public(keeper["private"]) == public
    assert context("allod/seed/v1", SCOPE, ObjectId(bytes(32)), *place) == keeper["seed_info"]
    assert context("allod/release/v1", SCOPE, object_id, *place) + job["id"] == keeper["release_info"]
    for opened in (hpke.hpke_open, rfc_9180_open):
        assert opened(keeper["private"], keeper["sealed"], keeper["seed_info"]) == keeper["batch_seed"]
        assert opened(job["private"], keeper["release"], keeper["release_info"]) == keeper["share"]
    head = verify_head(HPKE["head"], HPKE["sig"], HPKE["manifest_pk"])
    row = verify_row(head, HPKE["row"], 0, [])
    assert row == ShareRow.decode(HPKE["row"])
    assert (row.cells[i - 1], row.hashes[i - 1]) == (keeper["cell"], keeper["hash"])
    assert open_share(keeper["private"], i, SCOPE, head, row) == keeper["share"]
    job_id = JobId(job["id"])
    assert open_release(job["private"], keeper["release"], SCOPE, head, row, i, public, job_id) == keeper["share"]


def test_any_two_keepers_give_the_key() -> None:
    object_id = ObjectId(HPKE["object_id"])
    assert dek_commitment(HPKE["dek"], SCOPE.vault_id, object_id) == HPKE["dek_commit"]
    for chosen in combinations([keeper["share"] for keeper in HPKE["keepers"]], 2):
        assert recover_dek(chosen, 2, HPKE["dek_commit"], SCOPE.vault_id, object_id) == HPKE["dek"]


# Documents


def test_a_vault_is_read_from_the_vectors_blocks() -> None:
    blocks = MemoryBlocks()
    for block in MANIFESTS["blocks"].values():
        blocks.add(DAG_CBOR, block)
    root = RootKey(MANIFESTS["root_key"])
    vault = Vault.restore(root.words(), blocks)
    assert (vault.vault_id, vault.manifest_pk, vault.sequence) == (MANIFESTS["vault_id"], MANIFESTS["manifest_pk"], 4)
    (entry,) = vault.entries()
    described = MANIFESTS["description"]
    assert (entry.name, entry.media_type, entry.size, entry.records, entry.broken, entry.notes) == tuple(
        described[name] for name in ("name", "type", "size", "records", "broken", "notes")
    )
    assert int(entry.added.timestamp()) == described["added"]
    assert vault.dek(ObjectId(MANIFESTS["object_id"])) == MANIFESTS["dek"]
    assert vault.records("terms") == [MANIFESTS["record"]["body"]]
    (header,) = vault.datasets()
    assert digest(header) == MANIFESTS["header_digest"]
    assert entry.datasets == (MANIFESTS["header_digest"],)
    assert read_manifests(blocks, header) == [MANIFESTS["blocks"]["object"]]
    assert read_card(blocks, header).card == {"title": "Notes"}


def test_the_code_writes_the_vectors_bytes() -> None:
    blocks = MANIFESTS["blocks"]
    assert ObjectManifest.decode(blocks["object"]).encode() == blocks["object"]
    assert DatasetHeader.decode(blocks["dataset"]).encode() == blocks["dataset"]
    head = VaultHead.decode(blocks["head"])
    assert head.sign(RootKey(MANIFESTS["root_key"]).signing_key()).encode() == blocks["head"]


@pytest.mark.parametrize("case", MANIFESTS["refused"], ids=about)
def test_a_wrong_document_is_refused(case: Any) -> None:
    decode = {
        "object": ObjectManifest.decode,
        "dataset": DatasetHeader.decode,
        "head": VaultHead.decode,
        "page": decode_page,
    }[case["as"]]
    with pytest.raises((InvalidInput, Corrupted)) as caught:
        decode(case["block"])
    assert isinstance(caught.value, AllodError)


# Readers


@pytest.mark.parametrize("case", READERS["cases"], ids=lambda case: str(case["name"]))
def test_files_read_as_the_vectors_say(case: Any) -> None:
    data = case["bytes"] if "bytes" in case else case["utf8"].encode()
    assert detect(data) == case["media_type"]
    found: list[dict[str, Any]] = []
    for record in read_records("", None, [data]):
        if isinstance(record, BrokenRecord):
            found.append({"place": record.place, "kind": "broken"})
        else:
            assert isinstance(record, Record)
            found.append({"place": record.place, **record.document()})
    assert found == case["records"]
