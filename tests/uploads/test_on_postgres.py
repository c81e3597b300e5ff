"""The same on PostgreSQL: sending, committing, removing, collecting, and commits that race."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import Conflict
from core.ids import Address
from tests.real import running_postgres
from tests.uploads.conftest import Clock, Owner, Server, car, serving
from tests.uploads.test_depot import some, steal


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[Server]:
    with running_postgres() as url, serving(url, tmp_path, clock) as server:
        yield server


def test_a_vault_lives_there_and_so_do_its_neighbours(server: Server, ada: Owner, bob: Owner) -> None:
    ada.vault.add_bytes("a.bin", os.urandom(2 << 20))
    ada.push()
    theirs = set(server.store.cids())
    steal(ada, bob)
    gone = ada.vault.add_bytes("b.bin", os.urandom(1 << 20))
    ada.push()
    ada.vault.remove(gone.object_id)
    ada.push()
    server.depot.take(Address(b"z" * 20), car(some(600, 10)))
    server.clock.pass_by(25)
    assert server.depot.collect() >= 600
    assert set(server.store.cids()) == set(ada.blocks.cids()) | {bob.vault.head_cid}
    assert len(theirs & set(server.store.cids())) == len(theirs) - 1  # the head was replaced
    assert ada.kept().bytes == sum(len(ada.blocks.get(cid)) for cid in ada.blocks.cids())

    ada.vault.add_bytes("c.txt", b"three")
    ada.send_all()
    head, previous = ada.vault.head_cid, ada.pushed
    assert head is not None

    def commit(_: int) -> bool:
        try:
            ada.commit(head, previous)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(commit, range(4)))
    assert ada.kept().head == head
