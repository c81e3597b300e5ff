"""Long work of a few accounts leaves the server to everybody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from allod import vaults
from allod.server import datasets, turns
from allod.server.turns import Turns
from allod.world import World
from core.encoding import to_hex
from core.errors import Unavailable
from core.ids import Address, VaultId
from tests.server.calls.vaults import send
from tests.server.market import Owner
from tests.server.people import Person, again
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, Cid
from vault.rootkey import RootKey
from vault.vault import Vault

PATIENT = 60


class Gatekeeper:
    """Holds calls of a function until it is told to let them go on."""

    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act
        self.inside = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.count = 0

    def __call__(self, *given: Any) -> Any:
        self.count += 1
        self.inside.release()
        assert self.go_on.wait(PATIENT)
        return self._act(*given)


@contextmanager
def many(person: Callable[..., Person], ask: Callable[[Person], Any], held: Gatekeeper) -> Iterator[list[Future[Any]]]:
    """Twelve accounts ask four times each, at once, while all work stands still: more than the pool has threads."""
    with ExitStack() as stack:
        askers = [person(f"stranger {number}") for number in range(12)]
        tabs = [stack.enter_context(again(one)) for one in askers for _ in range(4)]
        with ThreadPoolExecutor(len(tabs)) as pool:
            try:
                yield [pool.submit(ask, tab) for tab in tabs]
            finally:
                held.go_on.set()


def settle(asked: list[Future[Any]], refused: int) -> None:
    """Wait until as many were answered."""
    pause = threading.Event()
    for _ in range(6000):
        if sum(one.done() for one in asked) >= refused:
            return
        pause.wait(0.01)
    raise AssertionError("they wait in the pool")


def test_commits_that_walk_for_minutes_leave_the_pool_to_others(
    world: World, person: Callable[..., Person], tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Gatekeeper(vaults.reach)
    monkeypatch.setattr(vaults, "reach", held)
    monkeypatch.setattr(turns, "PATIENCE", PATIENT)

    def commit(who: Person) -> Any:
        blocks = MemoryBlocks()
        vault = Vault(RootKey(who.account.address.rjust(32, b"\0")), VaultId(b"v" * 32), blocks)
        vault.add_bytes("a.txt", b"one")
        send(who, blocks).raise_for_status()
        return who.http.put("/v1/vaults/mine", json={"head": str(vault.head_cid), "previous": None})

    with many(person, commit, held) as asked:
        settle(asked, 48 - turns.ROOM)
        assert all(held.inside.acquire(timeout=PATIENT) for _ in range(turns.AT_ONCE))
        for one in asked:
            if one.done():
                answer = one.result()
                assert (answer.status_code, answer.json()["retry_after"]) == (503, 3)
                assert answer.headers["retry-after"] == "3"
        assert held.count == turns.AT_ONCE
        assert tom.http.get("/v1/sessions/current").status_code == 200
        assert person("ada").http.post("/v1/blocks/missing", json={"cids": []}).status_code == 200  # and signs in
    answers = [one.result().status_code for one in asked]
    assert answers.count(503) == 48 - turns.ROOM
    assert set(answers) <= {200, 409, 503}


def test_publications_that_are_read_for_minutes_leave_the_pool_to_others(
    world: World, person: Callable[..., Person], tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Gatekeeper(datasets.read_listing)
    monkeypatch.setattr(datasets, "read_listing", held)
    monkeypatch.setattr(turns, "PATIENCE", PATIENT)
    keys = iter(range(100))
    body = {"publication": str(Cid.of(DAG_CBOR, b"nowhere")), "signature": to_hex(bytes(65))}

    def publish(who: Person) -> Any:
        return who.http.post("/v1/datasets", json=body, headers={"Idempotency-Key": f"publish-{next(keys)}"})

    with many(person, publish, held) as asked:
        settle(asked, 48 - turns.ROOM)
        assert all(held.inside.acquire(timeout=PATIENT) for _ in range(turns.AT_ONCE))
        assert {one.result().status_code for one in asked if one.done()} == {503}
        assert held.count == turns.AT_ONCE
        assert tom.http.get("/v1/datasets").status_code == 200
    assert sorted({one.result().status_code for one in asked}) == [422, 503]
    monkeypatch.undo()
    owner = Owner(world, person("ada"))
    assert owner.publish()  # all places were given back


def test_of_one_account_few_wait_and_who_waits_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        ada, bob = Address(b"a" * 20), Address(b"b" * 20)
        held, own = Gatekeeper(lambda: 7), Turns("walks")
        working = [asyncio.create_task(own.take(ada, held)) for _ in range(turns.OF_ONE)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="Too many walks") as caught:
            await own.take(ada, held)
        assert caught.value.detail["retry_after"] > 0
        monkeypatch.setattr(turns, "PATIENCE", 0.01)
        with pytest.raises(Unavailable):
            await own.take(bob, held)
        held.go_on.set()
        assert await asyncio.gather(*working) == [7] * turns.OF_ONE
        assert await own.take(bob, lambda: 8) == 8
        with pytest.raises(ZeroDivisionError):
            await own.take(bob, lambda: 1 // 0)
        assert (dict(own._of), own._free.value) == ({}, turns.AT_ONCE)

    asyncio.run(story())


def test_work_whose_client_went_away_counts_until_its_end() -> None:
    async def story() -> None:
        ada = Address(b"a" * 20)
        held, own = Gatekeeper(lambda: 7), Turns("walks")
        task = asyncio.create_task(own.take(ada, held))
        while not held.count:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert (own._of[ada], own._free.value) == (1, turns.AT_ONCE - 1)
        held.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(PATIENT):
            while own._of:
                await asyncio.sleep(0)
        assert (dict(own._of), own._free.value) == ({}, turns.AT_ONCE)

    asyncio.run(story())
