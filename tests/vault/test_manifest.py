"""Manifests, headers and heads: one encoding each, signatures that mean what they say."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput
from core.ids import ObjectId, VaultId
from vault import merkle
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.manifest import (
    PAGE,
    DatasetHeader,
    ObjectManifest,
    VaultHead,
    dataset_leaf,
    dataset_tree,
    decode_page,
    digest,
    encode_pages,
    in_dataset,
)

VAULT = VaultId(b"V" * 32)
SIGNER = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
PK = SIGNER.public_key().public_bytes_raw()
CARD = Cid.of(DAG_CBOR, b"card")


def manifest(number: int = 1, vault_id: VaultId = VAULT) -> ObjectManifest:
    object_id = ObjectId(number.to_bytes(32, "big"))
    return ObjectManifest(vault_id, object_id, Cid.of(RAW, b"p"), 57, b"c" * 32, b"w" * 60, b"sealed description")


HEADER = DatasetHeader(VAULT, PK, b"r" * 32, 3, 40, CARD)
HEAD = VaultHead(VAULT, PK, 7, (Cid.of(DAG_CBOR, b"a"),), (CARD,), ()).sign(SIGNER)


def test_documents_come_back_as_they_went() -> None:
    assert ObjectManifest.decode(manifest().encode()) == manifest()
    assert DatasetHeader.decode(HEADER.encode()) == HEADER
    assert VaultHead.decode(HEAD.encode()) == HEAD
    assert manifest().cid == Cid.of(DAG_CBOR, manifest().encode())
    assert HEADER.cid.digest == digest(HEADER) == hashlib.sha256(HEADER.encode()).digest()


def changed(data: bytes, **members: Any) -> bytes:
    value = decode_cbor(data)
    for name, content in members.items():
        if content is ...:
            del value[name]
        else:
            value[name] = content
    return encode_cbor(value)


@pytest.mark.parametrize(
    "members",
    [
        {"v": 2},
        {"v": True},
        {"kind": "dataset"},
        {"kind": ...},
        {"more": 1},
        {"wrap": ...},
        {"vault": b"short"},
        {"object": "text"},
        {"payload": b"bytes"},
        {"payload": CARD.link},
        {"size": 0},
        {"size": 55},
        {"size": -1},
        {"size": "57"},
        {"size": (1 << 20) + 1},
        {"alg": "AES256_GCM_HKDF_4KB"},
        {"dek_commit": b"c" * 31},
        {"wrap": b"w" * 61},
        {"meta": None},
        {"meta": b"m" * 65537},
    ],
    ids=str,
)
def test_a_manifest_of_another_form_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ObjectManifest.decode(changed(manifest().encode(), **members))


@pytest.mark.parametrize(
    "members",
    [
        {"objects": 0},
        {"objects": 2**32},
        {"records": -1},
        {"records": 2**53},
        {"root": b""},
        {"card": Cid.of(RAW, b"").link},
        {"manifest_pk": b"k"},
        {"extra": None},
    ],
    ids=str,
)
def test_a_header_of_another_form_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        DatasetHeader.decode(changed(HEADER.encode(), **members))


def test_bytes_with_anything_behind_them_are_refused() -> None:
    for decode, data in (
        (ObjectManifest.decode, manifest().encode()),
        (DatasetHeader.decode, HEADER.encode()),
        (VaultHead.decode, HEAD.encode()),
        (decode_page, encode_pages([CARD])[0]),
    ):
        for wrong in (data + b"\0", data[:-1], b""):
            with pytest.raises(InvalidInput):
                decode(wrong)


def test_payloads_are_files() -> None:
    assert ObjectManifest.decode(replace(manifest(), payload=Cid.of(DAG_PB, b"x")).encode()).payload.codec == DAG_PB


def test_a_dataset_proves_its_objects_and_no_others() -> None:
    encoded = [manifest(number).encode() for number in (1, 2, 3)]
    tree = dataset_tree(encoded)
    assert tree.root == merkle.root([hashlib.sha256(data).digest() for data in encoded])
    header = replace(HEADER, root=tree.root)
    for index, data in enumerate(encoded):
        assert in_dataset(header, data, index, tree.proof(index)) == manifest(index + 1)
        with pytest.raises(Corrupted):
            in_dataset(header, data, (index + 1) % 3, tree.proof(index))
    with pytest.raises(Corrupted):
        in_dataset(header, manifest(4).encode(), 0, tree.proof(0))
    with pytest.raises(Corrupted):
        in_dataset(replace(header, objects=4), encoded[2], 2, tree.proof(2))


def test_an_object_of_another_vault_is_in_no_dataset_of_this_one() -> None:
    foreign = manifest(1, VaultId(b"X" * 32)).encode()
    header = replace(HEADER, root=merkle.root([dataset_leaf(foreign)]), objects=1)
    with pytest.raises(Corrupted):
        in_dataset(header, foreign, 0, [])


def test_a_dataset_lists_each_object_once_in_order() -> None:
    for numbers in ((2, 1), (1, 1), (1, 3, 2)):
        with pytest.raises(InvalidInput, match="order"):
            dataset_tree([manifest(number).encode() for number in numbers])


@pytest.mark.parametrize(
    "members",
    [{"sequence": 8}, {"objects": []}, {"datasets": []}, {"records": [CARD.link]}, {"vault": b"X" * 32}],
    ids=str,
)
def test_a_changed_head_has_a_wrong_signature(members: dict[str, Any]) -> None:
    with pytest.raises(Corrupted, match="wrong signature"):
        VaultHead.decode(changed(HEAD.encode(), **members))


def test_a_head_signed_by_another_key_or_for_another_purpose_is_refused() -> None:
    stranger = Ed25519PrivateKey.generate()
    with pytest.raises(InvalidInput):
        HEAD.sign(stranger)
    body = encode_cbor({k: v for k, v in decode_cbor(HEAD.encode()).items() if k != "sig"})
    for sig in (SIGNER.sign(body), stranger.sign(b"allod/vault-head/v1\0" + body)):
        with pytest.raises(Corrupted):
            VaultHead.decode(changed(HEAD.encode(), sig=sig))
    with pytest.raises(InvalidInput):
        replace(HEAD, sig=b"").encode()
    for members in ({"sequence": 0}, {"objects": CARD.link}, {"objects": [b"x"]}, {"sig": b""}):
        with pytest.raises(InvalidInput):
            VaultHead.decode(changed(HEAD.encode(), **members))


def test_pages_hold_any_number_of_links_and_appending_keeps_full_ones() -> None:
    cids = [Cid.of(RAW, i.to_bytes(4, "big")) for i in range(2 * PAGE + 1)]
    pages = encode_pages(cids)
    assert [cid for page in pages for cid in decode_page(page)] == cids
    assert encode_pages(cids[:-1]) == pages[:2]
    assert encode_pages([]) == []
    for links in ([], [cid.link for cid in cids[: PAGE + 1]]):
        with pytest.raises(InvalidInput):
            decode_page(encode_cbor({"v": 1, "kind": "page", "cids": links}))
