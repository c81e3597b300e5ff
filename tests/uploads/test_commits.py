"""A vault on the server is what its newest signed head needs: whole, or not committed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from allod.depot import Depot, NoRoom, public_blocks
from allod.vaults import Vaults, prove
from core.database import transaction
from core.encoding import encode_cbor
from core.errors import Conflict, Corrupted, Denied, InvalidInput, NotFound
from core.ids import Address, ObjectId, VaultId
from tests.uploads.conftest import Owner, Server, car
from vault import unixfs
from vault.blocks import MemoryBlocks
from vault.carstore import CarStore
from vault.catalogue import Catalogue, PublicationRow
from vault.cid import DAG_CBOR, RAW, Cid
from vault.manifest import DatasetHeader, ObjectManifest, VaultHead, encode_pages
from vault.reachable import Incomplete
from vault.rootkey import RootKey
from vault.vault import Vault

VECTORS = Path(__file__).parents[1] / "vectors"
CARD = {"title": "Notes", "description": "", "schema": [], "sample": ""}
MIB = 1 << 20


def stored(server: Server) -> set[Cid]:
    return set(server.store.cids())


def test_what_was_sealed_and_pushed_opens_from_the_servers_blocks_with_the_words_alone(
    server: Server, ada: Owner
) -> None:
    data = os.urandom(3 * MIB)
    entry = ada.vault.add_bytes("film.bin", data)
    ada.vault.add_bytes("notes.txt", b"The ferry leaves at six.\n")
    ada.vault.save_record("note", {"said": "yes"})
    ada.push()
    again = Vault.restore(ada.root.words(), server.store)
    assert again.head_cid == ada.vault.head_cid == ada.kept().head
    assert b"".join(again.open(entry.object_id)) == data
    assert again.records("note") == [{"said": "yes"}]
    assert [one.name for one in again.entries()] == ["film.bin", "notes.txt"]


def test_the_server_holds_exactly_what_the_head_needs_and_counts_it(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(2 * MIB))
    ada.push()
    assert stored(server) == set(ada.blocks.cids())
    kept = ada.kept()
    assert kept.blocks == len(stored(server))
    assert kept.bytes == sum(len(server.store.get(cid)) for cid in stored(server))


def test_a_second_push_sends_only_what_is_new(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(4 * MIB))
    ada.push()
    assert ada.push() == 0
    ada.vault.add_bytes("b.txt", b"small")
    assert ada.push() == 4  # payload, manifest, page and head
    assert stored(server) == set(ada.blocks.cids())


def test_a_committed_object_is_not_walked_again(server: Server, ada: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ada.vault.add_bytes("a.bin", os.urandom(4 * MIB))
    ada.push()
    known = {entry.manifest, ada.vault.manifest(entry.object_id).payload}
    ada.vault.add_bytes("b.txt", b"small")
    read: list[Cid] = []
    get = server.store.get
    monkeypatch.setattr(server.store, "get", lambda cid: read.append(cid) or get(cid))
    ada.push()
    assert read
    assert known.isdisjoint(read)


def test_a_removed_object_leaves_the_server_and_what_replaced_a_head_or_page_too(server: Server, ada: Owner) -> None:
    gone = ada.vault.add_bytes("gone.bin", os.urandom(3 * MIB))
    ada.vault.add_bytes("kept.bin", os.urandom(MIB))
    ada.push()
    ada.vault.remove(gone.object_id)
    ada.push()
    assert stored(server) == set(ada.blocks.cids())
    assert ada.kept().blocks == len(stored(server))
    assert ada.kept().bytes == sum(len(server.store.get(cid)) for cid in stored(server))


def test_a_payload_that_two_objects_share_stays_until_both_are_gone(server: Server, ada: Owner) -> None:
    entry = ada.vault.add_bytes("a.bin", os.urandom(2 * MIB))
    manifest = ada.vault.manifest(entry.object_id)
    twin = replace(manifest, meta=manifest.meta[::-1])
    _list(ada, [manifest, twin])
    _list(ada, [twin])
    assert server.store.has(twin.payload)
    assert not server.store.has(manifest.cid)
    _list(ada, [])
    assert not server.store.has(twin.payload)
    assert ada.kept().blocks == 1  # the head


def _list(owner: Owner, manifests: list[ObjectManifest]) -> None:
    """Commit a head that lists these."""
    pages = [owner.blocks.add(DAG_CBOR, page) for page in encode_pages(one.cid for one in manifests)]
    for one in manifests:
        owner.blocks.add(DAG_CBOR, one.encode())
    _commit_head(owner, objects=tuple(pages))


def _commit_head(owner: Owner, **fields: object) -> None:
    now = owner.server.vaults.of(owner.account).sequence if owner.pushed else 0
    head = VaultHead(owner.vault_id, owner.root.manifest_pk(), now + 1, (), (), ())
    head = replace(head, **fields).sign(owner.root.signing_key())
    cid = owner.blocks.add(DAG_CBOR, head.encode())
    owner.send_all()
    owner.commit(cid, owner.pushed)
    owner.pushed = cid


def test_a_head_with_blocks_missing_is_refused_and_names_them(server: Server, ada: Owner) -> None:
    entry = ada.vault.add_bytes("a.bin", os.urandom(3 * MIB))
    head = ada.vault.head_cid
    assert head is not None
    with pytest.raises(Incomplete) as caught:
        ada.commit(head, None)
    assert caught.value.detail["missing"] == [str(head)]
    payload = ada.vault.manifest(entry.object_id).payload
    for lacking in [cid for cid in ada.blocks.cids() if cid != head]:
        fresh = [cid for cid in ada.blocks.cids() if cid != lacking]
        server.depot.take(ada.account, car({cid: ada.blocks.get(cid) for cid in fresh}))
        with server.depot.writing():
            server.depot.delete([lacking])
        with pytest.raises(Incomplete) as caught:
            ada.commit(head, None)
        assert str(lacking) in caught.value.detail["missing"]
    with pytest.raises(NotFound):
        ada.kept()
    assert server.store.has(payload)
    assert not server.store.has(head)
    ada.push()
    assert ada.kept().head == head


def test_a_damaged_block_is_asked_for_again_and_healed(server: Server, ada: Owner) -> None:
    entry = ada.vault.add_bytes("a.bin", os.urandom(3 * MIB))
    root = ada.vault.manifest(entry.object_id).payload
    ada.send_all()
    segment = next(server.store._path.glob("*.car"))
    data = segment.read_bytes()
    segment.write_bytes(data.replace(ada.blocks.get(root), bytes(len(ada.blocks.get(root)))))
    assert ada.push() == 1
    assert server.store.get(root) == ada.blocks.get(root)


def test_the_newest_head_must_be_named_and_is_told(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    phone = Owner(server, ada.account, ada.root, ada.vault_id)
    for cid in ada.blocks.cids():
        phone.blocks.put(cid, ada.blocks.get(cid))
    phone.vault.refresh()
    phone.pushed = ada.pushed
    phone.vault.add_bytes("b.txt", b"two")
    phone.push()
    ada.vault.add_bytes("c.txt", b"three")
    with pytest.raises(Conflict) as caught:
        ada.push()
    assert caught.value.detail["head"] == str(phone.vault.head_cid)
    assert ada.kept().head == phone.vault.head_cid
    # The head that lost is not among the blocks, where it would be a second newest one.
    assert Vault.restore(ada.root.words(), server.store).head_cid == phone.vault.head_cid


def test_an_old_head_is_not_taken_again(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    old = ada.vault.head_cid
    assert old is not None
    ada.push()
    block = ada.blocks.get(old)
    ada.vault.add_bytes("b.txt", b"two")
    ada.push()
    ada.send(car({old: block}))
    for previous in (None, old):
        with pytest.raises(Conflict):
            ada.commit(old, previous)
    with pytest.raises(InvalidInput, match="change 2"):
        ada.commit(old, ada.pushed)
    assert ada.kept().sequence == 2


def test_the_same_commit_again_changes_nothing(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    before, blocks = ada.kept(), stored(server)
    told: list[object] = []
    again = server.vaults.commit(ada.account, before.head, None, None, lambda _session, kept: told.append(kept))
    assert again.vault == before
    assert (again.dropped, told, stored(server)) == ((), [], blocks)


def test_what_is_removed_although_published_is_kept_while_its_dataset_is_listed(server: Server, ada: Owner) -> None:
    entry = ada.vault.add_bytes("a.txt", b"one")
    payload = ada.vault.manifest(entry.object_id).payload
    header, _ = ada.vault.build_dataset([entry.object_id], CARD)
    ada.push()
    ada.vault.remove(entry.object_id, even_if_published=True)
    ada.push()
    assert server.store.has(payload)
    ada.vault.forget_dataset(header.cid.digest)
    ada.push()
    assert not server.store.has(payload)
    assert not server.store.has(header.card)
    assert stored(server) == {ada.vault.head_cid}


def publication_of(owner: Owner, objects: list[ObjectId]) -> tuple[DatasetHeader, Cid]:
    """A publication among the owner's blocks, as far as its public documents go."""
    header, _ = owner.vault.build_dataset(objects, CARD)
    rows = owner.blocks.add(DAG_CBOR, encode_cbor({"v": 1, "kind": "share-rows", "rows": [b"row"]}))
    table = {"v": 1, "kind": "share-table", "head": b"head", "sig": bytes(64), "pages": [rows.link]}
    fields = {
        "v": 1,
        "kind": "publication",
        "header": header.cid.link,
        "terms": owner.blocks.add(RAW, b"terms").link,
        "shares": owner.blocks.add(DAG_CBOR, encode_cbor(table)).link,
    }
    return header, owner.blocks.add(DAG_CBOR, encode_cbor(fields))


