"""A vault on a real kubo node: through garbage collection, kills and restarts, and beside kubo's own commands."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading
import urllib.request
from collections.abc import Collection, Iterator, Set
from pathlib import Path

import pytest

from allod.nodes import KuboNode, find_program
from core.errors import NotFound, Unavailable
from core.ids import ObjectId, VaultId
from tests.real import running_kubo
from vault.blocks import BlockStore, Data, MemoryBlocks
from vault.carstore import CarStore
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.ipfs import Kubo
from vault.kubostore import KuboStore
from vault.payload import open_payload, seal_into
from vault.pinnedlists import PinnedLists
from vault.rootkey import RootKey
from vault.segments import dek_commitment
from vault.unixfs import walk
from vault.vault import Vault
from vault.wire import Away, Upload

pytestmark = pytest.mark.needs_nodes

VAULT, OBJECT, DEK = VaultId(b"v" * 32), ObjectId(b"o" * 32), b"k" * 32


@pytest.fixture
def store(kubo: KuboNode, tmp_path: Path) -> Iterator[KuboStore]:
    with KuboStore(kubo.api, lock=tmp_path / "LOCK") as store:
        yield store


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[KuboNode]:
    """A node of the test's own, which may be killed."""
    with running_kubo(tmp_path / "mortal") as node:
        yield node


def collect_garbage(node: KuboNode) -> None:
    with urllib.request.urlopen(
        urllib.request.Request(f"{node.url}/api/v0/repo/gc", method="POST"), timeout=60
    ) as reply:
        reply.read()


def ipfs(node: KuboNode, *words: str) -> bytes:
    place = {**os.environ, "IPFS_PATH": str(node.folder)}
    return subprocess.run([find_program("ipfs"), *words], env=place, check=True, capture_output=True).stdout


def test_a_whole_vault_lives_on_kubo_and_comes_back_from_its_words(
    kubo: KuboNode, store: KuboStore, tmp_path: Path
) -> None:
    root = RootKey.generate()
    vault = Vault(root, VAULT, store)
    text = tmp_path / "notes.txt"
    text.write_text("one line\n\nand another\n")
    notes = vault.add(text)
    large = vault.add_bytes("large.bin", os.urandom(5 << 20))
    gone = vault.add_bytes("gone.txt", b"is removed")
    vault.remove(gone.object_id)
    collect_garbage(kubo)

    with KuboStore(kubo.api, lock=tmp_path / "LOCK") as other:
        again = Vault.restore(root.words(), other)
        assert [entry.name for entry in again.entries()] == ["notes.txt", "large.bin"]
        assert b"".join(again.open(notes.object_id)) == text.read_bytes()
        assert sum(map(len, again.open(large.object_id))) == 5 << 20
        assert [record.text for record in again.preview(notes.object_id)] == [
            record.text for record in vault.preview(notes.object_id)
        ]
        with pytest.raises(NotFound):
            again.entry(gone.object_id)
        for leaf in again._blocks.cids(RAW):
            assert other.get(leaf)


def test_what_was_deleted_leaves_the_nodes_disk_and_other_peoples_pins_stay(kubo: KuboNode, store: KuboStore) -> None:
    sealed = seal_into(io.BytesIO(os.urandom(3 << 20)), DEK, VAULT, OBJECT, store)
    store.flush()
    theirs = ipfs(kubo, "add", "--quieter", "--cid-version=1", str(kubo.folder / "version")).decode().strip()
    ipfs(kubo, "pin", "add", str(sealed.payload))
    kept, dropped = list(store.cids()), store.add(DAG_CBOR, b"\xa1\x61x\x01")
    store.flush()
    for cid in [*kept, dropped]:
        store.delete(cid)
    store.flush()
    assert list(store.cids()) == []
    held = ipfs(kubo, "refs", "local").decode().split()
    assert str(Cid(RAW, dropped.digest)) not in held
    assert {str(Cid(RAW, cid.digest)) for cid in kept} <= set(held), "they are below a pin that is not ours"
    assert theirs in ipfs(kubo, "pin", "ls", "--type=recursive", "--quiet").decode().split()
    ipfs(kubo, "pin", "rm", str(sealed.payload), theirs)


def test_kubo_itself_removes_no_list_that_is_pinned(kubo: KuboNode, store: KuboStore) -> None:
    store.add(RAW, os.urandom(40))
    store.flush()
    store.missing([])
    (root,) = store._lists.lists
    store._kubo.remove([root])
    assert store._kubo.block(root)
    store.add(RAW, os.urandom(40))
    store.flush()
    store.missing([])
    assert root not in store._lists.lists
    assert str(Cid(RAW, root.digest)) not in ipfs(kubo, "refs", "local").decode().split(), "it was replaced"


