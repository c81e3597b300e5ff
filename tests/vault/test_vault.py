"""The vault: what goes in comes out, to its owner only, and the words and blocks bring all of it back."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.database import utc_now
from core.encoding import decode_cbor
from core.errors import AllodError, Busy, Conflict, Corrupted, InvalidInput, NotFound
from core.ids import ObjectId, VaultId
from vault import heads, manifest
from vault.blocks import BlockStore, MemoryBlocks
from vault.carstore import CarStore
from vault.cid import DAG_CBOR, RAW, Cid
from vault.datasets import read_card, read_manifests
from vault.manifest import ObjectManifest, VaultHead, dataset_tree, digest
from vault.readers import BrokenRecord, Record
from vault.rootkey import RootKey
from vault.vault import Vault
from vault.walking import Skipped

ROOT = RootKey(bytes(range(32)))
VAULT_ID = VaultId(b"V" * 32)
NOTES = b"The mill opens at six.\nAnna has the key.\nThe weir is low.\n"
CHAT = b'{"messages": [{"role": "assistant", "content": "Yes."}]}\n{"broken\n'
CARD = {"title": "Notes of the mill", "description": "", "schema": {"kind": "text"}, "sample": ["The mill is old."]}


@pytest.fixture(params=["memory", "car"])
def blocks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockStore]:
    store: BlockStore = MemoryBlocks() if request.param == "memory" else CarStore(tmp_path / "blocks")
    yield store
    store.close()


@pytest.fixture
def vault(blocks: BlockStore) -> Vault:
    return Vault(ROOT, VAULT_ID, blocks)


def content(vault: Vault, object_id: ObjectId) -> bytes:
    return b"".join(vault.open(object_id))


def test_a_file_comes_back_with_its_description(vault: Vault, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(NOTES)
    entry = vault.add(path, notes="from the mill")
    assert vault.entries() == [entry] == [vault.entry(entry.object_id)]
    assert (entry.name, entry.media_type, entry.size, entry.notes) == ("notes.txt", "text/plain", 58, "from the mill")
    assert (entry.records, entry.broken, entry.datasets) == (3, 0, ())
    assert utc_now() - entry.added < timedelta(minutes=5)
    assert content(vault, entry.object_id) == NOTES
    written = tmp_path / "out" / "copy.txt"
    written.parent.mkdir()
    assert vault.write(entry.object_id, written) == len(NOTES)
    assert written.read_bytes() == NOTES
    with pytest.raises(Conflict):
        vault.write(entry.object_id, written)


def test_bytes_and_streams_are_sealed_too(vault: Vault) -> None:
    one, two = vault.add_bytes("a.jsonl", CHAT), vault.add_bytes("b.bin", io.BytesIO(b"\0" * 3_000_000))
    empty = vault.add_bytes("empty", b"")
    assert (one.media_type, one.records, one.broken) == ("application/jsonl", 1, 1)
    assert (two.media_type, two.records, two.broken) == ("application/octet-stream", 0, 1)
    assert (empty.size, empty.records, empty.broken) == (0, 0, 0)
    assert content(vault, two.object_id) == b"\0" * 3_000_000
    assert content(vault, empty.object_id) == b""
    assert [entry.name for entry in vault.entries()] == ["a.jsonl", "b.bin", "empty"]


def test_preview_shows_the_records_and_counts_agree(vault: Vault) -> None:
    entry = vault.add_bytes("a.jsonl", CHAT)
    record, broken = vault.preview(entry.object_id)
    assert isinstance(record, Record)
    assert record.messages[0].content == "Yes."
    assert broken == BrokenRecord("line 2", "It is not valid JSON.")


def test_the_same_content_twice_shares_nothing(vault: Vault) -> None:
    one, two = vault.add_bytes("a", NOTES), vault.add_bytes("a", NOTES)
    assert one.object_id != two.object_id
    assert one.payload != two.payload
    assert vault.dek(one.object_id) != vault.dek(two.object_id)


def test_no_block_tells_a_name_a_text_or_a_key(vault: Vault, blocks: BlockStore) -> None:
    entry = vault.add_bytes("name-canary.txt", b"text canary. " * 100, notes="notes-canary")
    vault.save_record("terms", {"secret": "record-canary"})
    everything = b"".join(blocks.get(cid) for cid in blocks.cids())
    for canary in (b"canary", vault.dek(entry.object_id), bytes(range(32)), ROOT.evm_key()):
        assert canary not in everything


def test_lengths_of_names_hide_in_steps_of_256_bytes(vault: Vault) -> None:
    sizes = {len(vault.manifest(vault.add_bytes("n" * length, b"x").object_id).meta) for length in (1, 10, 100)}
    assert len(sizes) == 1
    with pytest.raises(InvalidInput):
        vault.add_bytes("", b"x")


def test_words_and_blocks_bring_everything_back(vault: Vault, blocks: BlockStore) -> None:
    first, second = vault.add_bytes("one.txt", NOTES, notes="n"), vault.add_bytes("two.jsonl", CHAT)
    header, _ = vault.build_dataset([first.object_id], CARD)
    vault.save_record("consent", {"signature": b"s" * 65, "amount": 2**63})
    back = Vault.restore(ROOT.words(), blocks)
    assert back.vault_id == VAULT_ID
    assert back.entries() == vault.entries()
    assert [entry.datasets for entry in back.entries()] == [(digest(header),), ()]
    assert content(back, second.object_id) == CHAT
    assert back.dek(first.object_id) == vault.dek(first.object_id)
    assert back.records("consent") == [{"signature": b"s" * 65, "amount": 2**63}]
    assert back.datasets() == [header]
    assert (back.head_cid, back.sequence) == (vault.head_cid, vault.sequence)


def test_a_restored_vault_goes_on(tmp_path: Path) -> None:
    with CarStore(tmp_path / "one") as blocks:
        Vault(ROOT, VAULT_ID, blocks).add_bytes("one", NOTES)
    os.rename(tmp_path / "one", tmp_path / "copy")
    with CarStore(tmp_path / "copy") as blocks:
        Vault.restore(ROOT.words(), blocks).add_bytes("two", NOTES)
        assert [entry.name for entry in Vault.restore(ROOT.words(), blocks).entries()] == ["one", "two"]


def test_other_words_find_nothing(vault: Vault, blocks: BlockStore) -> None:
    vault.add_bytes("one", NOTES)
    for found in (Vault.restore, Vault.salvage):
        with pytest.raises(NotFound):
            found(RootKey(bytes(32)).words(), blocks)


def test_two_vaults_in_one_store_do_not_see_each_other(blocks: BlockStore) -> None:
    other_root = RootKey(b"o" * 32)
    mine, other = Vault(ROOT, VAULT_ID, blocks), Vault(other_root, VaultId(b"O" * 32), blocks)
    mine.add_bytes("mine", NOTES)
    other.add_bytes("other", NOTES)
    mine.add_bytes("mine too", NOTES)
    assert [entry.name for entry in Vault.restore(ROOT.words(), blocks).entries()] == ["mine", "mine too"]
    assert [entry.name for entry in Vault.restore(other_root.words(), blocks).entries()] == ["other"]


# Heads


def test_every_change_is_one_signed_numbered_head(vault: Vault, blocks: BlockStore) -> None:
    assert (vault.sequence, vault.head_cid) == (0, None)
    entry = vault.add_bytes("a", NOTES)
    vault.save_record("terms", {"a": 1})
    vault.build_dataset([entry.object_id], CARD)
    vault.remove(entry.object_id, even_if_published=True)
    assert vault.sequence == 4
    assert vault.head_cid is not None
    head = VaultHead.decode(blocks.get(vault.head_cid))
    assert (head.sequence, head.vault_id, head.manifest_pk) == (4, VAULT_ID, ROOT.manifest_pk())
    kept = [cid for cid in blocks.cids(DAG_CBOR) if blocks.get(cid).startswith(heads.HEAD_START)]
    assert kept == [vault.head_cid]  # old ones are cleared away


def test_what_changes_nothing_makes_no_head(vault: Vault) -> None:
    entry = vault.add_bytes("a", NOTES)
    vault.save_record("terms", {"a": 1})
    first, _ = vault.build_dataset([entry.object_id], CARD)
    before = vault.head_cid
    vault.save_record("terms", {"a": 1})
    second, _ = vault.build_dataset([entry.object_id], CARD)
    assert first == second
    assert vault.head_cid == before


def test_two_openings_of_one_vault_both_get_in(blocks: BlockStore) -> None:
    one, two = Vault(ROOT, VAULT_ID, blocks), Vault(ROOT, VAULT_ID, blocks)
    one.add_bytes("one", NOTES)
    two.add_bytes("two", NOTES)  # two did not know of one's change
    one.save_record("terms", {"a": 1})
    assert one.refresh() is False
    assert [entry.name for entry in one.entries()] == ["one", "two"]
    assert two.refresh() is True
    assert two.records("terms") == [{"a": 1}]
    assert one.sequence == two.sequence == 3


def test_two_processes_take_turns_and_neither_is_lost(tmp_path: Path) -> None:
    with CarStore(tmp_path / "b") as first, CarStore(tmp_path / "b") as second:
        one, two = Vault(ROOT, VAULT_ID, first), Vault(ROOT, VAULT_ID, second)
        one.add_bytes("one", NOTES)
        two.add_bytes("two", NOTES)
        one.remove(one.entries()[0].object_id)
        first.add(RAW, b"holds the lock")
        with pytest.raises(Busy):
            two.add_bytes("three", NOTES)
        first.flush()
        two.add_bytes("four", NOTES)
    with CarStore(tmp_path / "b") as blocks:
        assert [entry.name for entry in Vault.restore(ROOT.words(), blocks).entries()] == ["two", "four"]


def test_a_writer_that_comes_between_makes_the_change_start_over(
    blocks: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Vault(ROOT, VAULT_ID, blocks), Vault(ROOT, VAULT_ID, blocks)
    real, calls = heads.write_head, 0

    def write_after_another(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            two.save_record("terms", {"from": "two"})  # runs write_head itself: that is call 2
        return real(*args)

    monkeypatch.setattr(heads, "write_head", write_after_another)
    one.save_record("terms", {"from": "one"})
    monkeypatch.undo()
    assert calls == 3
    assert one.sequence == 2
    assert one.records("terms") == [{"from": "two"}, {"from": "one"}]
    assert Vault.restore(ROOT.words(), blocks).records("terms") == one.records("terms")


def copy_of(blocks: BlockStore) -> MemoryBlocks:
    out = MemoryBlocks()
    out.put_many((cid, blocks.get(cid)) for cid in blocks.cids())
    return out


def test_copies_that_went_separate_ways_are_a_conflict_until_joined(vault: Vault, blocks: BlockStore) -> None:
    vault.add_bytes("common", NOTES)
    elsewhere = copy_of(blocks)
    vault.add_bytes("here", NOTES)
    Vault.restore(ROOT.words(), elsewhere).add_bytes("there", NOTES)
    blocks.put_many((cid, elsewhere.get(cid)) for cid in elsewhere.cids())
    for attempt in (lambda: Vault(ROOT, VAULT_ID, blocks), lambda: Vault.restore(ROOT.words(), blocks), vault.refresh):
        with pytest.raises(Conflict, match="separate ways"):
            attempt()
    with pytest.raises(Conflict, match="separate ways"):
        vault.add_bytes("more", NOTES)
    joined = Vault.restore(ROOT.words(), blocks, join=True)
    assert sorted(entry.name for entry in joined.entries()) == ["common", "here", "there"]
    assert joined.sequence == 3
    assert Vault.restore(ROOT.words(), blocks).entries() == joined.entries()
    assert Vault.restore(ROOT.words(), blocks, join=True).sequence == 3  # nothing left to join


def test_an_older_copy_of_the_blocks_is_not_taken_for_the_vault(vault: Vault, blocks: BlockStore) -> None:
    vault.add_bytes("one", NOTES)
    old = copy_of(blocks)
    vault.add_bytes("two", NOTES)
    with pytest.raises(Conflict, match=r"change 1 .* change 2"):
        Vault(ROOT, VAULT_ID, old, hint=vault.head_cid, sequence=vault.sequence)
    with pytest.raises(Conflict):
        Vault(ROOT, VAULT_ID, MemoryBlocks(), sequence=1)
    assert Vault(ROOT, VAULT_ID, blocks, hint=vault.head_cid, sequence=2).entries() == vault.entries()


def test_a_stale_or_foreign_hint_misleads_nobody(vault: Vault, blocks: BlockStore) -> None:
    vault.add_bytes("one", NOTES)
    assert vault.head_cid is not None
    kept = blocks.get(vault.head_cid)
    stale = vault.head_cid
    vault.add_bytes("two", NOTES)
    foreign = Vault(RootKey(b"o" * 32), VaultId(b"O" * 32), blocks)
    foreign.add_bytes("other", NOTES)
    for hint in (stale, foreign.head_cid, vault.entries()[0].manifest, Cid.of(DAG_CBOR, b"nowhere")):
        assert Vault(ROOT, VAULT_ID, blocks, hint=hint, sequence=2).entries() == vault.entries()
    blocks.put(stale, kept)  # an old head that is still around
    back = Vault(ROOT, VAULT_ID, blocks, sequence=2)
    assert back.sequence == 2


def test_a_head_that_another_key_signed_is_not_the_vaults(vault: Vault, blocks: BlockStore) -> None:
    vault.add_bytes("one", NOTES)
    forger = RootKey(b"f" * 32)
    heads.write_head(forger, VAULT_ID, blocks, 99, heads.Contents())
    assert Vault(ROOT, VAULT_ID, blocks).sequence == 1


def test_a_vault_without_a_readable_head_is_salvaged(vault: Vault, blocks: BlockStore) -> None:
    one, two = vault.add_bytes("one", NOTES), vault.add_bytes("two", CHAT)
    header, _ = vault.build_dataset([two.object_id], CARD)
    vault.save_record("terms", {"a": 1})
    stranger = Vault(RootKey(b"o" * 32), VaultId(b"O" * 32), blocks)
    stranger.add_bytes("other", NOTES)
    assert vault.head_cid is not None
    blocks.delete(vault.head_cid)
    with pytest.raises(NotFound):
        Vault.restore(ROOT.words(), blocks)
    back = Vault.salvage(ROOT.words(), blocks, sequence=4)
    assert Vault(ROOT, VAULT_ID, blocks, sequence=5).entries() == back.entries()
    assert {entry.name for entry in back.entries()} == {"one", "two"}
    assert content(back, one.object_id) == NOTES
    assert back.records("terms") == [{"a": 1}]
    assert back.datasets() == [header]
    assert Vault.restore(ROOT.words(), blocks).entries() == back.entries()


def test_many_objects_spread_over_pages_and_old_pages_go(
    vault: Vault, blocks: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "PAGE", 4)
    added = [vault.add_bytes(f"{number}", NOTES) for number in range(10)]
    vault.remove(added[0].object_id)
    assert [entry.name for entry in Vault.restore(ROOT.words(), blocks).entries()] == [str(n) for n in range(1, 10)]
    pages = [cid for cid in blocks.cids(DAG_CBOR) if decode_cbor(blocks.get(cid))["kind"] == "page"]
    assert len(pages) == 3


# Damage and foreign blocks


def test_a_damaged_payload_is_noticed_and_the_rest_stays_readable(vault: Vault, blocks: BlockStore) -> None:
    hurt, fine = vault.add_bytes("hurt", b"\0" * 2_500_000), vault.add_bytes("fine", NOTES)
    blocks.delete(hurt.payload)
    with pytest.raises((NotFound, Corrupted)):
        content(vault, hurt.object_id)
    assert content(vault, fine.object_id) == NOTES
    vault.remove(hurt.object_id)
    assert [entry.name for entry in vault.entries()] == ["fine"]


def test_a_manifest_moved_under_another_root_does_not_open(vault: Vault, blocks: BlockStore) -> None:
    entry = vault.add_bytes("mine", NOTES)
    thief_root = RootKey(b"t" * 32)
    thief = Vault(thief_root, VAULT_ID, blocks)
    heads.write_head(thief_root, VAULT_ID, blocks, 1, heads.Contents(objects=(entry.manifest,)))
    thief.refresh()
    with pytest.raises(Corrupted):
        thief.entries()
    with pytest.raises(Corrupted):
        thief.dek(entry.object_id)


def test_another_vaults_object_is_not_listed_as_ones_own(vault: Vault, blocks: BlockStore) -> None:
    other = Vault(ROOT, VaultId(b"O" * 32), MemoryBlocks())
    entry = other.add_bytes("x", NOTES)
    blocks.add(DAG_CBOR, other.manifests([entry.object_id])[0])
    heads.write_head(ROOT, VAULT_ID, blocks, 1, heads.Contents(objects=(entry.manifest,)))
    vault.refresh()
    with pytest.raises(Corrupted, match="another vault"):
        vault.entries()


def test_one_key_with_two_vaults_must_say_which(blocks: BlockStore) -> None:
    Vault(ROOT, VAULT_ID, blocks).add_bytes("x", NOTES)
    Vault(ROOT, VaultId(b"O" * 32), blocks).add_bytes("y", NOTES)
    with pytest.raises(Conflict, match="more than one vault"):
        Vault.restore(ROOT.words(), blocks)
    assert [entry.name for entry in Vault(ROOT, VAULT_ID, blocks).entries()] == ["x"]


@pytest.mark.parametrize(
    "act",
    [Vault.entry, Vault.dek, Vault.open, Vault.preview, Vault.remove, Vault.manifest],
    ids=lambda act: act.__name__,
)
def test_an_unknown_object_is_not_found(vault: Vault, act: Callable[[Vault, ObjectId], object]) -> None:
    vault.add_bytes("x", NOTES)
    with pytest.raises(NotFound):
        act(vault, ObjectId(b"?" * 32))


# Removing


def test_a_removed_object_leaves_no_block_behind(vault: Vault, blocks: BlockStore) -> None:
    vault.add_bytes("stays", NOTES)
    before = {cid for cid in blocks.cids() if decode_kind(blocks, cid) not in ("head", "page")}
    gone = vault.add_bytes("goes", b"\0" * 3_000_000)
    vault.remove(gone.object_id)
    after = {cid for cid in blocks.cids() if decode_kind(blocks, cid) not in ("head", "page")}
    assert after == before
    assert [entry.name for entry in vault.entries()] == ["stays"]
    with pytest.raises(NotFound):
        vault.open(gone.object_id)


def decode_kind(blocks: BlockStore, cid: Cid) -> str:
    return str(decode_cbor(blocks.get(cid))["kind"]) if cid.codec == DAG_CBOR else "data"


def test_a_published_object_stays_until_its_owner_insists(vault: Vault) -> None:
    entry = vault.add_bytes("x", NOTES)
    header, _ = vault.build_dataset([entry.object_id], CARD)
    with pytest.raises(Conflict, match="published") as caught:
        vault.remove(entry.object_id)
    assert caught.value.detail["datasets"] == [digest(header).hex()]
    assert vault.entry(entry.object_id).datasets == (digest(header),)
    vault.forget_dataset(digest(header))
    assert vault.entry(entry.object_id).datasets == ()
    vault.remove(entry.object_id)
    with pytest.raises(NotFound):
        vault.forget_dataset(digest(header))


# Datasets


def test_a_dataset_counts_proves_and_shows_its_card(vault: Vault, blocks: BlockStore) -> None:
    entries = [vault.add_bytes("a", NOTES), vault.add_bytes("b", CHAT), vault.add_bytes("not in it", NOTES)]
    header, manifests = vault.build_dataset([entry.object_id for entry in entries[1::-1]], CARD)
    assert (header.objects, header.records) == (2, 4)
    assert header.manifest_pk == vault.manifest_pk == ROOT.manifest_pk()
    assert manifests == sorted(manifests, key=lambda data: ObjectManifest.decode(data).object_id)
    assert dataset_tree(manifests).root == header.root
    assert read_manifests(blocks, header) == manifests
    assert read_card(blocks, header).card == CARD
    assert blocks.get(header.cid) == header.encode()


def test_a_dataset_keeps_its_list_when_the_vault_replaces_its_own(vault: Vault, blocks: BlockStore) -> None:
    """The vault's page and the dataset's once were one block: the same CIDs in the same order."""
    entry = vault.add_bytes("a", NOTES)
    header, manifests = vault.build_dataset([entry.object_id], CARD)
    vault.add_bytes("b", NOTES)
    assert read_manifests(blocks, header) == manifests


def test_an_object_may_be_in_two_datasets(vault: Vault) -> None:
    entry = vault.add_bytes("a", NOTES)
    one, _ = vault.build_dataset([entry.object_id], CARD)
    two, _ = vault.build_dataset([entry.object_id], {**CARD, "title": "Again"})
    assert vault.entry(entry.object_id).datasets == (digest(one), digest(two))


def test_nonsense_is_not_published(vault: Vault) -> None:
    entry = vault.add_bytes("a", NOTES)
    for ids, card in (([], CARD), ([entry.object_id], {"price": 1.5}), ([entry.object_id], {"title": "x" * 300_000})):
        with pytest.raises(InvalidInput):
            vault.build_dataset(ids, card)
    assert vault.datasets() == []


def test_a_card_with_a_foreign_list_does_not_pass(vault: Vault, blocks: BlockStore) -> None:
    from dataclasses import replace

    one, two = vault.add_bytes("a", NOTES), vault.add_bytes("b", NOTES)
    header, _ = vault.build_dataset([one.object_id], CARD)
    other, _ = vault.build_dataset([two.object_id], CARD)
    with pytest.raises(Corrupted):
        read_manifests(blocks, replace(header, card=other.card))


# Owner's records


def test_own_records_keep_their_kind_and_order(vault: Vault) -> None:
    link = Cid.of(RAW, b"x").link
    vault.save_record("terms", {"n": 2, "link": link})
    vault.save_record("consent", {"n": 1})
    vault.save_record("terms", {"n": 1})
    assert vault.records("terms") == [{"n": 2, "link": link}, {"n": 1}]
    assert vault.records("consent") == [{"n": 1}]
    assert vault.records("nothing") == []
    vault.save_record("flag", {"n": 1})
    vault.save_record("flag", {"n": True})
    assert [type(record["n"]) for record in vault.records("flag")] == [int, bool]
    with pytest.raises(InvalidInput):
        vault.save_record("terms", {"n": 1.5})


# Folders


def test_a_folder_is_walked_in_order_and_says_what_it_leaves_out(vault: Vault, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"hidden")
    for name in ("b.txt", "a.txt", "deep/c.txt", ".secret"):
        (folder / name).write_bytes(NOTES)
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"not asked for")
    (folder / "link-out").symlink_to(outside)
    (folder / "link-in").symlink_to(folder / "a.txt")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    added = vault.add_tree(folder)
    assert [entry.name for entry in added.entries] == ["notes/a.txt", "notes/b.txt", "notes/deep/c.txt"]
    assert vault.entries() == list(added.entries)
    assert {item.name for item in added.skipped} == {
        "notes/.git",
        "notes/.secret",
        "notes/link-in",
        "notes/link-out",
        "notes/loop",
        "notes/pipe",
    }
    assert all(item.reason.endswith(".") for item in added.skipped)


def test_a_tree_may_be_a_single_file_and_must_exist(vault: Vault, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(NOTES)
    assert [entry.name for entry in vault.add_tree(path).entries] == ["a.txt"]
    with pytest.raises(NotFound):
        vault.add_tree(tmp_path / "missing")


def test_a_file_that_cannot_be_read_is_listed_and_the_rest_goes_on(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (folder / name).write_bytes(NOTES)
    from vault import vault as module

    real = module.seal_into

    def unlucky(source: Any, *args: Any) -> Any:
        if source.name == "b.txt":
            raise PermissionError(13, "Permission denied")
        if source.name == "c.txt":
            raise Conflict("The file changed while it was being sealed, so nothing of it was kept.")
        return real(source, *args)

    monkeypatch.setattr(module, "seal_into", unlucky)
    added = vault.add_tree(folder)
    assert [entry.name for entry in added.entries] == ["f/a.txt", "f/d.txt"]
    assert added.skipped[0] == Skipped("f/b.txt", "Permission denied.")
    assert added.skipped[1].name == "f/c.txt"
    assert "changed" in added.skipped[1].reason


def test_batches_of_a_folder_stay_after_an_interruption(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vault import vault as module

    folder = tmp_path / "f"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}").write_bytes(NOTES)
    real = module.seal_into

    def interrupted(source: Any, *args: Any) -> Any:
        if source.name == "3":
            raise KeyboardInterrupt
        return real(source, *args)

    monkeypatch.setattr(module, "_BATCH_OBJECTS", 2)
    monkeypatch.setattr(module, "seal_into", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vault.add_tree(folder)
    assert [entry.name for entry in vault.entries()] == ["f/0", "f/1"]


def test_a_full_disk_is_not_taken_for_an_unreadable_file(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vault import vault as module

    def full(*_args: Any) -> Any:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_bytes(NOTES)
    monkeypatch.setattr(module, "seal_into", full)
    with pytest.raises(OSError, match="space"):
        vault.add_tree(folder)
    assert vault.entries() == []


def test_a_failed_sealing_gives_the_store_back(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell() > 1_000_000:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 1_000_000:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with CarStore(tmp_path / "b") as one, CarStore(tmp_path / "b") as two:
        vault = Vault(ROOT, VAULT_ID, one)
        with pytest.raises(OSError, match="Input"):
            vault.add_bytes("x", Broken(bytes(5_000_000)))
        assert vault.entries() == []
        Vault(ROOT, VAULT_ID, two).add_bytes("y", NOTES)


def test_progress_adds_up_to_the_size(vault: Vault, tmp_path: Path) -> None:
    for data in (b"", NOTES, b"word. " * 500_000, b"\0" * 2_500_000):
        path = tmp_path / "x"
        path.write_bytes(data)
        told: list[int] = []
        vault.add(path, told.append)
        assert sum(told) == len(data)
        assert all(step > 0 for step in told)


def test_sealing_and_opening_write_no_plaintext(vault: Vault, tmp_path: Path) -> None:
    entry = vault.add_bytes("canary-name.txt", b"plaintext-canary. " * 1000)
    content(vault, entry.object_id)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"canary" not in path.read_bytes()


def test_errors_name_no_content(vault: Vault) -> None:
    entry = vault.add_bytes("canary-name.txt", b"plaintext-canary. ")
    vault.build_dataset([entry.object_id], CARD)
    for act in (lambda: vault.remove(entry.object_id), lambda: vault.entry(ObjectId(b"x" * 32))):
        with pytest.raises(AllodError) as caught:
            act()
        assert "canary" not in str(caught.value.document())
