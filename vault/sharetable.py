"""The share table of one dataset: a signed head, and one row an object under its Merkle root.

A keeper gets the head, its signature and single rows with proofs; nobody needs the whole table to check a row. On
IPFS a table is one root block that links pages of rows. Exact bytes in docs/format/40-sharing.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput, NotFound
from core.ids import Asset, ObjectId
from vault import merkle
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, Cid
from vault.documents import read_document, read_map
from vault.shares import SHARE, check_threshold

SIGN_CONTEXT = b"allod/share-table/v1\0"
ENVELOPE = 1168  # an HPKE envelope around a 32-byte seed
CELL = SHARE + 16
PAGE_BYTES = 1 << 20  # rows in one page block; a block holds at most 2 MiB


@dataclass(frozen=True, slots=True)
class ShareHead:
    """What a table's signature covers. `sealed` holds E_1 … E_n; `rows_root` is over the encoded rows."""

    asset: Asset
    batch_id: bytes
    committee_id: bytes
    t: int
    n: int
    sealed: tuple[bytes, ...]
    rows_root: bytes
    rows: int
    sequence: int

    def encode(self) -> bytes:
        """The bytes that are signed."""
        return encode_cbor(
            {
                "v": 1,
                "kind": "shares",
                "asset": self.asset,
                "batch": self.batch_id,
                "committee": self.committee_id,
                "t": self.t,
                "n": self.n,
                "sealed": list(self.sealed),
                "rows_root": self.rows_root,
                "rows": self.rows,
                "sequence": self.sequence,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A head from its bytes, or `InvalidInput`. Its signature is checked by `verify_head`."""
        names = ("asset", "batch", "committee", "t", "n", "sealed", "rows_root", "rows", "sequence")
        members = read_document(data, "shares", names)
        t, n = members.number("t", 2, 255), members.number("n", 2, 255)
        check_threshold(t, n)
        sealed = members.chunks("sealed", ENVELOPE)
        if len(sealed) != n:
            raise InvalidInput(f"A share table for {n} keepers has {n} sealed seeds.")
        return cls(
            Asset(members.octets("asset", 32)),
            members.octets("batch", 16),
            members.octets("committee", 32),
            t,
            n,
            sealed,
            members.octets("rows_root", 32),
            members.number("rows", 1, 2**32 - 1),
            members.number("sequence"),
        )


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One object's cells, and the hashes its shares must meet, in keeper order."""

    object_id: ObjectId
    cells: tuple[bytes, ...]
    hashes: tuple[bytes, ...]

    def encode(self) -> bytes:
        """The row's bytes: a leaf of the table's tree."""
        return encode_cbor({"object": self.object_id, "cells": list(self.cells), "hashes": list(self.hashes)})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A row from its bytes, or `InvalidInput`."""
        members = read_map(decode_cbor(data), "share row", ("object", "cells", "hashes"))
        row = cls(ObjectId(members.octets("object", 32)), members.chunks("cells", CELL), members.chunks("hashes", 32))
        if len(row.cells) != len(row.hashes) or not 2 <= len(row.cells) <= 255:
            raise InvalidInput("A share row has a cell and a hash for each keeper.")
        return row


def verify_head(data: bytes, sig: bytes, manifest_pk: bytes) -> ShareHead:
    """The head that `manifest_pk` signed; `Corrupted` if it did not."""
    try:
        Ed25519PublicKey.from_public_bytes(manifest_pk).verify(sig, SIGN_CONTEXT + data)
    except (InvalidSignature, ValueError):
        raise Corrupted(
            "The share table is not signed by the dataset's manifest key.", hint="Take it from its publisher."
        ) from None
    return ShareHead.decode(data)


def verify_row(head: ShareHead, data: bytes, index: int, proof: Sequence[bytes]) -> ShareRow:
    """The row, proved to be number `index` of the table; `Corrupted` if it is not."""
    if not merkle.verify(head.rows_root, data, index, head.rows, proof):
        raise Corrupted("The row is not part of the share table.", hint="Take it from its publisher.")
    row = ShareRow.decode(data)
    if len(row.cells) != head.n:
        raise Corrupted("The row has not one cell for each keeper.", hint="Take it from its publisher.")
    return row


@dataclass(frozen=True)
class ShareTable:
    """A whole table: the signed head's bytes, the signature, all rows in object_id order."""

    head_bytes: bytes
    sig: bytes
    rows: tuple[bytes, ...]

    @cached_property
    def head(self) -> ShareHead:
        """The head, decoded."""
        return ShareHead.decode(self.head_bytes)

    def row(self, object_id: ObjectId) -> tuple[bytes, int, list[bytes]]:
        """The object's row with its index and inclusion proof; `NotFound` if the table has none."""
        index = bisect_left(self._ids, object_id)
        if index == len(self._ids) or self._ids[index] != object_id:
            raise NotFound("The share table has no row for that object.", hint="Publish a dataset that holds it.")
        return self.rows[index], index, self._tree.proof(index)

    def check(self, manifest_pk: bytes) -> ShareHead:
        """The head, once signature, order and root of all rows hold; `Corrupted` otherwise."""
        head = verify_head(self.head_bytes, self.sig, manifest_pk)
        ordered = all(left < right for left, right in pairwise(self._ids))
        widths = all(len(row.cells) == head.n for row in self._decoded)
        if not ordered or not widths or len(self.rows) != head.rows or self._tree.root != head.rows_root:
            raise Corrupted("The rows are not those of the signed share table.", hint="Fetch it again.")
        return head

    def store(self, blocks: BlockStore) -> Cid:
        """Put the table into `blocks` (not flushed) and return its root."""
        pages = [
            blocks.add(DAG_CBOR, encode_cbor({"v": 1, "kind": "share-rows", "rows": rows}))
            for rows in _paged(self.rows)
        ]
        return blocks.add(
            DAG_CBOR,
            encode_cbor(
                {
                    "v": 1,
                    "kind": "share-table",
                    "head": self.head_bytes,
                    "sig": self.sig,
                    "pages": [page.link for page in pages],
                }
            ),
        )

    @classmethod
    def load(cls, blocks: BlockStore, root: Cid) -> Self:
        """The table under `root`, its form checked; `check` proves whose it is."""
        members = read_document(blocks.get(root), "share-table", ("head", "sig", "pages"))
        rows: list[bytes] = []
        count = ShareHead.decode(members.octets("head")).rows
        for page in members.cids("pages"):
            rows.extend(read_document(blocks.get(page), "share-rows", ("rows",)).chunks("rows"))
            if len(rows) > count:
                break
        table = cls(members.octets("head"), members.octets("sig", 64), tuple(rows))
        if count != len(rows):
            raise Corrupted("The share table has rows missing, or too many.", hint="Fetch it again from another copy.")
        return table

    @cached_property
    def _decoded(self) -> list[ShareRow]:
        return [ShareRow.decode(row) for row in self.rows]

    @cached_property
    def _ids(self) -> list[ObjectId]:
        return [row.object_id for row in self._decoded]

    @cached_property
    def _tree(self) -> merkle.Tree:
        return merkle.Tree(self.rows)


def build_table(head: ShareHead, rows: Sequence[ShareRow], signing_key: Ed25519PrivateKey) -> ShareTable:
    """The signed table of these rows, which are in object_id order; the head's root and count are set here."""
    encoded = tuple(row.encode() for row in rows)
    data = replace(head, rows_root=merkle.root(encoded), rows=len(encoded)).encode()
    ShareHead.decode(data)  # what is signed can be read
    return ShareTable(data, signing_key.sign(SIGN_CONTEXT + data), encoded)


def _paged(rows: Sequence[bytes]) -> Iterator[list[bytes]]:
    page: list[bytes] = []
    size = 0
    for row in rows:
        if page and size + len(row) > PAGE_BYTES:
            yield page
            page, size = [], 0
        page.append(row)
        size += len(row)
    yield page
