"""Sharing a data key: a cell or a release opens where its owner meant it to, and nowhere else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.encoding import encode_cbor
from core.errors import Corrupted, InvalidInput, NotFound
from core.ids import Address, Asset, JobId, ObjectId, VaultId
from vault import sharetable, sharing
from vault.blocks import MemoryBlocks
from vault.hpke import hpke_generate, hpke_open, hpke_public, hpke_seal
from vault.segments import dek_commitment
from vault.sharetable import ShareHead, ShareRow, ShareTable, verify_head, verify_row
from vault.sharing import Scope, context, open_release, open_share, recover_dek, seal_release, share_objects

T, N = 2, 3
SIGNER = Ed25519PrivateKey.from_private_bytes(b"m" * 32)
SIGNER_PK = SIGNER.public_key().public_bytes_raw()
KEEPERS = [hpke_generate() for _ in range(N)]
KEYS = [public for _, public in KEEPERS]
JOB, JOB_PK = hpke_generate()
JOB_ID = JobId(b"J" * 32)
SCOPE = Scope(31337, Address(b"T" * 20), Address(b"W" * 20), Asset(b"A" * 32), VaultId(b"V" * 32))
FIRST, SECOND = ObjectId(b"1" * 32), ObjectId(b"2" * 32)
DEKS = {SECOND: b"\x22" * 32, FIRST: b"\x11" * 32}


def share_all(scope: Scope = SCOPE, deks: dict[ObjectId, bytes] = DEKS) -> ShareTable:
    return share_objects(scope, deks, b"C" * 32, T, KEYS, SIGNER, 1)


TABLE = share_all()


def row_of(table: ShareTable, object_id: ObjectId) -> ShareRow:
    return ShareRow.decode(table.row(object_id)[0])


def test_each_keeper_opens_its_own_share_and_any_t_make_the_key() -> None:
    for object_id, dek in DEKS.items():
        row = row_of(TABLE, object_id)
        shares = [open_share(KEEPERS[i - 1][0], i, SCOPE, TABLE.head, row) for i in (1, 2, 3)]
        commit = dek_commitment(dek, SCOPE.vault_id, object_id)
        for chosen in combinations(shares, T):
            assert recover_dek(chosen, T, commit, SCOPE.vault_id, object_id) == dek


def test_a_released_share_reaches_the_job_unchanged() -> None:
    row = row_of(TABLE, FIRST)
    share = open_share(KEEPERS[0][0], 1, SCOPE, TABLE.head, row)
    released = seal_release(JOB_PK, share, SCOPE, TABLE.head, row, 1, KEYS[0], JOB_ID)
    assert open_release(JOB, released, SCOPE, TABLE.head, row, 1, KEYS[0], JOB_ID) == share


FOREIGN_SCOPES = {
    "another chain": replace(SCOPE, chain_id=1),
    "another contract": replace(SCOPE, token=Address(b"t" * 20)),
    "another owner": replace(SCOPE, owner=Address(b"w" * 20)),
    "another dataset": replace(SCOPE, asset=Asset(b"a" * 32)),
    "another vault": replace(SCOPE, vault_id=VaultId(b"v" * 32)),
}


@pytest.mark.parametrize("scope", FOREIGN_SCOPES.values(), ids=FOREIGN_SCOPES.keys())
def test_a_cell_does_not_open_under_a_foreign_consent(scope: Scope) -> None:
    head = replace(TABLE.head, asset=scope.asset)  # an attacker writes any head; the seed and cell decide
    with pytest.raises(Corrupted):
        open_share(KEEPERS[0][0], 1, scope, head, row_of(TABLE, FIRST))


def test_a_table_of_another_dataset_is_refused_before_anything_opens() -> None:
    with pytest.raises(Corrupted, match="another dataset"):
        open_share(KEEPERS[0][0], 1, FOREIGN_SCOPES["another dataset"], TABLE.head, row_of(TABLE, FIRST))


FOREIGN_HEADS = {
    "another batch": {"batch_id": b"b" * 16},
    "another t": {"t": 3},
    "another n": {"n": 4, "sealed": (*TABLE.head.sealed, TABLE.head.sealed[0])},
}


@pytest.mark.parametrize("change", FOREIGN_HEADS.values(), ids=FOREIGN_HEADS.keys())
def test_a_cell_does_not_open_under_another_head(change: dict[str, object]) -> None:
    head = replace(TABLE.head, **change)  # type: ignore[arg-type]
    row = row_of(TABLE, FIRST)
    if head.n != N:
        row = replace(row, cells=(*row.cells, row.cells[0]), hashes=(*row.hashes, row.hashes[0]))
    with pytest.raises(Corrupted):
        open_share(KEEPERS[0][0], 1, SCOPE, head, row)


def test_the_seed_alone_is_not_enough_the_cell_is_bound_to_everything_too() -> None:
    """Were the seed to open under a foreign value, the cell's key would still be another."""
    row = row_of(TABLE, FIRST)
    seed = hpke_open(
        KEEPERS[0][0], TABLE.head.sealed[0], context("allod/seed/v1", SCOPE, ObjectId(bytes(32)), *place(1))
    )
    right = sharing.hkdf(seed, TABLE.head.batch_id, context("allod/cell/v1", SCOPE, FIRST, *place(1)))
    foreign = [
        sharing.hkdf(seed, TABLE.head.batch_id, context("allod/cell/v1", scope, FIRST, *place(1)))
        for scope in FOREIGN_SCOPES.values()
    ]
    foreign.append(sharing.hkdf(seed, TABLE.head.batch_id, context("allod/cell/v1", SCOPE, SECOND, *place(1))))
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    assert len(AESGCM(right).decrypt(bytes(12), row.cells[0], None)) == 33
    for key in foreign:
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(bytes(12), row.cells[0], None)