def test_what_an_owner_has_published_is_bounded_and_the_same_again_costs_nothing(
    server: Server, ada: Owner, bob: Owner
) -> None:
    for one in (ada, bob):
        one.vault.add_bytes("a.txt", b"one")
        one.vault.add_bytes("b.txt", b"two")
    objects = [entry.object_id for entry in ada.vault.entries()]
    first, second = (publication_of(ada, [one])[1] for one in objects)
    other = publication_of(bob, [entry.object_id for entry in bob.vault.entries()])[1]
    ada.send_all()
    bob.send_all()
    size = sum(public_blocks(ada.blocks, first).values())
    small = Depot(server.engine, server.store, limit=64 << 20, published=size + size // 2)
    small.check_publication(ada.account, first)
    row = PublicationRow(asset=b"a" * 32, terms=b"t" * 32, owner=ada.account, cid=str(first), sequence=1)
    with transaction(server.engine) as session:
        session.add(row)
    small.check_publication(ada.account, first)  # before it was kept, and after
    small.check_publication(ada.account, first)
    with pytest.raises(NoRoom, match="published datasets would take") as caught:
        small.check_publication(ada.account, second)
    assert caught.value.detail["limit"] == size + size // 2
    small.check_publication(bob.account, other)


def test_the_public_documents_of_a_published_dataset_stay_whatever_its_owner_removes(
    server: Server, ada: Owner
) -> None:
    entry = ada.vault.add_bytes("a.txt", b"one")
    payload = ada.vault.manifest(entry.object_id).payload
    header, publication = publication_of(ada, [entry.object_id])
    ada.send_all()
    ada.push()
    row = PublicationRow(asset=b"a" * 32, terms=b"t" * 32, owner=ada.account, cid=str(publication), sequence=1)
    with transaction(server.engine) as session:
        session.add(row)
    public = set(public_blocks(ada.blocks, publication))
    ada.vault.remove(entry.object_id, even_if_published=True)
    ada.vault.forget_dataset(header.cid.digest)
    ada.push()
    server.clock.pass_by(25)
    server.depot.collect()
    assert len(public) == 8  # publication, header, terms, card, members, manifest, table, rows
    assert stored(server) == {*public, ada.vault.head_cid}
    assert not server.store.has(payload)


def test_remains_of_a_dataset_are_not_asked_for_and_an_object_listed_again_is_wanted_whole(
    server: Server, ada: Owner
) -> None:
    entry = ada.vault.add_bytes("a.txt", b"one")
    manifest = ada.vault.manifest(entry.object_id)
    payload = ada.blocks.get(manifest.payload)
    header, _ = ada.vault.build_dataset([entry.object_id], CARD)
    ada.vault.remove(entry.object_id, even_if_published=True)
    ada.push()
    assert ada.kept().sequence == 3
    page = ada.blocks.add(DAG_CBOR, encode_pages([manifest.cid])[0])
    ada.blocks.add(DAG_CBOR, manifest.encode())
    with pytest.raises(Incomplete) as caught:
        _commit_head(ada, objects=(page,), datasets=(header.cid,))
    assert caught.value.detail["missing"] == [str(manifest.payload)]
    ada.blocks.put(manifest.payload, payload)
    _commit_head(ada, objects=(page,), datasets=(header.cid,))
    assert server.store.has(manifest.payload)


@pytest.mark.parametrize("what", ["size", "vault", "page", "record", "signature", "codec", "dataset"])
def test_a_head_that_reaches_what_does_not_hold_is_refused(server: Server, ada: Owner, what: str) -> None:
    entry = ada.vault.add_bytes("a.bin", os.urandom(2 * MIB))
    manifest = ada.vault.manifest(entry.object_id)
    fields: dict[str, object] = {}
    if what in ("size", "vault"):
        changed = replace(manifest, size=manifest.size - 1) if what == "size" else replace(manifest, vault_id=b"w" * 32)
        fields["objects"] = (ada.blocks.add(DAG_CBOR, encode_pages([ada.blocks.add(DAG_CBOR, changed.encode())])[0]),)
    elif what == "page":
        fields["objects"] = (manifest.cid,)
    elif what == "record":
        fields["records"] = (ada.blocks.add(DAG_CBOR, encode_pages([manifest.cid])[0]),)
    elif what == "codec":
        fields["datasets"] = (ada.blocks.add(RAW, b"no document"),)
    elif what == "dataset":
        header, _ = ada.vault.build_dataset([entry.object_id], CARD)
        fields["datasets"] = (ada.blocks.add(DAG_CBOR, replace(header, objects=2).encode()),)
    head = VaultHead(ada.vault_id, ada.root.manifest_pk(), 1, (), (), ())
    head = replace(head, **fields).sign(ada.root.signing_key())
    if what == "signature":
        head = replace(head, sig=bytes(64))
    cid = ada.blocks.add(DAG_CBOR, head.encode())
    ada.send_all()
    with pytest.raises((InvalidInput, Corrupted)) as caught:
        ada.commit(cid, None)
    assert not isinstance(caught.value, Incomplete)
    with pytest.raises(NotFound):
        ada.kept()
    assert not server.store.has(cid)


def test_a_tree_that_claims_more_than_its_blocks_are_walks_in_no_time(server: Server, ada: Owner) -> None:
    """1024^4 leaves that are all one block: what is walked is the blocks, not the claim."""
    leaf = ada.blocks.add(RAW, bytes(MIB))
    branch = unixfs._Branch(leaf, MIB, MIB)
    for _ in range(3):
        block = unixfs._encode_node([branch] * 1024)
        cid = Cid.of(0x70, block)
        ada.blocks.put(cid, block)
        branch = unixfs._Branch(cid, branch.size * 1024, len(block) + branch.weight * 1024)
    found = dict(unixfs.parts(branch.cid, ada.blocks, branch.size, lambda cid: pytest.fail(str(cid))))
    assert len(found) == 4


# Whose vault it is.


def test_another_accounts_vault_is_refused(server: Server, ada: Owner, bob: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    head = ada.vault.head_cid
    assert head is not None
    with pytest.raises(Denied, match="another account"):
        server.vaults.commit(bob.account, head, None)
    with pytest.raises(NotFound):
        bob.kept()


def test_an_account_has_one_vault(ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    other = Owner(ada.server, ada.account, vault_id=VaultId(b"w" * 32))
    other.vault.add_bytes("b.txt", b"two")
    with pytest.raises(Conflict, match="another vault"):
        other.push()


def test_a_head_signed_by_another_key_under_my_vault_id_does_not_touch_my_vault(ada: Owner, bob: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    before = ada.kept()
    bob.vault.add_bytes("b.txt", b"two")  # the same vault_id, as it stands in ada's public headers
    bob.push()
    assert ada.kept() == before
    assert Vault.restore(ada.root.words(), ada.server.store).head_cid == before.head


def test_whoever_bound_a_vault_without_its_key_loses_it_to_who_has_the_key(ada: Owner, bob: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.send_all()
    head = ada.vault.head_cid
    assert head is not None
    bob.send(car({head: ada.blocks.get(head)}))
    bob.commit(head, None)  # he got to know the head somewhere, and was first
    assert bob.kept().head == head
    with pytest.raises(Denied):
        ada.commit(head, None)
    with pytest.raises(Denied, match="did not sign"):
        ada.commit(head, None, bob.proof())
    ada.push()  # with the key's signature over her account
    assert ada.kept().head == head
    with pytest.raises(NotFound):
        bob.kept()
    with pytest.raises(Denied):
        bob.commit(head, None, None)


def test_a_vault_may_not_grow_beyond_its_bound(server: Server, ada: Owner) -> None:
    small = Vaults(server.depot, limit=3 * MIB)
    ada.vault.add_bytes("a.bin", os.urandom(4 * MIB))
    ada.send_all()
    head = ada.vault.head_cid
    assert head is not None
    with pytest.raises(NoRoom, match="vault"):
        small.commit(ada.account, head, None)
    assert not server.store.has(head)
    with pytest.raises(NotFound):
        ada.kept()


# Other programs of the same home.


def test_a_change_that_another_program_made_is_the_newest_head(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    here = Vault(ada.root, ada.vault_id, server.store)  # the command line, on the server's own blocks
    here.add_bytes("b.txt", b"two")
    assert here.head_cid is not None
    Catalogue(server.engine).saw_head(ada.vault_id, str(here.head_cid), here.sequence)
    ada.vault.add_bytes("c.txt", b"three")
    with pytest.raises(Conflict) as caught:
        ada.push()
    assert caught.value.detail["head"] == str(here.head_cid)
    kept = ada.kept()
    assert (kept.head, kept.sequence) == (here.head_cid, 2)
    server.clock.pass_by(25)
    server.depot.collect()
    assert kept.blocks == len(stored(server))


def test_a_commit_cannot_come_between_another_programs_change_and_its_note(
    server: Server, ada: Owner, tmp_path: Path
) -> None:
    """There would be two heads of one number: two copies of the vault that went separate ways."""
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    before = ada.vault.head_cid
    ada.vault.add_bytes("c.txt", b"three")
    ada.send_all()
    after, proof = ada.vault.head_cid, ada.proof()
    assert after is not None
    catalogue = Catalogue(server.engine)
    refused: list[Conflict] = []

    def commit() -> None:
        try:
            ada.commit(after, before, proof)
        except Conflict as error:
            refused.append(error)

    thread = threading.Thread(target=commit)

    @contextmanager
    def noting(cid: Cid, sequence: int) -> Iterator[None]:
        with catalogue.changing_head(ada.vault_id, str(cid), sequence):
            thread.start()
            yield
            thread.join(0.2)
            assert thread.is_alive()

    with CarStore(tmp_path / "blocks") as store:
        here = Vault(ada.root, ada.vault_id, store, noting=noting)  # the command line, a process of its own
        here.add_bytes("b.txt", b"two")
        thread.join()
        assert [error.detail["head"] for error in refused] == [str(here.head_cid)]
        assert [entry.name for entry in Vault(ada.root, ada.vault_id, store).entries()] == ["a.txt", "b.txt"]


def test_a_vault_that_another_program_made_is_bound_at_its_newest_head(server: Server, ada: Owner) -> None:
    here = Vault(ada.root, ada.vault_id, server.store)
    here.add_bytes("a.bin", os.urandom(2 * MIB))
    here.add_bytes("b.txt", b"two")
    assert here.head_cid is not None
    Catalogue(server.engine).saw_head(ada.vault_id, str(here.head_cid), here.sequence)
    ada.vault.add_bytes("c.txt", b"three")
    with pytest.raises(Conflict):
        ada.push()
    ada.commit(here.head_cid, None, ada.proof())
    assert ada.kept().sequence == 2
    # What that program put is its own to delete.
    before = stored(server)
    ada.blocks = MemoryBlocks()
    ada.pushed = here.head_cid
    _commit_head(ada)
    assert before <= stored(server)


def test_a_hint_of_another_key_moves_nothing(server: Server, ada: Owner, bob: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    bob.vault.add_bytes("b.txt", b"two")
    bob.push()
    Catalogue(server.engine).saw_head(ada.vault_id, str(bob.vault.head_cid), 99)
    assert ada.kept().head == ada.vault.head_cid


def test_restoring_onto_a_new_server_begins_at_whatever_number_the_vault_has(ada: Owner) -> None:
    for number in range(4):
        ada.vault.add_bytes(f"{number}.txt", b"x")
    ada.push()
    assert ada.kept().sequence == 4


def test_keys_that_sign_for_two_vaults_are_refused(ada: Owner, bob: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    twin = Owner(ada.server, ada.account, ada.root, VaultId(b"w" * 32))
    twin.vault.add_bytes("b.txt", b"two")
    with pytest.raises(Conflict, match="another vault"):
        twin.push()


def test_of_changes_made_to_the_same_head_at_once_one_is_taken(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.push()
    devices = []
    for number in range(4):
        device = Owner(server, ada.account, ada.root, ada.vault_id)
        for cid in ada.blocks.cids():
            device.blocks.put(cid, ada.blocks.get(cid))
        device.vault.refresh()
        device.vault.add_bytes(f"{number}.txt", b"two")
        device.pushed = ada.pushed
        devices.append(device)

    def push(device: Owner) -> bool:
        try:
            device.push()
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(push, devices))
    assert won.count(True) == 1
    assert ada.kept().head == devices[won.index(True)].vault.head_cid
    assert Vault.restore(ada.root.words(), server.store).head_cid == ada.kept().head


def test_the_same_commit_from_two_tabs_at_once_succeeds_in_both(server: Server, ada: Owner) -> None:
    ada.vault.add_bytes("a.txt", b"one")
    ada.send_all()
    head = ada.vault.head_cid
    assert head is not None
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: server.vaults.commit(ada.account, head, None, ada.proof()), range(4)))
    assert {one.vault for one in done} == {ada.kept()}


@pytest.mark.parametrize("case", json.loads((VECTORS / "uploads.json").read_text())["proofs"])
def test_a_proof_is_what_the_page_of_the_format_says(case: dict[str, str]) -> None:
    octets = {name: bytes.fromhex(value[2:]) for name, value in case.items()}
    said = b"allod/vault-account/v1" + b"\0" + octets["account"] + octets["vault_id"]
    Ed25519PublicKey.from_public_bytes(octets["manifest_pk"]).verify(octets["proof"], said)
    key = RootKey(octets["root_key"]).signing_key()
    assert prove(key, Address(octets["account"]), VaultId(octets["vault_id"])) == octets["proof"]
