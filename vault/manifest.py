"""The signed and hashed documents of a vault: object manifests, dataset headers, the head and its pages.

All are deterministic dag-cbor blocks, so a document has one CID and a dataset one digest. A manifest ties an object
to its ciphertext (CID, size, key commitment); a header ties a dataset to its manifests by a Merkle root and to the
key that signs its share tables; the head, signed and numbered, is where a vault is found again from words and
blocks. Exact bytes in docs/format/30-vault.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.encoding import encode_cbor
from core.errors import Corrupted, InvalidInput
from core.ids import ObjectId, VaultId
from vault import merkle
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.documents import read_document
from vault.segments import segment_count

ALG: Final = "AES256_GCM_HKDF_1MB"
HEAD_CONTEXT: Final = b"allod/vault-head/v1\0"
PAGE: Final = 1024  # links in one page block, about 42 KB
PAGE_KIND: Final = "page"
MEMBERS_KIND: Final = "members"
WRAP_SIZE: Final = 60
MAX_META: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class ObjectManifest:
    """One sealed object. `size` is the ciphertext's, in bytes; `wrap` the DEK and `meta` its description, sealed."""

    vault_id: VaultId
    object_id: ObjectId
    payload: Cid
    size: int
    dek_commit: bytes
    wrap: bytes
    meta: bytes
    alg: str = ALG

    def encode(self) -> bytes:
        """The manifest's block."""
        return encode_cbor(
            {
                "v": 1,
                "kind": "object",
                "vault": self.vault_id,
                "object": self.object_id,
                "payload": self.payload.link,
                "size": self.size,
                "alg": self.alg,
                "dek_commit": self.dek_commit,
                "wrap": self.wrap,
                "meta": self.meta,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A manifest from its block, or `InvalidInput`."""
        names = ("vault", "object", "payload", "size", "alg", "dek_commit", "wrap", "meta")
        members = read_document(data, "object", names)
        if members.text("alg") != ALG:
            raise InvalidInput("The object is sealed by an algorithm that this program does not know.")
        payload, size = members.cid("payload"), members.number("size")
        if payload.codec not in (RAW, DAG_PB):
            raise InvalidInput("The object's payload is not a file.")
        try:
            segment_count(size)
        except Corrupted as error:
            raise InvalidInput(error.message, hint=error.hint) from None
        meta = members.octets("meta")
        if len(meta) > MAX_META:
            raise InvalidInput(f"The object's sealed description has {len(meta)} bytes; at most {MAX_META} are read.")
        return cls(
            vault_id=VaultId(members.octets("vault", 32)),
            object_id=ObjectId(members.octets("object", 32)),
            payload=payload,
            size=size,
            dek_commit=members.octets("dek_commit", 32),
            wrap=members.octets("wrap", WRAP_SIZE),
            meta=meta,
        )

    @property
    def cid(self) -> Cid:
        """The CID of the manifest's block."""
        return Cid.of(DAG_CBOR, self.encode())


@dataclass(frozen=True, slots=True)
class DatasetHeader:
    """An owner's immutable set of objects. `root` is over the manifests' sha256 in object_id order."""

    vault_id: VaultId
    manifest_pk: bytes
    root: bytes
    objects: int
    records: int
    card: Cid

    def encode(self) -> bytes:
        """The header's block: `asset` = keccak256(owner ‖ sha256 of these bytes)."""
        return encode_cbor(
            {
                "v": 1,
                "kind": "dataset",
                "vault": self.vault_id,
                "manifest_pk": self.manifest_pk,
                "root": self.root,
                "objects": self.objects,
                "records": self.records,
                "card": self.card.link,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A header from its block, or `InvalidInput`."""
        members = read_document(data, "dataset", ("vault", "manifest_pk", "root", "objects", "records", "card"))
        card = members.cid("card")
        if card.codec != DAG_CBOR:
            raise InvalidInput("The dataset's card is no document.")
        return cls(
            VaultId(members.octets("vault", 32)),
            members.octets("manifest_pk", 32),
            members.octets("root", 32),
            members.number("objects", 1, 2**32 - 1),
            members.number("records", 0, 2**53 - 1),
            card,
        )

    @property
    def cid(self) -> Cid:
        """The CID of the header's block."""
        return Cid.of(DAG_CBOR, self.encode())


def digest(header: DatasetHeader) -> bytes:
    """sha256 of the encoded header: what `register` puts on chain."""
    return hashlib.sha256(header.encode()).digest()


def dataset_leaf(manifest: bytes) -> bytes:
    """The Merkle leaf of an encoded object manifest."""
    return hashlib.sha256(manifest).digest()


def dataset_tree(manifests: Sequence[bytes]) -> merkle.Tree:
    """The tree over a dataset's encoded manifests; `InvalidInput` unless in object_id order, each once."""
    ids = [ObjectManifest.decode(manifest).object_id for manifest in manifests]
    if any(left >= right for left, right in pairwise(ids)):
        raise InvalidInput("A dataset's manifests come in the order of their object ids, each once.")
    return merkle.Tree([dataset_leaf(manifest) for manifest in manifests])


def in_dataset(header: DatasetHeader, manifest: bytes, index: int, proof: Sequence[bytes]) -> ObjectManifest:
    """The manifest, proved to be number `index` of the dataset; `Corrupted` if it is not."""
    decoded = ObjectManifest.decode(manifest)
    proved = merkle.verify(header.root, dataset_leaf(manifest), index, header.objects, proof)
    if not proved or decoded.vault_id != header.vault_id:
        raise Corrupted("The object is not part of this dataset.", hint="Take manifest and proof from its publisher.")
    return decoded


@dataclass(frozen=True, slots=True)
class VaultHead:
    """A vault at one moment: CIDs of pages of manifests and of sealed records, and of its dataset headers.

    `sequence` counts changes; the valid head of the highest sequence is the vault.
    """

    vault_id: VaultId
    manifest_pk: bytes
    sequence: int
    objects: tuple[Cid, ...]
    datasets: tuple[Cid, ...]
    records: tuple[Cid, ...]
    sig: bytes = b""

    def sign(self, key: Ed25519PrivateKey) -> Self:
        """This head with its signature; `key` must be the one that `manifest_pk` names."""
        if key.public_key().public_bytes_raw() != self.manifest_pk:
            raise InvalidInput("A head is signed by the key it names.")
        return replace(self, sig=key.sign(HEAD_CONTEXT + encode_cbor(self._unsigned())))

    def encode(self) -> bytes:
        """The head's block; signed heads only."""
        if len(self.sig) != 64:
            raise InvalidInput("Only a signed head is written.")
        return encode_cbor({**self._unsigned(), "sig": self.sig})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A head from its block: `InvalidInput` if it is none, `Corrupted` if its signature is wrong."""
        names = ("vault", "manifest_pk", "sequence", "objects", "datasets", "records", "sig")
        members = read_document(data, "head", names)
        head = cls(
            VaultId(members.octets("vault", 32)),
            members.octets("manifest_pk", 32),
            members.number("sequence", 1),
            members.cids("objects"),
            members.cids("datasets"),
            members.cids("records"),
            members.octets("sig", 64),
        )
        try:
            public = Ed25519PublicKey.from_public_bytes(head.manifest_pk)
            public.verify(head.sig, HEAD_CONTEXT + encode_cbor(head._unsigned()))
        except (InvalidSignature, ValueError):
            raise Corrupted("A vault head has a wrong signature.", hint="Fetch it again from another copy.") from None
        return head

    def _unsigned(self) -> dict[str, Any]:
        return {
            "v": 1,
            "kind": "head",
            "vault": self.vault_id,
            "manifest_pk": self.manifest_pk,
            "sequence": self.sequence,
            "objects": [cid.link for cid in self.objects],
            "datasets": [cid.link for cid in self.datasets],
            "records": [cid.link for cid in self.records],
        }


def encode_pages(cids: Iterable[Cid], kind: str = PAGE_KIND) -> list[bytes]:
    """Blocks of up to 1,024 links each. Appending changes the last page only, so the others keep their CIDs.

    A vault's own pages are replaced and deleted as it changes; a dataset's (`MEMBERS_KIND`) stay. The kinds keep two
    lists of the same CIDs from being one block.
    """
    links = [cid.link for cid in cids]
    return [
        encode_cbor({"v": 1, "kind": kind, "cids": links[start : start + PAGE]}) for start in range(0, len(links), PAGE)
    ]


def decode_page(data: bytes, kind: str = PAGE_KIND) -> tuple[Cid, ...]:
    """The links of a page of this kind, or `InvalidInput`."""
    cids = read_document(data, kind, ("cids",)).cids("cids")
    if not 0 < len(cids) <= PAGE:
        raise InvalidInput(f"A page has between 1 and {PAGE} links.")
    return cids
