"""A publication: the one public block from which whoever holds a dataset's consent finds all that a job needs.

It links header, terms and share table; the header's card lists the manifests. Nothing in it is trusted: header and
terms are hashed on chain, the manifests are proved by the header, the table is signed. Exact bytes in
docs/format/60-consent.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Self

from consent.terms import Terms
from consent.typed import keccak
from core.encoding import encode_cbor
from core.errors import Corrupted
from core.ids import Address, Asset
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, RAW, Cid
from vault.datasets import read_manifests
from vault.documents import read_document
from vault.manifest import DatasetHeader, ObjectManifest, dataset_tree
from vault.sharetable import ShareTable


def asset_of(owner: Address, header: bytes) -> Asset:
    """keccak256(owner ‖ sha256(header)): the dataset's id on chain."""
    return Asset(keccak(owner + sha256(header).digest()))


@dataclass(frozen=True)
class Publication:
    """One dataset as its owner published it: the header's bytes, terms, manifests in object_id order, share table."""

    header_bytes: bytes
    terms_bytes: bytes
    manifests: tuple[bytes, ...]
    shares: ShareTable

    @cached_property
    def header(self) -> DatasetHeader:
        """The header, decoded."""
        return DatasetHeader.decode(self.header_bytes)

    @cached_property
    def terms(self) -> Terms:
        """The terms, decoded."""
        return Terms.decode(self.terms_bytes)

    @cached_property
    def object_manifests(self) -> tuple[ObjectManifest, ...]:
        """The manifests, decoded."""
        return tuple(ObjectManifest.decode(manifest) for manifest in self.manifests)

    def store(self, blocks: BlockStore) -> Cid:
        """Put it into `blocks`, which hold card and manifests already, and return its CID (not flushed)."""
        fields = {
            "v": 1,
            "kind": "publication",
            "header": blocks.add(DAG_CBOR, self.header_bytes).link,
            "terms": blocks.add(RAW, self.terms_bytes).link,
            "shares": self.shares.store(blocks).link,
        }
        return blocks.add(DAG_CBOR, encode_cbor(fields))

    @classmethod
    def load(cls, blocks: BlockStore, root: Cid) -> Self:
        """The publication under `root`, its form checked; `check` proves whose it is."""
        members = read_document(blocks.get(root), "publication", ("header", "terms", "shares"))
        header = blocks.get(members.cid("header"))
        return cls(
            header,
            blocks.get(members.cid("terms")),
            tuple(read_manifests(blocks, DatasetHeader.decode(header))),
            ShareTable.load(blocks, members.cid("shares")),
        )

    def check(self, owner: Address, asset: Asset) -> None:
        """`Corrupted` unless header, manifests and share table all belong to this asset of this owner."""
        if asset_of(owner, self.header_bytes) != asset:
            raise Corrupted("The header is not that of the dataset on chain.", hint="Fetch it from its publisher.")
        tree = dataset_tree(self.manifests)
        if tree.root != self.header.root or len(self.manifests) != self.header.objects:
            raise Corrupted("The manifests are not those of the dataset.", hint="Fetch them from its publisher.")
        if any(manifest.vault_id != self.header.vault_id for manifest in self.object_manifests):
            raise Corrupted("A manifest belongs to another vault.", hint="Fetch it from its publisher.")
        if self.shares.check(self.header.manifest_pk).asset != asset:
            raise Corrupted("The share table is another dataset's.", hint="Fetch it from its publisher.")
