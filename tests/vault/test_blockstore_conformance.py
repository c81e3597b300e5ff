"""What every block store promises, run against each of them: the embedded store, and kubo on a real node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import Corrupted, InvalidInput, NotFound
from vault.blocks import MAX_BLOCK, BlockStore, MemoryBlocks
from vault.carstore import CarStore
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.kubostore import KuboStore
from vault.segments import SEGMENT

Made = Callable[[Path], BlockStore]
STORES: dict[str, Made] = {
    "memory": lambda _path: MemoryBlocks(),
    "segments": CarStore,
    "segments that roll often": lambda path: CarStore(path, roll_at=200),
}


@pytest.fixture(params=[*STORES, pytest.param("kubo", marks=pytest.mark.needs_nodes)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockStore]:
    if request.param == "kubo":
        made: BlockStore = KuboStore(request.getfixturevalue("kubo").api, lock=tmp_path / "LOCK")
    else:
        made = STORES[request.param](tmp_path / "store")
    yield made
    made.close()


def test_a_block_comes_back_as_it_was_put(store: BlockStore) -> None:
    for codec, data in [(RAW, b"raw"), (DAG_PB, b"pb"), (DAG_CBOR, b"\xa0"), (RAW, b"")]:
        cid = Cid.of(codec, data)
        store.put(cid, data)
        assert store.get(cid) == data
        assert store.has(cid)
    assert type(store.get(Cid.of(RAW, b"raw"))) is bytes


def test_add_names_the_block_by_its_content(store: BlockStore) -> None:
    assert store.add(DAG_CBOR, b"\xa0") == Cid.of(DAG_CBOR, b"\xa0")
    assert store.get(Cid.of(DAG_CBOR, b"\xa0")) == b"\xa0"


def test_the_memory_given_may_be_used_again_at_once(store: BlockStore) -> None:
    memory = bytearray(b"first content")
    first = store.add(RAW, memoryview(memory))
    memory[:] = b"other content"
    second = store.add(RAW, memory)
    assert store.get(first) == b"first content"
    assert store.get(second) == b"other content"


def test_a_segment_may_be_written_where_the_store_keeps_it(store: BlockStore) -> None:
    wanted = {}
    for number in [*range(6), *range(3)]:
        room = store.room() or memoryview(bytearray(SEGMENT))
        assert len(room) == SEGMENT
        size = SEGMENT - number
        room[:size] = bytes([number]) * size
        wanted[store.add(RAW, room[:size])] = bytes([number]) * size
    assert {cid: store.get(cid) for cid in wanted} == wanted
    store.flush()
    assert {cid: store.get(cid) for cid in wanted} == wanted


def test_bytes_that_are_not_the_block_never_enter(store: BlockStore) -> None:
    cid = Cid.of(RAW, b"right")
    with pytest.raises(Corrupted):
        store.put(cid, b"wrong")
    assert not store.has(cid)
    with pytest.raises(NotFound):
        store.get(cid)


def test_the_same_bytes_under_another_codec_are_another_block(store: BlockStore) -> None:
    cid = store.add(RAW, b"\xa0")
    other = Cid(DAG_CBOR, cid.digest)
    assert not store.has(other)
    with pytest.raises(NotFound):
        store.get(other)


def test_a_block_of_two_mebibytes_is_the_largest(store: BlockStore) -> None:
    assert len(store.get(store.add(RAW, bytes(MAX_BLOCK)))) == MAX_BLOCK
    for way in (lambda d: store.add(RAW, d), lambda d: store.put(Cid.of(RAW, d), d)):
        with pytest.raises(InvalidInput):
            way(bytes(MAX_BLOCK + 1))


def test_putting_twice_changes_nothing(store: BlockStore) -> None:
    cid = store.add(RAW, b"twice")
    store.put(cid, b"twice")
    store.flush()
    store.put(cid, b"twice")
    store.flush()
    assert list(store.cids()) == [cid]


def test_put_many_keeps_what_came_before_the_bad_one(store: BlockStore) -> None:
    good, bad = Cid.of(RAW, b"good"), Cid.of(RAW, b"bad")
    with pytest.raises(Corrupted):
        store.put_many(iter([(good, b"good"), (bad, b"worse"), (Cid.of(RAW, b"z"), b"z")]))
    assert store.missing([bad, good, Cid.of(RAW, b"z")]) == [bad, Cid.of(RAW, b"z")]


def test_missing_keeps_the_order_asked_in(store: BlockStore) -> None:
    held = [store.add(RAW, bytes([i])) for i in range(3)]
    absent = [Cid.of(RAW, b"absent %d" % i) for i in range(3)]
    assert store.missing([absent[2], held[0], absent[0], held[2], absent[1]]) == [absent[2], absent[0], absent[1]]


def test_cids_lists_every_block_once_and_by_codec(store: BlockStore) -> None:
    raw = {store.add(RAW, b"%d" % i) for i in range(2500)}
    pb = {store.add(DAG_PB, b"%d" % i) for i in range(5)}
    cbor = {store.add(DAG_CBOR, b"%d" % i) for i in range(7)}
    listed = list(store.cids())
    assert len(listed) == 2512
    assert set(listed) == raw | pb | cbor
    assert sorted(store.cids(RAW)) == sorted(raw)
    assert sorted(store.cids(DAG_PB)) == sorted(pb)
    assert sorted(store.cids(DAG_CBOR)) == sorted(cbor)


def test_a_deleted_block_is_gone_and_may_come_back(store: BlockStore) -> None:
    cid, other = store.add(RAW, b"leaves"), store.add(RAW, b"stays")
    store.flush()
    store.delete(cid)
    store.delete(cid)
    store.delete(Cid.of(RAW, b"never there"))
    assert not store.has(cid)
    with pytest.raises(NotFound):
        store.get(cid)
    store.flush()
    assert list(store.cids()) == [other]
    store.put(cid, b"leaves")
    store.flush()
    assert store.get(cid) == b"leaves"
    assert store.get(other) == b"stays"


def test_deleting_everything_leaves_an_empty_store_that_works(store: BlockStore) -> None:
    for round_ in range(3):
        cids = [store.add(RAW, b"%d %d" % (round_, i)) for i in range(40)]
        store.flush()
        for cid in cids:
            store.delete(cid)
        store.flush()
        assert list(store.cids()) == []


def test_many_threads_put_and_get_at_once(store: BlockStore) -> None:
    start = threading.Barrier(4)

    def work(name: int) -> None:
        start.wait()
        for i in range(60):
            data = b"%d" % (i if i % 2 else i * 100 + name)
            assert store.get(store.add(RAW, data)) == data
            if i % 20 == name:
                store.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    store.flush()
    assert all(store.get(cid) for cid in store.cids())
    assert len(list(store.cids())) == 30 + 4 * 30 - 2  # 1 and 3 come up both ways


def test_flushing_and_closing_twice_is_harmless(store: BlockStore) -> None:
    store.flush()
    store.add(RAW, b"x")
    store.flush()
    store.flush()
    store.close()
    store.close()


def test_a_turn_that_changes_nothing_ends_with_its_flush(store: BlockStore) -> None:
    cid = store.add(RAW, b"before")
    store.begin()
    store.begin()
    store.flush()
    store.flush()
    assert list(store.cids()) == [cid]
    store.begin()
    store.delete(cid)
    store.flush()
    assert not store.has(cid)
