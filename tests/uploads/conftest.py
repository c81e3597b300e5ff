"""A server's depot and vaults over a store on disk, without HTTP, and owners whose vaults live in their own memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from allod import schema
from allod.client import push, send_missing
from allod.depot import Depot
from allod.vaults import Kept, Vaults, prove
from core.database import open_engine, utc_now
from core.ids import Address, VaultId
from vault.blocks import MemoryBlocks
from vault.car import write_car
from vault.carstore import CarStore
from vault.cid import Cid
from vault.rootkey import RootKey
from vault.vault import Vault

VAULT = VaultId(b"v" * 32)


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, hours: float) -> None:
        """Let time pass."""
        self.now += timedelta(hours=hours)


@dataclass
class Server:
    """What a server does with blocks and vaults."""

    engine: Engine
    store: CarStore
    clock: Clock
    depot: Depot
    vaults: Vaults


@dataclass
class Owner:
    """An account with a vault in its own memory; a `Keeping` that calls the server's logic."""

    server: Server
    account: Address
    root: RootKey = field(default_factory=RootKey.generate)
    vault_id: VaultId = VAULT
    blocks: MemoryBlocks = field(default_factory=MemoryBlocks)
    pushed: Cid | None = None

    def __post_init__(self) -> None:
        self.vault = Vault(self.root, self.vault_id, self.blocks)

    def missing(self, cids: list[Cid]) -> list[Cid]:
        return self.server.depot.missing(self.account, cids)

    def send(self, part: bytes) -> None:
        self.server.depot.take(self.account, part)

    def commit(self, head: Cid, previous: Cid | None, proof: bytes | None = None) -> None:
        done = self.server.vaults.commit(self.account, head, previous, proof)
        self.server.depot.sweep(done.dropped, self.account)

    def push(self) -> int:
        """Send what the server lacks and commit; how many blocks went."""
        sent = push(self, self.vault, self.blocks, self.pushed)
        self.pushed = self.vault.head_cid
        return sent

    def proof(self) -> bytes:
        """The vault's key says that it is this account's."""
        return prove(self.vault.signing_key, self.account, self.vault_id)

    def kept(self) -> Kept:
        """The vault as the server has it."""
        return self.server.vaults.of(self.account)

    def send_all(self) -> None:
        """Send every block that the server lacks, and commit nothing."""
        send_missing(self, self.blocks, self.blocks.cids())


def car(blocks: dict[Cid, bytes]) -> bytes:
    """A part with these blocks."""
    sink = io.BytesIO()
    write_car(sink, (), blocks.items())
    return sink.getvalue()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[Server]:
    with serving(f"sqlite:///{tmp_path / 'allod.db'}", tmp_path, clock) as server:
        yield server


@contextmanager
def serving(database: str, folder: Path, clock: Clock) -> Iterator[Server]:
    """A server's logic over this database, its store in `folder`."""
    engine = open_engine(database)
    schema.upgrade(engine)
    with CarStore(folder / "blocks", patience=30) as store:
        depot = Depot(engine, store, limit=64 << 20, clock=clock)
        yield Server(engine, store, clock, depot, Vaults(depot, limit=64 << 20))
    engine.dispose()


@pytest.fixture
def owner(server: Server) -> Callable[[str], Owner]:
    """Makes owners, each with an account of that name."""
    return lambda name: Owner(server, Address(name.encode().rjust(20, b"\0")))


@pytest.fixture
def ada(owner: Callable[[str], Owner]) -> Owner:
    return owner("ada")


@pytest.fixture
def bob(owner: Callable[[str], Owner]) -> Owner:
    return owner("bob")
