"""Datasets as blocks: a header, the public card it links, and pages with the CIDs of the dataset's manifests.

Everything in here is public once published. Whoever has a header's bytes and the blocks can list the dataset and
prove that the list is the one that the header's root commits to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from core.encoding import encode_cbor
from core.errors import Corrupted, InvalidInput
from core.ids import VaultId
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, Cid
from vault.documents import read_document
from vault.manifest import MEMBERS_KIND, DatasetHeader, dataset_tree, decode_page, encode_pages

MAX_CARD = 256 << 10


@dataclass(frozen=True)
class Card:
    """What the owner says in public about a dataset, and where its manifests are listed."""

    card: dict[str, Any]
    pages: tuple[Cid, ...]

    def encode(self) -> bytes:
        """The card's block."""
        links = [page.link for page in self.pages]
        return encode_cbor({"v": 1, "kind": "card", "card": self.card, "pages": links})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A card from its block, or `InvalidInput`."""
        members = read_document(data, "card", ("card", "pages"))
        return cls(members.document("card"), members.cids("pages"))


def store_dataset(
    blocks: BlockStore,
    vault_id: VaultId,
    manifest_pk: bytes,
    manifests: Sequence[bytes],
    records: int,
    card: Mapping[str, Any],
) -> DatasetHeader:
    """Put card, pages and header into `blocks` (not flushed). The same input makes the same header."""
    tree = dataset_tree(manifests)
    if not tree.size:
        raise InvalidInput("A dataset has at least one object.", hint="Name the objects to publish.")
    pages = encode_pages((Cid.of(DAG_CBOR, manifest) for manifest in manifests), MEMBERS_KIND)
    block = Card(dict(card), tuple(blocks.add(DAG_CBOR, page) for page in pages)).encode()
    if len(block) > MAX_CARD:
        raise InvalidInput(f"The card has {len(block)} bytes; at most {MAX_CARD} are published.", hint="Shorten it.")
    header = DatasetHeader(vault_id, manifest_pk, tree.root, tree.size, records, blocks.add(DAG_CBOR, block))
    blocks.add(DAG_CBOR, header.encode())
    return header


def read_card(blocks: BlockStore, header: DatasetHeader) -> Card:
    """The dataset's card."""
    return Card.decode(blocks.get(header.card))


def member_cids(blocks: BlockStore, header: DatasetHeader) -> list[Cid]:
    """The CIDs of the dataset's manifests as its card lists them; `Corrupted` as soon as they are too many."""
    found: list[Cid] = []
    for page in read_card(blocks, header).pages:
        found += decode_page(blocks.get(page), MEMBERS_KIND)
        if len(found) > header.objects:
            raise Corrupted("The card lists more objects than the dataset has.", hint="Fetch the dataset again.")
    return found


def read_manifests(blocks: BlockStore, header: DatasetHeader) -> list[bytes]:
    """The dataset's encoded manifests in object_id order; `Corrupted` unless they are those of the header's root."""
    manifests = [blocks.get(cid) for cid in member_cids(blocks, header)]
    if len(manifests) != header.objects or dataset_tree(manifests).root != header.root:
        raise Corrupted("The listed objects are not those of the dataset.", hint="Fetch the dataset again.")
    return manifests
