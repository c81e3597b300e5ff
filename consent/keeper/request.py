"""A release request: one consent, up to 64 of its objects, and everything a keeper needs to check them itself.

The job's runner signs it for one keeper (EIP-712 ReleaseRequest over sha256 of the encoded body).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from consent.fields import UINT64_MAX, constant, exact_list, exact_map, integer, octets
from consent.grant import Consent
from consent.keeper.wire import any_octets, read, write
from consent.order import Order
from consent.typed import release_request_digest
from core.ids import ConsentId

MAX_OBJECTS = 64
MAX_PROOF = 64  # a tree of 2^64 leaves
_OBJECT = ("manifest", "index", "proof", "row", "row_index", "row_proof")
_RELEASE = (
    "v", "kind", "keeper", "committee", "order", "consent", "terms", "recipe", "header", "table", "table_sig",
    "objects",
)  # fmt: skip


@dataclass(frozen=True)
class SharedObject:
    """One object of a request: its encoded manifest and that it is number `index` of the dataset, its row of the share
    table and that it is number `row_index` there."""

    manifest: bytes
    index: int
    proof: tuple[bytes, ...]
    row: bytes
    row_index: int
    row_proof: tuple[bytes, ...]

    def fields(self) -> dict[str, Any]:
        """As it stands in a request."""
        values = (self.manifest, self.index, list(self.proof), self.row, self.row_index, list(self.row_proof))
        return dict(zip(_OBJECT, values, strict=True))


@dataclass(frozen=True)
class ReleaseRequest:
    """One consent and up to 64 of its objects, as any keeper of the committee `committee_id` is asked for them.

    `terms`, `recipe`, `header` and `table` are the encoded documents; `table_sig` is the owner's signature of the
    share table. `objects` are in ascending order of their object ids.
    """

    committee_id: bytes
    order: Order
    consent: Consent
    terms: bytes
    recipe: bytes
    header: bytes
    table: bytes
    table_sig: bytes
    objects: tuple[SharedObject, ...]

    def body(self, keeper: int) -> bytes:
        """The encoded body for keeper number `keeper`."""
        return write(
            "release",
            keeper=keeper,
            committee=self.committee_id,
            order=self.order.encode(),
            consent=self.consent.encode(),
            terms=self.terms,
            recipe=self.recipe,
            header=self.header,
            table=self.table,
            table_sig=self.table_sig,
            objects=[item.fields() for item in self.objects],
        )


def release_digest(order: Order, consent_id: ConsentId, keeper: int, body: bytes) -> bytes:
    """What the job's runner signs over an encoded release body."""
    digest = sha256(body).digest()
    return release_request_digest(order.chain_id, order.escrow, order.job_id, consent_id, keeper, digest)


def read_release(body: bytes) -> tuple[int, ReleaseRequest]:
    """The keeper's number and the request in an encoded body."""
    fields = read(body, _RELEASE[1:], "The release request")
    constant(fields["kind"], "release", "The request's kind")
    rows = exact_list(fields["objects"], "The request's objects", at_least=1, at_most=MAX_OBJECTS)
    request = ReleaseRequest(
        committee_id=octets(fields["committee"], "The request's committee", 32),
        order=Order.decode(any_octets(fields["order"], "The request's order")),
        consent=Consent.decode(any_octets(fields["consent"], "The request's consent")),
        terms=any_octets(fields["terms"], "The request's terms"),
        recipe=any_octets(fields["recipe"], "The request's recipe"),
        header=any_octets(fields["header"], "The request's header"),
        table=any_octets(fields["table"], "The request's share table"),
        table_sig=octets(fields["table_sig"], "The share table's signature", 64),
        objects=tuple(_read_object(row) for row in rows),
    )
    return integer(fields["keeper"], "The request's keeper", at_least=1, at_most=255), request


def _read_object(value: Any) -> SharedObject:
    fields = exact_map(value, _OBJECT, "An object of the request")
    return SharedObject(
        manifest=any_octets(fields["manifest"], "A manifest"),
        index=integer(fields["index"], "An object's number", at_most=UINT64_MAX),
        proof=_hashes(fields["proof"], "An object's proof"),
        row=any_octets(fields["row"], "A row"),
        row_index=integer(fields["row_index"], "A row's number", at_most=UINT64_MAX),
        row_proof=_hashes(fields["row_proof"], "A row's proof"),
    )


def _hashes(value: Any, what: str) -> tuple[bytes, ...]:
    return tuple(octets(item, what, 32) for item in exact_list(value, what, at_most=MAX_PROOF))