def place(i: int) -> tuple[bytes, int, int, int, bytes]:
    return TABLE.head.batch_id, T, N, i, KEYS[i - 1]


def test_the_cell_of_one_object_does_not_open_under_another() -> None:
    """The confused deputy: a victim's cell offered in a row of one's own object."""
    forged = replace(row_of(TABLE, FIRST), object_id=SECOND)
    with pytest.raises(Corrupted):
        open_share(KEEPERS[0][0], 1, SCOPE, TABLE.head, forged)


def test_a_victims_row_in_a_strangers_table_does_not_open() -> None:
    stranger = replace(SCOPE, owner=Address(b"S" * 20), asset=Asset(b"S" * 32), vault_id=VaultId(b"S" * 32))
    own = share_all(stranger, {ObjectId(b"3" * 32): b"\x33" * 32})
    for head in (own.head, replace(TABLE.head, asset=stranger.asset)):
        for scope in (stranger, replace(stranger, vault_id=SCOPE.vault_id)):
            with pytest.raises(Corrupted):
                open_share(KEEPERS[0][0], 1, scope, head, row_of(TABLE, FIRST))


def test_another_index_or_another_keeper_opens_nothing() -> None:
    row = row_of(TABLE, FIRST)
    for private, i in ((KEEPERS[0][0], 2), (KEEPERS[1][0], 1), (hpke_generate()[0], 1)):
        with pytest.raises(Corrupted):
            open_share(private, i, SCOPE, TABLE.head, row)
    swapped = replace(TABLE.head, sealed=(TABLE.head.sealed[1], TABLE.head.sealed[0], TABLE.head.sealed[2]))
    moved = replace(row, cells=(row.cells[1], row.cells[0], row.cells[2]), hashes=(row.hashes[1], *row.hashes[1:]))
    with pytest.raises(Corrupted):
        open_share(KEEPERS[1][0], 1, SCOPE, swapped, moved)
    for i in (0, 4, -1):
        with pytest.raises(InvalidInput):
            open_share(KEEPERS[0][0], i, SCOPE, TABLE.head, row)


