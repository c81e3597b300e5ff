"""Sharing data keys among keepers, and handing a released share to one job.

    E_i    = HPKE.seal(PK_i, seed_i, info = ctx("allod/seed/v1", object_id = 0))        once a batch and keeper
    cell_i = AES-256-GCM(HKDF(seed_i, salt = batch_id, info = ctx("allod/cell/v1")), nonce 0, share_i)
    h_i    = sha256(ctx("allod/share/v1") ‖ share_i)
    R_i    = HPKE.seal(job_pk, share_i, info = ctx("allod/release/v1") ‖ job_id)

The context `ctx` carries chain, token contract, owner, asset, vault, object, batch, t, n, i and the keeper's key, so
a cell opens only where all of them are what its owner meant. The nonce may be zero because each cell key seals one
share: `_Batch` draws fresh seeds, refuses an object twice and lives only inside `share_objects`; an interrupted
batch is gone with its seeds. Exact bytes in docs/format/40-sharing.md (DESIGN §4.4).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Corrupted, InvalidInput
from core.ids import Address, Asset, JobId, ObjectId, VaultId
from vault.hpke import PUBLIC_KEY, hpke_generate, hpke_open, hpke_public, hpke_seal
from vault.rootkey import hkdf
from vault.segments import dek_commitment
from vault.shares import SECRET, SHARE, check_threshold, combine, split
from vault.sharetable import ShareHead, ShareRow, ShareTable, build_table

__all__ = [
    "Scope",
    "ShareHead",
    "ShareRow",
    "ShareTable",
    "context",
    "hpke_generate",
    "hpke_public",
    "open_release",
    "open_share",
    "open_shares",
    "recover_dek",
    "seal_release",
    "share_objects",
]

SEED_LABEL = "allod/seed/v1"
CELL_LABEL = "allod/cell/v1"
SHARE_LABEL = "allod/share/v1"
RELEASE_LABEL = "allod/release/v1"

_ZERO_NONCE = bytes(12)
_NO_OBJECT = ObjectId(bytes(32))


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data, under which consent contract: a keeper fills it from the consent that it checked on chain."""

    chain_id: int
    token: Address
    owner: Address
    asset: Asset
    vault_id: VaultId

    def __post_init__(self) -> None:
        widths = (len(self.token), len(self.owner), len(self.asset), len(self.vault_id))
        if widths != (20, 20, 32, 32) or not 0 <= self.chain_id < 2**64:
            raise InvalidInput("A sharing scope has a chain id, two addresses, an asset and a vault id.")


def context(
    label: str, scope: Scope, object_id: ObjectId, batch_id: bytes, t: int, n: int, i: int, keeper_pk: bytes
) -> bytes:
    """DESIGN §4.4's `ctx`: every field has a fixed length, so no two contexts share an encoding."""
    if len(object_id) != 32 or len(batch_id) != 16 or len(keeper_pk) != PUBLIC_KEY or not 1 <= i <= n:
        raise InvalidInput("A sharing context has an object, a batch and one of the committee's keepers.")
    check_threshold(t, n)
    fields = (scope.chain_id.to_bytes(8, "big"), scope.token, scope.owner, scope.asset, scope.vault_id, object_id)
    return b"".join(
        (label.encode("ascii"), b"\0", *fields, batch_id, bytes((t, n, i)), hashlib.sha256(keeper_pk).digest())
    )


class _Batch:
    """Fresh seeds for one committee and one dataset. Never stored, never continued, never used for two datasets."""

    def __init__(self, scope: Scope, t: int, keeper_keys: Sequence[bytes]) -> None:
        self._scope, self._t, self._keys = scope, t, keeper_keys
        self.batch_id = secrets.token_bytes(16)
        self._seeds = [secrets.token_bytes(32) for _ in keeper_keys]
        self._split: set[ObjectId] = set()

    def envelopes(self) -> tuple[bytes, ...]:
        """E_1 … E_n."""
        return tuple(
            hpke_seal(key, seed, self._context(SEED_LABEL, _NO_OBJECT, i))
            for i, (key, seed) in enumerate(zip(self._keys, self._seeds, strict=True), 1)
        )

    def row(self, object_id: ObjectId, dek: bytes) -> ShareRow:
        """The object's cells and hashes; a second time for one object would repeat a nonce and is refused."""
        if object_id in self._split or object_id == _NO_OBJECT:
            raise InvalidInput("A batch never splits an object twice.")
        self._split.add(object_id)
        cells, hashes = [], []
        for i, (seed, share) in enumerate(zip(self._seeds, split(dek, self._t, len(self._keys)), strict=True), 1):
            key = hkdf(seed, self.batch_id, self._context(CELL_LABEL, object_id, i))
            cells.append(AESGCM(key).encrypt(_ZERO_NONCE, share, None))
            hashes.append(hashlib.sha256(self._context(SHARE_LABEL, object_id, i) + share).digest())
        return ShareRow(object_id, tuple(cells), tuple(hashes))

    def _context(self, label: str, object_id: ObjectId, i: int) -> bytes:
        return context(label, self._scope, object_id, self.batch_id, self._t, len(self._keys), i, self._keys[i - 1])


