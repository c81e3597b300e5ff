"""What a part's answer says is stored is stored, whatever happens to others; what nobody needs goes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest

from allod import depot, holdings
from allod.depot import PART, Depot, NoRoom
from allod.homeblocks import HomeBlocks
from allod.trees import lay_down
from allod.vaults import Vaults
from consent.tree import Leaf, SumTree
from core.database import transaction
from core.encoding import encode_uvarint
from core.errors import Busy, Corrupted, InvalidInput, NotFound, Unavailable
from core.ids import Address
from tests.uploads.conftest import Owner, Server, car
from tests.vault import standin
from tests.vault.standin import stand_in
from vault.blocks import MAX_BLOCK, MemoryBlocks
from vault.carlog import SegmentFile, encode_tombstone
from vault.carstore import CarStore
from vault.catalogue import Catalogue
from vault.cid import DAG_CBOR, RAW, Cid
from vault.kubostore import KuboStore
from vault.vault import Vault

ADA, BOB = Address(b"a" * 20), Address(b"b" * 20)
MIB = 1 << 20


def some(count: int, size: int = 1000) -> dict[Cid, bytes]:
    return {Cid.of(RAW, data): data for data in (os.urandom(size) for _ in range(count))}


def test_a_part_is_stored_and_told(server: Server) -> None:
    blocks = some(3)
    taken = server.depot.take(ADA, car(blocks))
    assert (taken.stored, taken.known, taken.bytes) == (3, 0, 3000)
    assert all(server.depot.get(cid) == data for cid, data in blocks.items())
    again = server.depot.take(ADA, car({**blocks, **(more := some(1))}))
    assert (again.stored, again.known, again.bytes) == (1, 3, 1000)
    other = some(2)
    asked = [*other, *blocks, *more, *other]
    assert server.depot.missing(ADA, asked) == list(other)


@pytest.mark.parametrize("bad", ["hash", "codec", "size", "tombstone", "cut", "cut length", "no car", "too large"])
def test_one_bad_block_refuses_its_part_and_nothing_of_it_is_stored(server: Server, bad: str) -> None:
    good = some(2)
    part = car(good)
    wrong = Cid.of(RAW, b"another")
    note = encode_tombstone(wrong, 1 << 40)
    if bad == "hash":
        part += encode_uvarint(36 + 3) + wrong.bytes + b"odd"
    elif bad == "codec":
        part += encode_uvarint(36 + 7) + b"\x01\x70"[:1] + b"\x51" + wrong.bytes[2:] + b"another"
    elif bad == "size":
        data = bytes(MAX_BLOCK + 1)
        part += encode_uvarint(36 + len(data)) + Cid.of(RAW, data).bytes + data
    elif bad == "tombstone":
        part = car({**good, Cid.of(DAG_CBOR, note): note})
    elif bad == "cut":
        part = part[:-1]
    elif bad == "cut length":
        part += b"\x80"
    elif bad == "no car":
        part = b"<html>"
    else:
        part = car(some(9, 2 * MIB))
        assert len(part) > PART
    with pytest.raises((Corrupted, InvalidInput)) as caught:
        server.depot.take(ADA, part)
    if bad == "hash":
        assert str(wrong) in caught.value.message
    assert list(server.store.cids()) == []
    assert server.depot.collect() == 0


def test_a_part_cut_at_any_byte_is_an_error_or_a_smaller_part(server: Server) -> None:
    part, sizes = car(some(2, 40)), set[int]()
    for length in range(len(part)):
        try:
            sizes.add(server.depot.take(ADA, part[:length]).stored)
        except Corrupted:
            continue
    assert sizes == {0, 1}  # cut behind the header, and between the blocks


def test_an_upload_that_was_cut_goes_on_where_it_was(ada: Owner) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(20 * MIB))
    asked: list[int] = []
    real = ada.send

    def cut(part: bytes) -> None:
        if asked:
            raise ConnectionError
        asked.append(1)
        real(part)

    ada.send = cut  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        ada.push()
    ada.send = real  # type: ignore[method-assign]
    whole = len(list(ada.blocks.cids()))
    assert 0 < ada.push() < whole
    assert set(ada.server.store.cids()) == set(ada.blocks.cids())


def test_many_tabs_that_send_the_same_blocks_at_once_store_them_once(server: Server) -> None:
    parts = [car(some(20)) for _ in range(5)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda part: server.depot.take(ADA, part), parts * 8))
    assert sum(one.stored for one in taken) == 100
    assert sum(one.known for one in taken) == 700
    assert len(list(server.store.cids())) == 100
    assert server.depot.collect() == 0


def test_a_full_disk_fails_the_part_that_met_it_and_no_other(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = some(3)
    server.depot.take(BOB, car(kept))
    full = threading.Event()
    write, sync = SegmentFile.write, SegmentFile.sync

    def fail(segment: SegmentFile, *rest: object) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        (write if rest else sync)(segment, *rest)  # type: ignore[operator]

    monkeypatch.setattr(SegmentFile, "write", fail)
    monkeypatch.setattr(SegmentFile, "sync", fail)
    full.set()
    lost = some(3)
    with pytest.raises(Unavailable):
        server.depot.take(ADA, car(lost))
    full.clear()
    fresh = some(3)
    assert server.depot.take(BOB, car(fresh)).stored == 3  # not told of another's failure
    assert server.depot.missing(ADA, lost) == list(lost)
    assert server.depot.take(ADA, car(lost)).stored == 3
    assert server.depot.missing(ADA, [*kept, *fresh, *lost]) == []


def test_parts_in_parallel_with_failing_ones_are_each_answered_truly(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(10**9))
    sync = SegmentFile.sync

    def sometimes(segment: SegmentFile) -> None:
        if next(calls) % 3 == 1:
            raise OSError(errno.EIO, "broken")
        sync(segment)

    monkeypatch.setattr(SegmentFile, "sync", sometimes)
    parts = [some(5) for _ in range(24)]

    def take(blocks: dict[Cid, bytes]) -> bool:
        try:
            server.depot.take(ADA, car(blocks))
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(take, parts))
    monkeypatch.setattr(SegmentFile, "sync", sync)
    assert set(answers) == {True, False}
    with CarStore(server.store._path, read_only=True) as fresh:
        for blocks, stored in zip(parts, answers, strict=True):
            assert (fresh.missing(blocks) == []) or not stored


def test_another_program_that_writes_is_waited_for(server: Server) -> None:
    with CarStore(server.store._path) as other:
        other.add(RAW, b"a tree of the runner's")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(server.depot.take, ADA, car(some(1)))
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            other.flush()
            assert waiting.result(timeout=60).stored == 1
    assert server.store.has(Cid.of(RAW, b"a tree of the runner's"))


def test_one_that_never_ends_is_told_of(server: Server) -> None:
    with CarStore(server.store._path) as other, CarStore(server.store._path, patience=0.05) as store:
        impatient = Depot(server.engine, store, limit=MIB)
        other.add(RAW, b"held")
        with pytest.raises(Busy):
            impatient.take(ADA, car(some(1)))
        other.flush()
        assert impatient.take(ADA, car(some(1))).stored == 1


_KILLED = """
import os, signal, sys
from pathlib import Path
from allod import holdings, depot
from core.database import open_engine
from vault.carstore import CarStore