def test_a_share_that_misses_its_hash_is_named() -> None:
    row = row_of(TABLE, FIRST)
    forged = replace(row, hashes=(bytes(32), *row.hashes[1:]))
    with pytest.raises(Corrupted, match="Keeper 1's share"):
        open_share(KEEPERS[0][0], 1, SCOPE, TABLE.head, forged)


def released(i: int = 1) -> tuple[ShareRow, bytes]:
    row = row_of(TABLE, FIRST)
    share = open_share(KEEPERS[i - 1][0], i, SCOPE, TABLE.head, row)
    return row, seal_release(JOB_PK, share, SCOPE, TABLE.head, row, i, KEYS[i - 1], JOB_ID)


@pytest.mark.parametrize("scope", FOREIGN_SCOPES.values(), ids=FOREIGN_SCOPES.keys())
def test_a_release_does_not_open_under_a_foreign_consent(scope: Scope) -> None:
    row, reply = released()
    with pytest.raises(Corrupted, match="Keeper 1's reply"):
        open_release(JOB, reply, scope, TABLE.head, row, 1, KEYS[0], JOB_ID)


@pytest.mark.parametrize("change", FOREIGN_HEADS.values(), ids=FOREIGN_HEADS.keys())
def test_a_release_does_not_open_under_another_head(change: dict[str, object]) -> None:
    row, reply = released()
    head = replace(TABLE.head, **change)  # type: ignore[arg-type]
    if head.n != N:
        row = replace(row, cells=(*row.cells, row.cells[0]), hashes=(*row.hashes, row.hashes[0]))
    with pytest.raises(Corrupted, match="Keeper 1's reply"):
        open_release(JOB, reply, SCOPE, head, row, 1, KEYS[0], JOB_ID)


def test_a_release_is_useless_to_another_job_object_or_index() -> None:
    row, reply = released()
    with pytest.raises(Corrupted):
        open_release(JOB, reply, SCOPE, TABLE.head, row, 1, KEYS[0], JobId(b"K" * 32))
    with pytest.raises(Corrupted):
        open_release(hpke_generate()[0], reply, SCOPE, TABLE.head, row, 1, KEYS[0], JOB_ID)
    with pytest.raises(Corrupted):
        open_release(JOB, reply, SCOPE, TABLE.head, replace(row, object_id=SECOND), 1, KEYS[0], JOB_ID)
    with pytest.raises(Corrupted):
        open_release(JOB, reply, SCOPE, TABLE.head, row, 2, KEYS[0], JOB_ID)
    with pytest.raises(Corrupted):
        open_release(JOB, reply, SCOPE, TABLE.head, row, 1, KEYS[1], JOB_ID)


def test_a_corrupt_share_from_a_keeper_is_named_and_never_combined() -> None:
    """A lying keeper seals another share correctly; only the owner's hash tells."""
    row = row_of(TABLE, FIRST)
    share = open_share(KEEPERS[1][0], 2, SCOPE, TABLE.head, row)
    lie = bytes((share[0] ^ 1,)) + share[1:]
    info = context("allod/release/v1", SCOPE, FIRST, *place(2)) + JOB_ID
    with pytest.raises(Corrupted, match="Keeper 2's share") as caught:
        open_release(JOB, hpke_seal(JOB_PK, lie, info), SCOPE, TABLE.head, row, 2, KEYS[1], JOB_ID)
    assert caught.value.detail["keeper"] == 2
    with pytest.raises(Corrupted, match="Keeper 2's share"):
        seal_release(JOB_PK, lie, SCOPE, TABLE.head, row, 2, KEYS[1], JOB_ID)


