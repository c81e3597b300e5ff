"""A node that hangs, lies, cuts, swaps, errs and dies: nothing wrong is ever released, nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from core.encoding import decode_cbor, encode_cbor
from core.errors import AllodError, Busy, Conflict, Corrupted, InvalidInput, NotFound, Unavailable
from core.ids import ObjectId, VaultId
from tests.vault import standin
from tests.vault.standin import Fault, StandIn, stand_in
from vault.blocklist import decode_announcement, decode_list, encode_announcement, encode_list
from vault.blocks import MAX_BLOCK
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.ipfs import Kubo
from vault.kubostore import KuboStore
from vault.payload import seal_into

VAULT, OBJECT = VaultId(bytes(32)), ObjectId(bytes(32))
Open = Callable[..., KuboStore]

PASSING = [
    standin.hangs,
    standin.hangs_half_way,
    standin.drops_the_line,
    standin.cuts_the_reply,
    standin.cuts_with_a_trailer,
    standin.says_500,
    standin.says_500_without_words,
    standin.says_503,
]
LASTING = [
    *PASSING,
    standin.says_403,
    standin.says_404,
    standin.answers_web_pages,
    standin.answers_garbage,
    standin.answers_other_json,
    standin.answers_nothing,
    standin.answers_packed,
    standin.answers_without_end,
    standin.answers_one_endless_chunk,
    standin.promises_a_gigabyte,
    standin.drips,
]
OTHERS = ["version", "pin/ls", "block/put", "pin/rm"]


def cases(everywhere: list[Fault], sample: list[Fault], *paths: str) -> list[ParameterSet]:
    """Every fault at `paths`, and some of them at the other calls."""
    chosen = [(path, fault) for path in paths for fault in everywhere]
    chosen += [(path, fault) for path in OTHERS for fault in sample]
    return [pytest.param(path, fault, id=f"{path}-{fault.__name__}") for path, fault in chosen]


@pytest.fixture
def node() -> Iterator[StandIn]:
    with stand_in() as node:
        yield node


@pytest.fixture
def open_store(node: StandIn, tmp_path: Path) -> Iterator[Open]:
    made = []

    def opened(patience: float = 60, timeout: float = 60, lock: str = "LOCK", **more: str) -> KuboStore:
        store = KuboStore(node.address, lock=tmp_path / lock, patience=patience, timeout=timeout, **more)  # type: ignore[arg-type]
        made.append(store)
        return store

    yield opened
    for store in made:
        with contextlib.suppress(AllodError):
            store.close()


def flushed(store: KuboStore) -> None:
    """Flush, and wait for what that leaves to be tidied up."""
    store.flush()
    store.missing([])


def stored(store: KuboStore, *contents: bytes) -> list[Cid]:
    cids = [store.add(RAW, content) for content in contents]
    flushed(store)
    return cids


def damaged(node: StandIn, store: KuboStore) -> Cid:
    """A block, b"sound", that the node spoilt, which was seen."""
    (cid,) = stored(store, b"sound")
    node.blocks[cid.digest] = b"spoilt"
    with pytest.raises(Corrupted):
        store.get(cid)
    return cid


@contextlib.contextmanager
def hurried(store: KuboStore) -> Iterator[None]:
    """Within it, the store does not wait for a node that is away."""
    kubo = store._kubo
    kubo._patience = kubo._timeout = 0.3
    yield
    kubo._patience = kubo._timeout = 60


@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: fault.__name__)
def test_a_bad_answer_to_reading_is_an_error_and_no_block(node: StandIn, open_store: Open, fault: Fault) -> None:
    store = open_store()
    (cid,) = stored(store, b"the true content")
    node.script("block/get", fault)
    with hurried(store), pytest.raises((Unavailable, Corrupted)):
        store.get(cid)
    node.heal()
    assert open_store().get(cid) == b"the true content"


@pytest.mark.parametrize(
    ("path", "fault"),
    cases(
        LASTING,
        [standin.hangs, standin.cuts_with_a_trailer, standin.answers_other_json, standin.answers_without_end],
        "dag/import",
    ),
)
def test_a_bad_answer_to_writing_is_an_error_and_loses_nothing_acknowledged(
    node: StandIn, open_store: Open, path: str, fault: Fault
) -> None:
    before = stored(open_store(), b"acknowledged", b"also")
    node.script(path, fault)
    store = open_store()
    with hurried(store), pytest.raises(Unavailable):
        stored(store, b"new")
    node.heal()
    again = open_store()
    assert [again.get(cid) for cid in before] == [b"acknowledged", b"also"]
    (new,) = stored(again, b"new")
    assert set(open_store().cids()) == {*before, new}


@pytest.mark.parametrize(
    ("path", "fault"),
    cases(PASSING, [standin.drops_the_line, standin.cuts_with_a_trailer], "dag/import", "block/get"),
)
def test_what_passes_is_waited_out(node: StandIn, open_store: Open, path: str, fault: Fault) -> None:
    (old,) = stored(open_store(), b"old")
    node.script(path, fault, times=1)
    store = open_store(timeout=1)
    (new,) = stored(store, b"new")
    assert store.get(old) == b"old"
    assert store.get(new) == b"new"
    assert set(open_store().cids()) == {old, new}


def test_another_block_than_asked_for_is_never_given_out(node: StandIn, open_store: Open) -> None:
    (cid,) = stored(open_store(), b"asked for")
    store = open_store()
    assert store.has(cid)  # its lists were read
    node.script("block/get", standin.serves_another_block)
    with pytest.raises(Corrupted, match="are not that block"):
        store.get(cid)
    node.heal()
    assert store.get(cid) == b"asked for"


def test_a_block_that_the_node_damaged_can_be_put_again(node: StandIn, open_store: Open) -> None:
    store = open_store()
    cid = damaged(node, store)
    store.put(cid, b"sound")
    store.flush()
    assert store.get(cid) == b"sound"


@pytest.mark.parametrize("fault", [standin.acknowledges_fewer, standin.forgets_what_it_acknowledges])
def test_a_node_that_does_not_take_all_is_found_out(node: StandIn, open_store: Open, fault: Fault) -> None:
    before = stored(open_store(), b"before")
    node.script("dag/import", fault)
    with pytest.raises(Unavailable):
        stored(open_store(), b"after")
    node.heal()
    assert list(open_store().cids()) == before


def test_a_node_that_pins_what_it_does_not_have_is_found_out(node: StandIn, open_store: Open) -> None:
    node.script("dag/import", standin.forgets_what_it_acknowledges)
    node.script("pin/add", standin.pins_without_looking)
    with pytest.raises(Unavailable):
        stored(open_store(), b"nowhere")


@pytest.mark.parametrize("path", ["block/put", "pin/rm"])
def test_an_acknowledgement_of_another_pin_counts_for_nothing(node: StandIn, open_store: Open, path: str) -> None:
    stored(store := open_store(), b"old")
    node.script(path, standin.acknowledges_another_pin)
    with pytest.raises(Unavailable, match=r"another (pin|block)"):
        stored(store, b"new")


def test_a_flush_does_not_wait_until_the_node_has_tidied_up(node: StandIn, open_store: Open) -> None:
    may_go_on = threading.Event()

    def waits(_call: standin._Handler) -> bool:
        return may_go_on.wait(60)

    node.script("pin/rm", waits)
    store = open_store()
    cid = store.add(RAW, b"safe once flushed")
    store.flush()
    assert len(node.pins) == 3, "the list and two announcements"
    may_go_on.set()
    assert store.get(cid) == b"safe once flushed"
    assert len(node.pins) == 1, "whoever uses the lists waits"


def test_no_redirect_is_followed(node: StandIn, open_store: Open) -> None:
    with stand_in() as elsewhere:
        for path in ("version", "dag/import"):
            node.script(path, standin.redirects_to(f"http://127.0.0.1:{elsewhere.port}"))
            with pytest.raises(Unavailable, match="307"):
                stored(open_store(), b"for this node only")
            node.heal()
        assert elsewhere.calls == []


def test_garbage_among_the_pins_is_other_peoples(node: StandIn, open_store: Open) -> None:
    before = stored(open_store(), b"ours")
    foreign = Cid.of(DAG_CBOR, b"\xa1\x64kind\x6ablock-list")
    node.blocks[foreign.digest] = b"\xa1\x64kind\x6ablock-list"
    lost = Cid.of(DAG_CBOR, b"\xa0 is not here")
    node.pins |= {foreign, lost, Cid.of(DAG_PB, b"a file"), Cid.of(RAW, b"a leaf")}

    def with_garbage(call: standin._Handler) -> bool:
        keys = [
            *map(str, node.pins),
            "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN",
            "",
            "../../etc/passwd",
            "b" * 59,
        ]
        call.say({"Keys": {key: {"Type": "recursive"} for key in keys}})
        return False

    node.script("pin/ls", with_garbage)
    store = open_store()
    assert list(store.cids()) == before
    assert not store.has(foreign)


def test_a_reply_that_was_acknowledged_and_lost_does_no_harm(node: StandIn, open_store: Open) -> None:
    stored(open_store(), b"first")

    def done_but_not_told(call: standin._Handler) -> bool:
        call.say = lambda _document: standin.hangs_up(call)  # type: ignore[method-assign, assignment]
        return True

    for path in ("dag/import", "block/put", "pin/rm"):
        node.script(path, done_but_not_told, times=1)
    store = open_store()
    stored(store, b"second")
    assert sorted(map(store.get, store.cids())) == [b"first", b"second"]
    assert len(node.pins) == 1


def test_after_a_failure_the_next_flush_says_that_blocks_are_not_stored(node: StandIn, open_store: Open) -> None:
    store = open_store()
    store.add(RAW, b"the first of many")
    node.script("dag/import", standin.says_503)
    with hurried(store), pytest.raises(Unavailable):
        store.put_many((Cid.of(RAW, b"%d" % number), b"%d" % number) for number in range(5000))
    node.heal()
    with pytest.raises(Unavailable, match="Put them again"):
        store.flush()
    store.flush()
    assert stored(store, b"works again") == list(store.cids())


def test_memory_holds_three_batches_at_most(node: StandIn, open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 64 << 10)
    store = open_store()
    for number in range(300):
        store.add(RAW, b"%d" % number * 1500)
        held = sum(map(len, store._buffer.values())) + sum(
            len(b) for batch, _ in store._flights for b in batch.values()
        )
        assert held <= 3 * (64 << 10)
    store.flush()
    assert len(list(store.cids())) == 300


def test_a_failed_flush_is_told_once(node: StandIn, open_store: Open) -> None:
    store = open_store()
    cid = store.add(RAW, b"kept in memory until flushed")
    assert store.get(cid) == b"kept in memory until flushed"
    node.script("dag/import", standin.says_503)
    with hurried(store), pytest.raises(Unavailable, match="does not answer"):
        store.flush()
    node.heal()
    assert not store.has(cid)
    store.flush()


def test_two_writers_of_a_machine_take_turns(node: StandIn, open_store: Open) -> None:
    one, two = open_store(), open_store()
    one.add(RAW, b"one")
    with pytest.raises(Busy, match="kubo"):
        two.add(RAW, b"two")
    one.flush()
    stored(two, b"two")
    assert sorted(map(one.get, one.cids())) == [b"one", b"two"]


def test_two_machines_undo_nothing_of_each_other(node: StandIn, open_store: Open) -> None:
    one, two = open_store(lock="here"), open_store(lock="there")
    stored(one, b"shared", b"goes")
    two.missing([])
    one.add(RAW, b"one")
    two.add(RAW, b"two")
    two.delete(Cid.of(RAW, b"goes"))
    one.flush()
    two.flush()
    for store in (one, two, open_store()):
        assert {store.get(cid) for cid in store.cids()} >= {b"shared", b"one", b"two"}


EVERY_CALL = ["version", "pin/ls", "block/put", "dag/import", "block/get", "pin/rm", "block/rm"]


def named(node: StandIn) -> set[bytes]:
    """The digests that the lists name which are pinned."""
    found = set()
    for root in node.pins:
        with contextlib.suppress(InvalidInput):
            found |= {cid.digest for cid in decode_list(node.blocks[root.digest])}
    return found


def test_garbage_collection_at_any_moment_takes_nothing_that_is_on_its_way(
    node: StandIn, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 10_000)
    old = stored(open_store(), b"old")

    def collects(call: standin._Handler) -> bool:
        call.node.collect_garbage()
        return True

    for path in EVERY_CALL:
        node.script(path, collects)
    store = open_store()
    new = stored(store, *(b"%d" % number * 1000 for number in range(30)))
    store.delete(new[0])
    flushed(store)
    node.heal()
    node.collect_garbage()
    assert set(store.cids()) == {*old, *new[1:]}
    assert all(store.get(cid) for cid in store.cids())
    assert len(node.pins) == 1


@pytest.mark.parametrize("collected", [False, True])
def test_an_announcement_that_somebody_takes_away_is_noticed(
    node: StandIn, open_store: Open, monkeypatch: pytest.MonkeyPatch, collected: bool
) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 10_000)
    (old,) = stored(open_store(), b"old")
    lists = set(node.pins)
    store = open_store()
    new = [store.add(RAW, b"%d" % number * 1000) for number in range(30)]
    store._land_all()
    node.pins &= lists
    if collected:
        node.collect_garbage()
        with pytest.raises(Unavailable, match=r"could not|not found"):
            flushed(store)
        new = []
    else:
        flushed(store)
    assert set(open_store().cids()) == {old, *new}
    node.collect_garbage()
    assert named(node) <= node.blocks.keys()
    assert stored(store, b"works again") == [cid for cid in store.cids() if cid not in (old, *new)]


def test_what_another_machine_deletes_meanwhile_is_on_no_list_of_ours(node: StandIn, open_store: Open) -> None:
    (gone, stays) = stored(open_store(), b"gone", b"stays")
    one, two = open_store(lock="here"), open_store(lock="there")
    new = one.add(RAW, b"new")
    two.delete(gone)
    flushed(two)
    node.collect_garbage()
    flushed(one)
    node.collect_garbage()
    assert named(node) <= node.blocks.keys()
    for store in (one, two, open_store()):
        assert store.missing([gone, stays, new]) == [gone]
    assert one.add(RAW, b"gone") == gone
    flushed(one)
    assert open_store().get(gone) == b"gone"


def test_pins_that_change_all_the_time_end_a_deletion_with_an_error(node: StandIn, open_store: Open) -> None:
    store = open_store()
    (cid,) = stored(store, b"to be deleted")
    store.delete(cid)

    def flicker(call: standin._Handler) -> bool:
        pins = node.pins if node.calls.count("pin/ls") % 2 else set()
        call.say({"Keys": {str(root): {} for root in pins}})
        return False

    node.calls.clear()
    node.calls.append("pin/ls")  # so that it is there when all are listed, and away when it is to be replaced
    node.script("pin/ls", flicker)
    with pytest.raises(Unavailable, match="all the time"):
        store.flush()
    node.heal()
    assert open_store().get(cid) == b"to be deleted"


@pytest.mark.parametrize("calls", range(24))
def test_wherever_a_writer_dies_lists_name_only_what_is_there(
    node: StandIn, open_store: Open, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 10_000)
    old, doomed = stored(open_store(), b"old", b"doomed")
    store = open_store(patience=0)
    store.delete(doomed)
    left, lock = [calls], threading.Lock()

    def dies(call: standin._Handler) -> bool:
        with lock:
            left[0] -= 1
        return left[0] >= 0 or standin.hangs_up(call)

    for path in EVERY_CALL:
        node.script(path, dies)
    with contextlib.suppress(Unavailable):
        stored(store, *(b"%d" % number * 1000 for number in range(30)))
    node.heal()
    assert named(node) <= node.blocks.keys()
    node.collect_garbage()
    assert named(node) <= node.blocks.keys()
    again = open_store(lock="of another machine")
    assert again.get(old) == b"old"
    new = stored(again, *(b"%d" % number * 1000 for number in range(30)))
    node.collect_garbage()
    assert again.missing([old, *new]) == []
    assert all(again.get(cid) for cid in again.cids())


def test_what_a_dead_writer_announced_is_not_held_and_is_cleared_away_when_it_is_old(
    node: StandIn, open_store: Open
) -> None:
    (old,) = stored(open_store(), b"old")
    lists = set(node.pins)
    announced = Cid.of(RAW, b"never came")
    for seconds in (0, 80_000, 90_000, -90_000):
        document = decode_cbor(encode_announcement([announced])[1]) | {"time": int(time.time()) - seconds}
        cid = Cid.of(DAG_CBOR, data := encode_cbor(document))
        node.blocks[cid.digest] = data
        node.pins.add(cid)
    store = open_store()
    assert store.missing([announced]) == [announced]
    assert list(store.cids()) == [old]
    assert len(node.pins) == 5, "readers change nothing"
    assert stored(store, b"never came") == [announced]
    assert len(node.pins - lists) == 3, "the new list, and what may be under way"
    assert store.get(announced) == b"never came"


def test_what_a_failed_flush_announced_is_taken_away_by_the_next_one(node: StandIn, open_store: Open) -> None:
    store = open_store()
    store.add(RAW, b"does not arrive")
    node.script("dag/import", standin.acknowledges_fewer)
    with pytest.raises(Unavailable):
        store.flush()
    node.heal()
    assert len(node.pins) == 1
    stored(store, b"arrives")
    assert len(node.pins) == 1
    assert len(node.blocks) == 2, "the list and its block"


def test_memory_that_was_handed_over_is_used_again_for_what_the_store_has_already(
    node: StandIn, open_store: Open
) -> None:
    store = open_store()
    for _ in range(3):
        room = store.room()
        room[:] = bytes([7]) * len(room)
        store.add(RAW, room)
    assert len(store._arena._spare) == 1
    other = store.room()
    other[:] = bytes([8]) * len(other)
    assert store.get(Cid.of(RAW, bytes([7]) * len(room))) == bytes([7]) * len(room)


def test_a_damaged_block_that_was_deleted_and_put_again_stays(node: StandIn, open_store: Open) -> None:
    store = open_store()
    cid = damaged(node, store)
    store.delete(cid)
    assert stored(store, b"sound") == [cid]
    assert open_store().get(cid) == b"sound"


def test_small_blocks_hold_little_memory_also_where_they_were_sealed_in_a_place(
    node: StandIn, open_store: Open
) -> None:
    store = open_store()
    for number in range(100):
        seal_into(io.BytesIO(b"%d" % number * 10), bytes([number]) * 32, VAULT, OBJECT, store)
    kept = [data.obj if isinstance(data, memoryview) else data for data in store._buffer.values()]
    assert sum(map(len, kept)) < 100_000
    assert len(store._arena._spare) <= 4


def test_a_good_copy_of_a_damaged_block_is_not_forgotten_with_a_flush_that_failed(
    node: StandIn, open_store: Open
) -> None:
    store = open_store()
    cid = damaged(node, store)
    store.add(RAW, b"sound")
    node.script("dag/import", standin.says_503)
    with hurried(store), pytest.raises(Unavailable):
        store.flush()
    node.heal()
    assert stored(store, b"sound") == [cid]
    assert store.get(cid) == b"sound"


def test_tidying_up_does_not_remove_a_list_that_somebody_pinned_again(node: StandIn, open_store: Open) -> None:
    one, two = open_store(), open_store()
    (stays,) = stored(one, b"stays")
    (before,) = node.pins
    goes = one.add(RAW, b"goes")

    def meanwhile(_call: standin._Handler) -> bool:
        node.heal()
        two.delete(goes)
        flushed(two)
        return True

    node.script("block/rm", meanwhile)
    flushed(one)
    assert before in node.pins, "the list is what it was"
    assert open_store().get(stays) == b"stays"


def test_patience_is_that_of_whoever_asks(node: StandIn, open_store: Open) -> None:
    store = open_store()
    store.add(RAW, b"new")
    tidying, may_go_on = threading.Event(), threading.Event()

    def waits(_call: standin._Handler) -> bool:
        tidying.set()
        return may_go_on.wait(60)

    node.script("pin/rm", waits)
    node.script("version", standin.says_503, times=2)
    store.flush()
    assert tidying.wait(60)
    assert store.version() == "0.43.0"
    may_go_on.set()


def test_memory_that_is_used_again_holds_nothing_that_somebody_still_reads(
    node: StandIn, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 2 << 20)
    store, source = open_store(), bytearray(1 << 20)
    wanted, early = {}, {}
    for number in range(20):
        source[:] = bytes([number]) * len(source)
        size = len(source) - number
        cid = store.add(RAW, memoryview(source)[:size])
        wanted[cid] = bytes(source[:size])
        early[cid] = store.get(cid)
    store.flush()
    assert early == wanted
    assert {cid: store.get(cid) for cid in wanted} == wanted


def test_what_was_sent_and_is_on_no_list_yet_can_be_read_and_deleted(
    node: StandIn, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.kubostore.BATCH", 10_000)
    store = open_store()
    cids = [store.add(RAW, b"%d" % number * 1000) for number in range(30)]
    store._land_all()
    assert store.get(cids[0]) == b"0" * 1000
    assert set(store.cids()) == set(cids)
    store.delete(cids[1])
    assert not store.has(cids[1])
    store.delete(cids[2])
    store.put(cids[2], b"2" * 1000)
    flushed(store)
    assert set(open_store().cids()) == set(cids) - {cids[1]}
    assert cids[1].digest not in node.blocks
    assert open_store().get(cids[2]) == b"2" * 1000


def test_announcements_are_read_strictly() -> None:
    cid, data = encode_announcement([Cid.of(DAG_PB, b"x"), Cid.of(RAW, b"x"), Cid.of(RAW, b"y")])
    assert cid == Cid.of(DAG_CBOR, data)
    assert abs(decode_announcement(data) - time.time()) < 60
    assert encode_announcement([])[0] != encode_announcement([])[0]
    document = decode_cbor(data)
    assert [Cid.from_link(link) for link in document["blocks"]] == sorted([Cid.of(RAW, b"x"), Cid.of(RAW, b"y")])
    for change in (
        {"v": 2},
        {"kind": "block-list"},
        {"time": -1},
        {"time": "now"},
        {"nonce": bytes(15)},
        {"blocks": [Cid.of(DAG_PB, b"x").link]},
        {"blocks": 7},
        {"more": 1},
    ):
        with pytest.raises(InvalidInput):
            decode_announcement(encode_cbor(document | change))
    for wrong in (b"", data[:-1], data + b"\0", encode_list([])[1]):
        with pytest.raises(InvalidInput):
            decode_announcement(wrong)
    with pytest.raises(InvalidInput):
        decode_list(data)


def test_lists_grow_to_their_size_and_a_new_one_begins(node: StandIn, open_store: Open) -> None:
    store = open_store()
    for start in range(0, 3000, 300):
        stored(store, *(b"%d" % number for number in range(start, start + 300)))
    assert len(node.pins) in (3, 4)
    assert len(list(open_store().cids())) == 3000


def test_a_new_node_in_place_of_the_old_one_gets_all_or_says_so(node: StandIn, open_store: Open) -> None:
    store = open_store()
    (old,) = stored(store, b"on the old node")
    store.add(RAW, b"under way")
    node.blocks.clear()
    node.pins.clear()
    flushed(store)  # the list cannot be continued; what is at hand is pinned in a list of its own
    assert not store.has(old)
    assert list(map(store.get, store.cids())) == [b"under way"]


def test_versions_are_noted(node: StandIn, open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    for version, note in {"0.39.0": "older", "0.44.0-dev": "newer", "1.0.0": "newer", "0.43.1": ""}.items():
        node.version = version
        notes = open_store().notes()
        assert (note in notes[0]) if note else notes == []
    node.version = "0.50.0"
    stored(open_store(), b"is used all the same")
    assert "newer than what Allod is tested with" in caplog.text


def test_the_authorization_is_sent_and_its_lack_is_said(node: StandIn, open_store: Open) -> None:
    def guarded(call: standin._Handler) -> bool:
        return call.headers.get("Authorization") == "Bearer word" or standin.says_403(call)

    node.script("version", guarded)
    with pytest.raises(Unavailable) as refused:
        open_store().missing([])
    assert "ALLOD_KUBO_AUTHORIZATION" in refused.value.hint
    assert open_store(authorization="Bearer word").missing([]) == []
    with pytest.raises(InvalidInput):
        open_store(authorization="Bearer word\r\nHost: elsewhere")


def test_exporting_gives_every_block_once_also_where_the_stream_breaks(node: StandIn, open_store: Open) -> None:
    store = open_store()
    contents = {b"%d" % number * 5000 for number in range(20)}
    for content in contents:
        store.add(RAW, content)
    store.add(DAG_CBOR, b"\xa0")
    store.add(RAW, b"\xa0")
    store.flush()
    whole = dict(store.export())
    assert set(whole.values()) == contents | {b"\xa0"}
    assert whole.keys() == set(store.cids())

    def cut(call: standin._Handler) -> bool:
        call.chunked = (
            lambda pieces, kind: standin._Handler.chunked(  # type: ignore[method-assign, assignment]
                call, list(pieces)[:9], kind, "X-Stream-Error: disk on fire\r\n"
            )
        )
        return True

    for fault in (cut, standin.drops_the_line, standin.serves_another_block, standin.answers_without_end):
        node.script("dag/export", fault)
        assert dict(store.export()) == whole
        node.heal()


def test_exporting_without_a_block_is_an_error(node: StandIn, open_store: Open) -> None:
    store = open_store()
    cids = stored(store, b"here", b"lost")
    del node.blocks[cids[1].digest]
    with pytest.raises(NotFound):
        list(store.export())


def test_addresses_that_are_none_are_refused(tmp_path: Path) -> None:
    for address in (
        "",
        "127.0.0.1:5001",
        "http://127.0.0.1:5001",
        "/ip4/127.0.0.1/udp/1",
        "/unix/tmp/api",
        "/ip4/x/tcp/1",
    ):
        with pytest.raises(InvalidInput):
            KuboStore(address, lock=tmp_path / "LOCK")


def test_a_node_that_is_away_is_named_with_what_to_do(tmp_path: Path) -> None:
    with stand_in() as node:
        address = node.address
    with pytest.raises(Unavailable, match="does not answer") as away:
        KuboStore(address, lock=tmp_path / "LOCK", patience=0.2).missing([])
    assert "ipfs daemon" in away.value.hint


def test_a_closed_store_is_closed(node: StandIn, open_store: Open) -> None:
    store = open_store()
    store.close()
    with pytest.raises(Conflict):
        store.add(RAW, b"late")


def test_connections_are_kept(node: StandIn) -> None:
    accepted = []
    plain = node._server.get_request
    node._server.get_request = lambda: accepted.append(1) or plain()  # type: ignore[method-assign, func-returns-value]
    kubo = Kubo(node.address)
    data = bytes(MAX_BLOCK)
    cid = Cid.of(RAW, data)
    kubo.send([(cid, data)])
    for _ in range(5):
        assert kubo.block(cid) == data
    kubo.close()
    assert len(accepted) == 1


def test_reading_goes_on_while_a_batch_waits_for_the_node(node: StandIn, open_store: Open) -> None:
    store = open_store()
    (old,) = stored(store, b"old")
    going = threading.Event()

    def waits(_call: standin._Handler) -> bool:
        return going.wait(60)

    node.script("dag/import", waits, times=1)
    cids = [store.add(RAW, b"%d" % number) for number in range(1100)]
    assert store.get(old) == b"old"
    assert store.get(cids[0]) == b"0"
    going.set()
    store.flush()
    assert len(list(open_store().cids())) == 1101


GATEWAY = [
    standin.hangs,
    standin.drops_the_line,
    standin.cuts_the_reply,
    standin.says_500,
    standin.says_404,
    standin.answers_web_pages,
    standin.answers_packed,
    standin.answers_without_end,
    standin.promises_a_gigabyte,
    standin.serves_another_block,
]


def test_blocks_come_through_the_gateway_where_there_is_one(node: StandIn, open_store: Open) -> None:
    (cid,) = stored(open_store(), b"by the short way")
    for told in (f"/ip4/127.0.0.1/tcp/{node.port}", [f"/ip4/0.0.0.0/tcp/{node.port}"]):
        node.gateway = told
        store = open_store()
        assert store.has(cid)
        node.calls.clear()
        assert store.get(cid) == b"by the short way"
        assert node.calls == ["GET"]


@pytest.mark.parametrize("fault", GATEWAY, ids=lambda fault: fault.__name__)
def test_a_gateway_that_fails_is_done_without(
    node: StandIn, open_store: Open, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.ipfs._GATEWAY_TIMEOUT", 0.3)
    (cid,) = stored(open_store(), b"by the long way")
    node.gateway = f"/ip4/127.0.0.1/tcp/{node.port}"
    node.script("gateway", fault)
    store = open_store()
    assert store.get(cid) == b"by the long way"
    assert node.calls.count("GET") == 1


@pytest.mark.parametrize("told", [None, 7, [], "", "/ip4/127.0.0.1/tcp/0", "/ip4/10.0.0.1/tcp/8080", "/unix/x", ["x"]])
def test_a_gateway_elsewhere_or_nowhere_is_not_asked(node: StandIn, open_store: Open, told: object) -> None:
    (cid,) = stored(open_store(), b"over the RPC")
    node.gateway = told
    assert open_store().get(cid) == b"over the RPC"
    assert "GET" not in node.calls