def test_a_segment_of_the_embedded_store_is_a_car_that_kubo_imports(kubo: KuboNode, tmp_path: Path) -> None:
    with CarStore(tmp_path / "blocks") as embedded:
        sealed = seal_into(io.BytesIO(os.urandom(5 << 20)), DEK, VAULT, OBJECT, embedded)
        embedded.flush()
        ciphertext = b"".join(walk(sealed.payload, embedded, sealed.size))
        cids = list(embedded.cids())
    ipfs(kubo, "dag", "import", "--pin-roots=false", str(tmp_path / "blocks" / "00000000.car"))
    assert ipfs(kubo, "cat", str(sealed.payload)) == ciphertext
    assert {str(Cid(RAW, cid.digest)) for cid in cids} <= set(ipfs(kubo, "refs", "local").decode().split())


def test_what_we_send_is_the_file_that_kubo_itself_would_make(kubo: KuboNode, store: KuboStore, tmp_path: Path) -> None:
    sealed = seal_into(io.BytesIO(os.urandom(3 << 20)), DEK, VAULT, OBJECT, store)
    store.flush()
    ciphertext = tmp_path / "ciphertext"
    ciphertext.write_bytes(ipfs(kubo, "cat", str(sealed.payload)))
    assert ciphertext.read_bytes() == b"".join(walk(sealed.payload, store, sealed.size))
    words = ["--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024", "--only-hash"]
    assert ipfs(kubo, "add", "--quieter", *words, str(ciphertext)).decode().strip() == str(sealed.payload)


@pytest.mark.parametrize("source", ["memory", "segments"])
def test_blocks_are_copied_there_and_back(source: str, store: KuboStore, tmp_path: Path) -> None:
    ours: BlockStore = MemoryBlocks() if source == "memory" else CarStore(tmp_path / "ours")
    sealed = seal_into(io.BytesIO(os.urandom(40 << 20)), DEK, VAULT, OBJECT, ours)
    ours.add(DAG_CBOR, b"\xa0")
    ours.flush()
    store.put_many((cid, ours.get(cid)) for cid in ours.cids())
    store.flush()
    with CarStore(tmp_path / "back") as back:
        back.put_many(store.export())
        back.flush()
        assert set(back.cids()) == set(ours.cids())
        for reader in (store, back):
            commit = dek_commitment(DEK, VAULT, OBJECT)
            opened = open_payload(reader, sealed.payload, sealed.size, DEK, commit, VAULT, OBJECT)
            assert sum(map(len, opened)) == 40 << 20
    ours.close()