def test_fewer_than_t_shares_never_make_the_key() -> None:
    table = share_objects(SCOPE, DEKS, b"C" * 32, 3, KEYS, SIGNER, 1)
    row = row_of(table, FIRST)
    commit = dek_commitment(DEKS[FIRST], SCOPE.vault_id, FIRST)
    shares = [open_share(KEEPERS[i - 1][0], i, SCOPE, table.head, row) for i in (1, 2, 3)]
    with pytest.raises(InvalidInput, match="too few"):
        recover_dek(shares[:2], 3, commit, SCOPE.vault_id, FIRST)
    with pytest.raises(Corrupted, match="do not make"):  # even who lies about t gets another key, and sees it
        recover_dek(shares[:2], 2, commit, SCOPE.vault_id, FIRST)
    assert recover_dek(shares, 3, commit, SCOPE.vault_id, FIRST) == DEKS[FIRST]
    with pytest.raises(Corrupted):
        recover_dek(shares, 3, commit, SCOPE.vault_id, SECOND)


def test_every_batch_has_fresh_seeds_shares_and_cells() -> None:
    one, two = share_all(), share_all()
    assert one.head.batch_id != two.head.batch_id
    assert not set(one.head.sealed) & set(two.head.sealed)
    a, b = row_of(one, FIRST), row_of(two, FIRST)
    assert not set(a.cells) & set(b.cells)
    assert not set(a.hashes) & set(b.hashes)
    with pytest.raises(Corrupted):  # a row of one batch is nothing in the other
        open_share(KEEPERS[0][0], 1, SCOPE, one.head, b)


def test_a_batch_never_splits_an_object_twice() -> None:
    batch = sharing._Batch(SCOPE, T, KEYS)
    batch.row(FIRST, b"\x11" * 32)
    batch.row(SECOND, b"\x22" * 32)
    with pytest.raises(InvalidInput, match="twice"):
        batch.row(FIRST, b"\x11" * 32)


def test_a_table_is_sorted_signed_and_proves_its_rows() -> None:
    head = TABLE.check(SIGNER_PK)
    assert (head.t, head.n, head.rows, head.sequence, head.committee_id) == (T, N, 2, 1, b"C" * 32)
    for index, object_id in enumerate((FIRST, SECOND)):
        data, at, proof = TABLE.row(object_id)
        assert at == index
        assert verify_row(verify_head(TABLE.head_bytes, TABLE.sig, SIGNER_PK), data, at, proof).object_id == object_id
        with pytest.raises(Corrupted):
            verify_row(head, data, 1 - at, proof)
        forged = replace(ShareRow.decode(data), hashes=(bytes(32),) * N).encode()
        with pytest.raises(Corrupted):
            verify_row(head, forged, at, proof)
    with pytest.raises(NotFound):
        TABLE.row(ObjectId(b"9" * 32))


def test_an_unsigned_or_foreign_signed_table_is_refused() -> None:
    stranger = Ed25519PrivateKey.generate()
    bare = stranger.sign(TABLE.head_bytes)
    foreign = stranger.sign(b"allod/share-table/v1\0" + TABLE.head_bytes)
    unbound = SIGNER.sign(TABLE.head_bytes)  # the right key, but not for a share table
    for sig in (bytes(64), bare, foreign, unbound, b"", TABLE.sig[:-1]):
        with pytest.raises(Corrupted, match="not signed"):
            verify_head(TABLE.head_bytes, sig, SIGNER_PK)
    changed = replace(TABLE.head, sequence=2).encode()
    with pytest.raises(Corrupted):
        verify_head(changed, TABLE.sig, SIGNER_PK)


def test_a_stored_table_comes_back_and_a_cut_one_does_not() -> None:
    blocks = MemoryBlocks()
    root = TABLE.store(blocks)
    assert ShareTable.load(blocks, root) == TABLE
    cut = ShareTable(TABLE.head_bytes, TABLE.sig, TABLE.rows[:1])
    with pytest.raises(Corrupted):
        ShareTable.load(blocks, cut.store(blocks))
    with pytest.raises(Corrupted):
        ShareTable(TABLE.head_bytes, TABLE.sig, TABLE.rows[::-1]).check(SIGNER_PK)


