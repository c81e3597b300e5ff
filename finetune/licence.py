"""What a trainer holds of one consent: the owner's signed and hashed documents, and that they belong together.

All of it is public or pseudonymous; nothing here opens data. `check` walks asset → header → manifests and share
table, so that whoever holds a checked licence knows which ciphertexts the owner meant, and under whose key shares
were made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from consent.grant import Consent
from consent.market.publication import Publication
from consent.terms import Counts, Terms
from core.encoding import encode_cbor
from core.errors import Corrupted
from core.ids import ObjectId
from vault.documents import read_document
from vault.manifest import DatasetHeader, ObjectManifest, dataset_tree
from vault.merkle import Tree
from vault.sharetable import ShareTable


@dataclass(frozen=True)
class Licence:
    """One consent with its terms, its dataset's header and manifests (in object_id order), and a share table."""

    consent: Consent
    terms_bytes: bytes
    header_bytes: bytes
    table: ShareTable
    manifests: tuple[bytes, ...]

    @classmethod
    def of(cls, consent: Consent, publication: Publication) -> Self:
        """The licence of a consent, from what its owner published."""
        shares = publication.shares
        return cls(consent, publication.terms_bytes, publication.header_bytes, shares, publication.manifests)

    @cached_property
    def terms(self) -> Terms:
        """The terms, decoded."""
        return Terms.decode(self.terms_bytes)

    @cached_property
    def header(self) -> DatasetHeader:
        """The dataset's header, decoded."""
        return DatasetHeader.decode(self.header_bytes)

    @cached_property
    def objects(self) -> tuple[ObjectManifest, ...]:
        """The dataset's objects, in object_id order."""
        return tuple(ObjectManifest.decode(manifest) for manifest in self.manifests)

    @cached_property
    def tree(self) -> Tree:
        """The tree over the manifests, whose root the header has."""
        return dataset_tree(self.manifests)

    @property
    def counts(self) -> Counts:
        """What the header says the dataset holds."""
        return Counts(self.header.objects, self.header.records)

    @property
    def object_ids(self) -> tuple[ObjectId, ...]:
        """The ids of the dataset's objects, ascending."""
        return tuple(item.object_id for item in self.objects)

    def check(self) -> None:
        """`Corrupted`, naming the link that is broken, unless every document follows from the consent."""
        if self.terms.hash != self.consent.terms:
            raise Corrupted("These are not the terms that the consent names.")
        publication = Publication(self.header_bytes, self.terms_bytes, self.manifests, self.table)
        publication.check(self.consent.owner, self.consent.asset)

    def encode(self) -> bytes:
        """As it lies in a job's folder."""
        return encode_cbor(
            {
                "v": 1,
                "kind": "licence",
                "consent": self.consent.encode(),
                "terms": self.terms_bytes,
                "header": self.header_bytes,
                "table": self.table.head_bytes,
                "table_sig": self.table.sig,
                "rows": list(self.table.rows),
                "manifests": list(self.manifests),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse what `encode` writes, else `InvalidInput`; `check` says whether it holds together."""
        names = ("consent", "terms", "header", "table", "table_sig", "rows", "manifests")
        members = read_document(data, "licence", names)
        table = ShareTable(members.octets("table"), members.octets("table_sig", 64), members.chunks("rows"))
        return cls(
            Consent.decode(members.octets("consent")),
            members.octets("terms"),
            members.octets("header"),
            table,
            members.chunks("manifests"),
        )