folder, where = Path(sys.argv[1]), sys.argv[2]
part = sys.stdin.buffer.read()
engine = open_engine(f"sqlite:///{folder / 'allod.db'}")
store = CarStore(folder / "blocks")
door = depot.Depot(engine, store, limit=1 << 30)

def die(*args, **more):
    os.kill(os.getpid(), signal.SIGKILL)

if where == "before it is noted":
    holdings.note_uploads = die
elif where == "before it is put":
    store.put_many = die
elif where == "half-way through":
    put, calls = store.put, iter(range(100))
    store.put = lambda cid, data: die() if next(calls) == 4 else put(cid, data)
elif where == "before it is durable":
    store._sync = die
elif where == "before the index has it":
    index = store._index
    index.commit = die
elif where == "before the answer":
    flush = store.flush
    store.flush = lambda: (flush(), die())
door.take(b"a" * 20, part)
"""
_PLACES = [
    "before it is noted",
    "before it is put",
    "half-way through",
    "before it is durable",
    "before the index has it",
    "before the answer",
]


@pytest.mark.parametrize("where", _PLACES)
def test_a_kill_anywhere_in_a_part_leaves_nothing_that_is_not_sent_again_or_collected(
    server: Server, tmp_path: Path, where: str
) -> None:
    before, part = some(3), some(9)
    server.depot.take(ADA, car(before))
    command = [sys.executable, "-c", _KILLED, str(tmp_path), where]
    done = subprocess.run(command, check=False, input=car(part), timeout=120)
    assert done.returncode == -signal.SIGKILL
    with CarStore(tmp_path / "blocks") as store:  # the server started anew
        depot = Depot(server.engine, store, limit=1 << 30, clock=server.clock)
        lacking = depot.missing(ADA, part)
        assert set(lacking) in (set(), set(part))
        assert depot.missing(ADA, before) == []
        depot.take(ADA, car({cid: part[cid] for cid in lacking}))
        assert depot.missing(ADA, part) == []
        server.clock.pass_by(25)
        depot.collect()
        assert list(store.cids()) == []


@pytest.fixture
def home(server: Server) -> Iterator[HomeBlocks]:
    """The store as another program of this home has it."""
    with CarStore(server.store._path, patience=60) as store:
        yield HomeBlocks(store, lambda: server.engine)


def tree() -> SumTree:
    """That of a job, as its payer works it out from the quote too."""
    return SumTree([Leaf(b"c" * 32, Address(b"o" * 20), 7)])


@pytest.mark.parametrize("when", ["before", "before, a day ago", "meanwhile", "after"])
def test_what_a_program_of_this_home_put_stays_whoever_sends_it_too(
    server: Server, home: HomeBlocks, when: str
) -> None:
    own = MemoryBlocks()
    lay_down(own, tree())
    part = car({cid: own.get(cid) for cid in own.cids()})
    with ThreadPoolExecutor(1) as pool:
        if when.startswith("before"):
            server.depot.take(BOB, part)
            if "ago" in when:
                server.clock.pass_by(25)
                with transaction(server.engine) as session:
                    holdings.expire_uploads(session, server.clock())
        elif when == "meanwhile":
            home.begin()
            taken = pool.submit(server.depot.take, BOB, part)  # it finds them absent, then waits for its turn
            with pytest.raises(TimeoutError):
                taken.result(timeout=0.2)
        lay_down(home, tree())
        if when == "meanwhile":
            taken.result(timeout=60)
        elif when == "after":
            server.depot.take(BOB, part)
    server.clock.pass_by(25)
    server.depot.collect()
    assert server.store.missing(own.cids()) == []
    assert server.depot.collect() == 0


def test_a_program_of_this_home_changes_a_vault_whose_blocks_came_through_the_server(
    server: Server, home: HomeBlocks, owner: Callable[[str], Owner]
) -> None:
    ada = owner("ada")
    ada.vault.add_bytes("a.txt", b"alpha")
    ada.vault.save_record("note", {"text": "kept"})
    ada.push()
    catalogue = Catalogue(server.engine)

    def noting(cid: Cid, sequence: int) -> AbstractContextManager[None]:
        return catalogue.changing_head(ada.vault_id, str(cid), sequence)

    vault = Vault(ada.root, ada.vault_id, home, noting=noting)
    vault.add_bytes("b.txt", b"beta")
    noted = catalogue.head(ada.vault_id)
    assert noted is not None
    assert noted.head == str(vault.head_cid)
    assert [entry.name for entry in Vault.restore(ada.root.words(), server.store).entries()] == ["a.txt", "b.txt"]


def test_a_program_that_puts_what_is_being_swept_waits_and_stores_it_anew(
    server: Server, home: HomeBlocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = some(3)
    server.depot.take(BOB, car(blocks))
    server.clock.pass_by(25)
    delete = server.depot.delete
    with ThreadPoolExecutor(1) as pool:
        waiting = []

        def late(doomed: Iterable[Cid]) -> None:
            waiting.append(pool.submit(home.put_many, blocks.items()))
            with pytest.raises(TimeoutError):
                waiting[0].result(timeout=0.2)
            delete(doomed)

        monkeypatch.setattr(server.depot, "delete", late)
        assert server.depot.collect() == 3
        waiting[0].result(timeout=60)
    home.flush()
    assert server.store.missing(blocks) == []
    assert server.depot.collect() == 0


def test_a_sweep_waits_for_a_program_that_puts_and_leaves_it_what_it_put(server: Server, home: HomeBlocks) -> None:
    blocks, others = some(3), some(2)
    server.depot.take(BOB, car({**blocks, **others}))
    server.clock.pass_by(25)
    home.put_many(blocks.items())
    with ThreadPoolExecutor(1) as pool:
        sweeping = pool.submit(server.depot.collect)
        with pytest.raises(TimeoutError):
            sweeping.result(timeout=0.2)
        home.flush()
        assert sweeping.result(timeout=60) == 2
    assert server.store.missing([*blocks, *others]) == list(others)


def test_what_is_not_committed_within_a_day_is_collected_and_asking_again_keeps_ones_own(server: Server) -> None:
    mine, other = some(3), some(2)
    server.depot.take(ADA, car({**mine, **other}))
    server.clock.pass_by(23)
    assert server.depot.collect() == 0
    server.depot.missing(ADA, mine)  # the upload goes on
    server.depot.missing(BOB, other)  # somebody else's question keeps nothing
    server.clock.pass_by(2)
    assert server.depot.collect() == 2
    assert server.depot.missing(ADA, [*mine, *other]) == list(other)
    server.clock.pass_by(25)
    assert server.depot.collect() == 3


def test_a_disk_that_is_nearly_full_takes_no_more_parts_and_keeps_what_it_has(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {tmp_path: 10 * MIB, tmp_path / "blocks": 10 * MIB}
    monkeypatch.setattr(depot.shutil, "disk_usage", lambda disk: SimpleNamespace(free=free[disk]))
    small = Depot(server.engine, server.store, limit=64 * MIB, reserve=8 * MIB, disks=list(free))
    kept, more = some(1, MIB), some(1, MIB)
    small.take(ADA, car(kept))
    for disk in free:
        free[disk] = 9 * MIB  # and the part's framing
        with pytest.raises(NoRoom, match="nearly full"):
            small.take(ADA, car(more))
        free[disk] = 10 * MIB
    assert server.store.missing([*kept, *more]) == list(more)
    assert small.take(ADA, car(more)).stored == 1


def test_what_an_account_may_have_uncommitted_is_bounded_and_a_commit_makes_room(
    server: Server, ada: Owner, bob: Owner
) -> None:
    small = Depot(server.engine, server.store, limit=3 * MIB)
    ada.vault.add_bytes("a.bin", os.urandom(2 * MIB))
    blocks = {cid: ada.blocks.get(cid) for cid in ada.blocks.cids()}
    small.take(ada.account, car(blocks))
    small.take(ada.account, car(blocks))  # again costs nothing
    more = some(1, MIB + MIB // 2)
    with pytest.raises(NoRoom, match="at most"):
        small.take(ada.account, car(more))
    assert server.store.missing(more) == list(more)
    assert small.take(bob.account, car(more)).stored == 1
    ada.push()
    assert small.take(ada.account, car(more)).known == 1


def test_heads_wait_outside_of_the_store_and_few_of_them(server: Server, ada: Owner) -> None:
    heads = []
    for number in range(12):
        ada.vault.add_bytes(f"{number}.txt", b"x")
        assert ada.vault.head_cid is not None
        heads.append(ada.vault.head_cid)
        server.clock.pass_by(0.01)
        server.depot.take(ada.account, car({heads[-1]: ada.blocks.get(heads[-1])}))
    assert list(server.store.cids()) == []
    with pytest.raises(NotFound):
        server.depot.get(heads[-1])
    assert server.depot.missing(ada.account, heads) == heads[:4]
    assert server.depot.missing(BOB, heads) == heads


# Attacks on what is somebody else's.


def test_listing_anothers_blocks_and_removing_them_deletes_nothing_of_the_other(
    server: Server, ada: Owner, bob: Owner
) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(3 * MIB))
    ada.push()
    theirs = set(server.store.cids())
    steal(ada, bob)
    server.clock.pass_by(25)
    server.depot.collect()
    assert theirs <= set(server.store.cids())


def test_listing_what_another_has_not_committed_yet_and_removing_it_deletes_nothing(
    server: Server, ada: Owner, bob: Owner
) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(3 * MIB))
    ada.send_all()
    steal(ada, bob)
    assert ada.push() == 0


def test_listing_what_other_programs_of_the_home_put_and_removing_it_deletes_nothing(
    server: Server, ada: Owner, bob: Owner
) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(3 * MIB))
    for cid in ada.blocks.cids():
        server.store.put(cid, ada.blocks.get(cid))
    server.store.flush()
    theirs = set(server.store.cids())
    server.depot.take(bob.account, car({cid: ada.blocks.get(cid) for cid in theirs}))
    steal(ada, bob)
    server.clock.pass_by(25)
    server.depot.collect()
    assert theirs <= set(server.store.cids())


def steal(victim: Owner, thief: Owner) -> None:
    """Commit an object of one's own whose payload is the victim's, then remove it."""
    from dataclasses import replace

    (entry,) = victim.vault.entries()
    manifest = replace(victim.vault.manifest(entry.object_id), vault_id=thief.vault_id)
    for cid in victim.blocks.cids():
        thief.blocks.put(cid, victim.blocks.get(cid))
    sealed = thief.vault.add_bytes("b.txt", b"one")
    listed = thief.vault.manifest(sealed.object_id)
    fake = replace(listed, payload=manifest.payload, size=manifest.size)
    cid = thief.blocks.add(DAG_CBOR, fake.encode())
    thief.vault._heads.commit(lambda now: replace(now, objects=(*now.objects, cid)))
    thief.push()
    thief.vault._heads.commit(lambda now: replace(now, objects=()))
    thief.push()


def test_a_block_is_not_deleted_between_the_look_at_it_and_the_commit_that_holds_it(
    server: Server, ada: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It expires just after the walk found it there: the commit says that it is missing, and does not stand on air."""
    from allod import vaults
    from vault.reachable import Incomplete

    ada.vault.add_bytes("a.bin", os.urandom(MIB))
    ada.send_all()
    head = ada.vault.head_cid
    assert head is not None
    walk = vaults.reach

    def walk_then_expire(*args: object) -> object:
        found = walk(*args)  # type: ignore[arg-type]
        server.clock.pass_by(25)
        assert server.depot.collect() > 0
        return found

    monkeypatch.setattr(vaults, "reach", walk_then_expire)
    with pytest.raises(Incomplete):
        ada.commit(head, None)
    monkeypatch.setattr(vaults, "reach", walk)
    ada.push()
    assert set(server.store.cids()) == set(ada.blocks.cids())