def test_a_large_table_spreads_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharetable, "PAGE_BYTES", 1000)
    table = share_all(deks={ObjectId(i.to_bytes(32, "big")): bytes(32) for i in range(1, 12)})
    blocks = MemoryBlocks()
    root = table.store(blocks)
    assert ShareTable.load(blocks, root) == table
    assert len(list(blocks.cids())) > 4


def test_nonsense_is_not_shared() -> None:
    for deks in ({}, {FIRST: b"short"}, {ObjectId(bytes(32)): bytes(32)}, {ObjectId(b"x"): bytes(32)}):
        with pytest.raises(InvalidInput):
            share_all(deks=deks)
    with pytest.raises(InvalidInput, match="same key"):
        share_objects(SCOPE, DEKS, b"C" * 32, T, [KEYS[0], KEYS[0], KEYS[1]], SIGNER, 1)
    with pytest.raises(InvalidInput):
        share_objects(SCOPE, DEKS, b"C" * 32, 1, KEYS, SIGNER, 1)
    with pytest.raises(InvalidInput):
        share_objects(SCOPE, DEKS, b"C", T, KEYS, SIGNER, 1)
    with pytest.raises(InvalidInput):
        Scope(-1, SCOPE.token, SCOPE.owner, SCOPE.asset, SCOPE.vault_id)
    with pytest.raises(InvalidInput):
        Scope(1, Address(b"short"), SCOPE.owner, SCOPE.asset, SCOPE.vault_id)


def test_the_context_has_the_designs_layout() -> None:
    data = context("allod/cell/v1", SCOPE, FIRST, b"B" * 16, 2, 3, 1, KEYS[0])
    expected = b"allod/cell/v1\0" + (31337).to_bytes(8, "big") + b"T" * 20 + b"W" * 20 + b"A" * 32 + b"V" * 32
    expected += b"1" * 32 + b"B" * 16 + bytes((2, 3, 1)) + hashlib.sha256(KEYS[0]).digest()
    assert data == expected


def test_heads_and_rows_of_another_form_are_refused() -> None:
    head = {"v": 1, "kind": "shares", "asset": b"A" * 32}
    for data in (encode_cbor(head), b"", encode_cbor([]), TABLE.head_bytes + b"\0", json.dumps({"v": 1}).encode()):
        with pytest.raises(InvalidInput):
            ShareHead.decode(data)
    row = row_of(TABLE, FIRST)
    for wrong in (
        replace(row, cells=row.cells[:2]),
        replace(row, cells=(row.cells[0][:-1], *row.cells[1:])),
        replace(row, hashes=(b"", *row.hashes[1:])),
        replace(row, object_id=ObjectId(b"short")),
        replace(row, cells=(), hashes=()),
    ):
        with pytest.raises(InvalidInput):
            ShareRow.decode(wrong.encode())
    for change in ({"t": 4}, {"t": 1}, {"n": 2}, {"rows": 0}, {"batch_id": b""}):
        with pytest.raises(InvalidInput):
            ShareHead.decode(replace(TABLE.head, **change).encode())  # type: ignore[arg-type]


def test_an_hpke_envelope_opens_with_its_key_and_info_only() -> None:
    private, public = hpke_generate()
    assert hpke_public(private) == public
    assert len(public) == 1216
    envelope = hpke_seal(public, b"x" * 32, b"info")
    assert len(envelope) == 1168
    assert hpke_open(private, envelope, b"info") == b"x" * 32
    for key, data, info in (
        (hpke_generate()[0], envelope, b"info"),
        (private, envelope, b"other"),
        (private, envelope[:-1], b"info"),
        (private, envelope + b"\0", b"info"),
        (private, b"", b"info"),
        (private, bytes((envelope[0] ^ 1,)) + envelope[1:], b"info"),
    ):
        with pytest.raises(Corrupted):
            hpke_open(key, data, info)
    with pytest.raises(InvalidInput):
        hpke_seal(public[:-1], b"x", b"")
    with pytest.raises(InvalidInput):
        hpke_open(private[:-1], envelope, b"info")