def share_objects(
    scope: Scope,
    deks: Mapping[ObjectId, bytes],
    committee_id: bytes,
    t: int,
    keeper_keys: Sequence[bytes],
    signing_key: Ed25519PrivateKey,
    sequence: int,
) -> ShareTable:
    """Split each object's DEK among the keepers, t-of-n, in one new batch, and sign the table.

    `keeper_keys` are the committee's HPKE keys in the order of their indices 1 … n, all distinct; `signing_key` is
    the dataset's manifest key; `sequence` numbers the tables of one asset.
    """
    check_threshold(t, len(keeper_keys))
    if len(set(keeper_keys)) != len(keeper_keys):
        raise InvalidInput("Two keepers of the committee have the same key.", hint="Choose another committee.")
    if not deks or any(len(dek) != SECRET for dek in deks.values()):
        raise InvalidInput("At least one object is shared, each by its 32-byte data key.")
    batch = _Batch(scope, t, keeper_keys)
    rows = [batch.row(object_id, deks[object_id]) for object_id in sorted(deks)]
    head = ShareHead(
        scope.asset, batch.batch_id, committee_id, t, len(keeper_keys), batch.envelopes(), b"", len(rows), sequence
    )
    return build_table(head, rows, signing_key)


def open_shares(keeper_private: bytes, i: int, scope: Scope, head: ShareHead, rows: Sequence[ShareRow]) -> list[bytes]:
    """Keeper `i`'s shares of the rows' objects, in their order. `scope` holds values the keeper checked itself.

    The caller has verified the table's signature and each row's proof. `Corrupted` if seed or cell do not open under
    this scope, or if a share misses its hash in its row.
    """
    for row in rows:
        _check_place(head, row, i)
    if head.asset != scope.asset:
        raise Corrupted("The share table belongs to another dataset.", hint="Ask for the consent's own dataset.")
    keeper_pk = hpke_public(keeper_private)
    seed = hpke_open(keeper_private, head.sealed[i - 1], _context(SEED_LABEL, scope, head, _NO_OBJECT, i, keeper_pk))
    shares = []
    for row in rows:
        key = hkdf(seed, head.batch_id, _context(CELL_LABEL, scope, head, row.object_id, i, keeper_pk))
        try:
            share = AESGCM(key).decrypt(_ZERO_NONCE, row.cells[i - 1], None)
        except InvalidTag:
            raise Corrupted(
                f"Keeper {i}'s cell for this object does not open under this consent.",
                hint="The owner shares the dataset again: `allod dataset publish`.",
                keeper=i,
            ) from None
        _check_share(scope, head, row, i, keeper_pk, share)
        shares.append(share)
    return shares


def open_share(keeper_private: bytes, i: int, scope: Scope, head: ShareHead, row: ShareRow) -> bytes:
    """Keeper `i`'s share of one object."""
    return open_shares(keeper_private, i, scope, head, [row])[0]


def seal_release(
    job_pk: bytes, share: bytes, scope: Scope, head: ShareHead, row: ShareRow, i: int, keeper_pk: bytes, job_id: JobId
) -> bytes:
    """R_i: keeper `i`'s share, sealed to one job. It opens under that job's id and key only."""
    _check_share(scope, head, row, i, keeper_pk, share)
    return hpke_seal(job_pk, share, _release_info(scope, head, row, i, keeper_pk, job_id))


def open_release(
    job_private: bytes,
    released: bytes,
    scope: Scope,
    head: ShareHead,
    row: ShareRow,
    i: int,
    keeper_pk: bytes,
    job_id: JobId,
) -> bytes:
    """The share inside R_i. `Corrupted` names keeper `i` if it does not open for this job or misses its hash."""
    _check_place(head, row, i)
    try:
        share = hpke_open(job_private, released, _release_info(scope, head, row, i, keeper_pk, job_id))
    except Corrupted:
        raise Corrupted(
            f"Keeper {i}'s reply does not open for this job.", hint="Ask another keeper of the committee.", keeper=i
        ) from None
    _check_share(scope, head, row, i, keeper_pk, share)
    return share


def recover_dek(shares: Sequence[bytes], t: int, dek_commit: bytes, vault_id: VaultId, object_id: ObjectId) -> bytes:
    """The object's data key from at least `t` shares, checked against its manifest's commitment."""
    if len(shares) < t:
        raise InvalidInput(f"{len(shares)} shares are too few: this object needs {t}.", hint="Ask more keepers.")
    dek = combine(shares)
    if not hmac.compare_digest(dek_commitment(dek, vault_id, object_id), dek_commit):
        raise Corrupted(
            "The shares do not make this object's key.",
            hint="The owner shares the dataset again.",
            object=object_id.hex(),
        )
    return dek


def _context(label: str, scope: Scope, head: ShareHead, object_id: ObjectId, i: int, keeper_pk: bytes) -> bytes:
    return context(label, scope, object_id, head.batch_id, head.t, head.n, i, keeper_pk)


def _release_info(scope: Scope, head: ShareHead, row: ShareRow, i: int, keeper_pk: bytes, job_id: JobId) -> bytes:
    if len(job_id) != 32:
        raise InvalidInput("A job id has 32 bytes.")
    return _context(RELEASE_LABEL, scope, head, row.object_id, i, keeper_pk) + job_id


def _check_place(head: ShareHead, row: ShareRow, i: int) -> None:
    if not 1 <= i <= head.n or len(row.cells) != head.n:
        raise InvalidInput(f"The share table has no keeper {i} in this row.")


def _check_share(scope: Scope, head: ShareHead, row: ShareRow, i: int, keeper_pk: bytes, share: bytes) -> None:
    _check_place(head, row, i)
    expected = hashlib.sha256(_context(SHARE_LABEL, scope, head, row.object_id, i, keeper_pk) + share).digest()
    if len(share) != SHARE or share[-1] != i or not hmac.compare_digest(expected, row.hashes[i - 1]):
        raise Corrupted(
            f"Keeper {i}'s share is not the one that the owner made.",
            hint="Ask another keeper of the committee.",
            keeper=i,
        )