def test_collecting_beside_uploads_and_commits_loses_nothing(server: Server, owner: Callable[[str], Owner]) -> None:
    people = [owner(name) for name in ("ada", "bob", "cyd")]
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            server.depot.collect()

    def live(one: Owner) -> None:
        one.root, one.blocks = type(one.root).generate(), type(one.blocks)()
        one.__post_init__()
        for number in range(4):
            entry = one.vault.add_bytes(f"{number}.bin", os.urandom(MIB // 4))
            one.push()
            if number % 2:
                one.vault.remove(entry.object_id)
                one.push()

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(live, people))
    finally:
        stop.set()
        collector.join()
    server.depot.collect()
    assert set(server.store.cids()) == {cid for one in people for cid in one.blocks.cids()}


def test_a_sweep_that_was_killed_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from allod import holdings

    server.depot.take(ADA, car(some(5)))
    server.clock.pass_by(25)

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    forget = holdings.forget_uploaded
    monkeypatch.setattr(holdings, "forget_uploaded", die)
    with pytest.raises(KeyboardInterrupt):
        server.depot.collect()
    monkeypatch.setattr(holdings, "forget_uploaded", forget)
    assert server.depot.collect() == 5
    assert list(server.store.cids()) == []
    assert server.depot.collect() == 0


def test_reading_damaged_bytes_is_not_the_askers_fault(server: Server) -> None:
    (cid,) = blocks = some(1)
    server.depot.take(ADA, car(blocks))
    segment = next(server.store._path.glob("*.car"))
    segment.write_bytes(segment.read_bytes().replace(blocks[cid], bytes(len(blocks[cid]))))
    with pytest.raises(Unavailable, match="damaged"):
        server.depot.get(cid)
    assert server.depot.take(ADA, car(blocks)).known == 1
    assert server.depot.get(cid) == blocks[cid]


def test_the_same_on_a_kubo_node(server: Server, tmp_path: Path) -> None:
    with stand_in() as node, KuboStore(node.address, lock=tmp_path / "kubo.lock", patience=1) as store:
        depot = Depot(server.engine, store, limit=64 * MIB, clock=server.clock)
        vaults = Vaults(depot, limit=64 * MIB)
        ada = Owner(Server(server.engine, server.store, server.clock, depot, vaults), ADA)
        gone = ada.vault.add_bytes("a.bin", os.urandom(2 * MIB))
        ada.push()
        assert set(store.cids()) == set(ada.blocks.cids())
        ada.vault.remove(gone.object_id)
        ada.push()
        depot.take(BOB, car(some(3)))
        server.clock.pass_by(25)
        assert depot.collect() == 3
        assert set(store.cids()) == set(ada.blocks.cids())
        assert Vault.restore(ada.root.words(), store).head_cid == ada.vault.head_cid


def test_a_node_that_goes_away_fails_the_part_and_the_next_one_is_taken(server: Server, tmp_path: Path) -> None:
    with stand_in() as node, KuboStore(node.address, lock=tmp_path / "kubo.lock", patience=0) as store:
        depot = Depot(server.engine, store, limit=64 * MIB)
        first = some(2)
        depot.take(ADA, car(first))
        node.script("dag/import", standin.says_403)
        with pytest.raises(Unavailable):
            depot.take(ADA, car(some(2)))
        node.heal()
        again = some(2)
        assert depot.take(BOB, car(again)).stored == 2
        assert depot.missing(ADA, [*first, *again]) == []