def test_a_real_gateway_gives_out_what_is_there_and_looks_for_nothing_else(
    kubo: KuboNode, store: KuboStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(1 << 20)
    cid = store.add(RAW, data)
    store.flush()
    with contextlib.closing(Kubo(kubo.api, gateway=kubo.gateway)) as rpc:
        monkeypatch.setattr(rpc, "_reply", None)  # the RPC cannot help out
        assert rpc.block(cid) == data
        assert rpc.block(cid) == data
        with pytest.raises(Away, match="412"):
            rpc._from_gateway(kubo.gateway, Cid.of(RAW, b"not there"))


def test_garbage_collection_takes_nothing_that_was_flushed(kubo: KuboNode, store: KuboStore) -> None:
    cids = [store.add(RAW, b"%d" % number) for number in range(2000)]
    cids += [store.add(DAG_PB, b"no node at all"), store.add(DAG_CBOR, b"nor this")]
    store.flush()
    collect_garbage(kubo)
    assert all(store.get(cid) for cid in cids)


def test_garbage_collected_between_import_and_list_takes_nothing(
    kubo: KuboNode, store: KuboStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = [store.add(RAW, b"listed before")]
    store.flush()
    plain, collected = Kubo.send, threading.Event()

    def send(self: Kubo, blocks: object) -> None:
        plain(self, blocks)  # type: ignore[arg-type]
        collected.set()
        collect_garbage(kubo)

    monkeypatch.setattr(Kubo, "send", send)
    new = store.add(RAW, b"not listed yet")
    store.flush()
    collect_garbage(kubo)
    assert collected.is_set()
    assert (store.get(old), store.get(new)) == (b"listed before", b"not listed yet")


def test_a_node_killed_between_import_and_list_costs_nothing(
    mortal: KuboNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 2 << 20)
    plain = PinnedLists.enlist

    def enlist(self: PinnedLists, cids: Set[Cid], announced: Collection[Cid]) -> None:
        mortal.kill()
        mortal.start()
        collect_garbage(mortal)
        plain(self, cids, announced)

    with KuboStore(mortal.api, lock=tmp_path / "LOCK", patience=240) as store:
        monkeypatch.setattr(PinnedLists, "enlist", enlist)
        sealed = seal_into(io.BytesIO(os.urandom(9 << 20)), DEK, VAULT, OBJECT, store)
        store.flush()
        store.missing([])  # waits for what that leaves to be tidied up
        monkeypatch.undo()
        collect_garbage(mortal)
        assert ipfs(mortal, "pin", "ls", "--type=recursive", "--quiet").count(b"bafyrei") == 1, "announced no more"
        assert sum(map(len, walk(sealed.payload, store, sealed.size))) == sealed.size


def test_an_announcement_taken_away_before_the_list_is_noticed(kubo: KuboNode, store: KuboStore) -> None:
    kept, lost = store.add(RAW, b"is sent, and stays"), Cid.of(RAW, b"is sent, and goes")
    for collected in (False, True):
        if collected:
            store.put(lost, b"is sent, and goes")
        store._ship()
        store._land_all()
        ipfs(kubo, "pin", "rm", *map(str, store._announced))
        if collected:
            collect_garbage(kubo)
            with pytest.raises(Unavailable):
                store.flush()
        else:
            store.flush()
    assert store.missing([kept, lost]) == [lost]
    collect_garbage(kubo)
    assert store.get(kept) == b"is sent, and stays"
    store.put(lost, b"is sent, and goes")
    store.flush()
    assert store.get(lost) == b"is sent, and goes"


def test_a_node_killed_in_the_middle_of_an_import_and_started_again_costs_nothing(
    mortal: KuboNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KuboStore(mortal.api, lock=tmp_path / "LOCK", patience=240) as store:
        before = seal_into(io.BytesIO(os.urandom(3 << 20)), DEK, VAULT, OBJECT, store)
        store.flush()
        kill_while_sending(mortal, monkeypatch, third := threading.Event())

        def start_again() -> None:
            assert third.wait(120)
            mortal.start()

        starter = threading.Thread(target=start_again)
        starter.start()
        after = seal_into(io.BytesIO(os.urandom(70 << 20)), DEK, VAULT, OBJECT, store)
        store.flush()
        starter.join()
        mortal.kill()  # and what was acknowledged needs no more from it
        mortal.start()
        collect_garbage(mortal)
        for sealed in (before, after):
            commit = dek_commitment(DEK, VAULT, OBJECT)
            opened = open_payload(store, sealed.payload, sealed.size, DEK, commit, VAULT, OBJECT)
            assert sum(map(len, opened)) == sealed.plaintext_size


def test_a_node_that_stays_dead_is_an_error_and_what_was_acknowledged_is_there_when_it_lives(
    mortal: KuboNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KuboStore(mortal.api, lock=tmp_path / "LOCK") as store:
        before = [store.add(RAW, b"%d" % number) for number in range(100)]
        store.flush()
        store._kubo._patience = 0.5
        kill_while_sending(mortal, monkeypatch, threading.Event())
        with pytest.raises(Unavailable, match="does not answer"):
            seal_into(io.BytesIO(os.urandom(70 << 20)), DEK, VAULT, OBJECT, store)
        with pytest.raises(Unavailable):
            store.flush()
    mortal.start()
    with KuboStore(mortal.api, lock=tmp_path / "LOCK") as again:
        assert [again.get(cid) for cid in before] == [b"%d" % number for number in range(100)]


def kill_while_sending(node: KuboNode, monkeypatch: pytest.MonkeyPatch, killed: threading.Event) -> None:
    """SIGKILL the node once, when a good part of the third batch is on its way."""
    monkeypatch.setattr("vault.kubostore.BATCH", 16 << 20)
    plain, batches = Upload.__iter__, [0]

    def pieces(self: Upload) -> Iterator[Data]:
        batches[0] += 1
        for number, piece in enumerate(plain(self)):
            if batches[0] >= 3 and number == 12 and node.is_running and not killed.is_set():
                node.kill()
                killed.set()
            yield piece

    monkeypatch.setattr(Upload, "__iter__", pieces)
