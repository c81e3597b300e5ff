"""The composition root: one home directory, and every part of Allod wired together in it.

Parts are opened when they are first used. The embedded default is a development chain, three keepers and a block store
in this process; each has a production twin behind the same interface.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from allod.identities import Identities
from core.errors import Conflict, NotFound
from core.files import Lock, write_atomic
from core.once import cached_property
from core.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from allod.chainview import ChainView
    from allod.depot import Depot
    from allod.offers import Offers
    from allod.vaults import Vaults
    from consent.chain.account import Account
    from consent.chain.client import Chain
    from consent.chain.deployment import Deployment
    from consent.chain.outbox import Outbox
    from consent.committee import Committee
    from consent.index.indexer import Indexer
    from consent.keeper.asking import Patience
    from consent.keeper.port import KeeperPort
    from consent.market.place import Market, Relayer, Sent
    from consent.records import ConsentBook
    from finetune.broker import Progress
    from finetune.jobkey import Runner
    from finetune.records import JobBook
    from finetune.site import Site
    from vault.blocks import BlockStore
    from vault.catalogue import Catalogue

THRESHOLD, KEEPERS, QUORUM = 2, 3, 3
TERM = 5 * 365 * 86400  # seconds that the embedded committee is in office
NOTICE = (
    "This is the embedded world: a development chain with play money, and three keepers in one process "
    "without any independence."
)
NOTICE_APART = (
    "This is a development chain with play money. Its keepers are processes of their own, but on one machine and in "
    "one hand: independence begins where others run them."
)


class World:
    """One home directory, which threads may share. Close it, or use it in a `with` block."""

    def __init__(self, settings: Settings, chain: Chain | None = None) -> None:
        """`chain` is one that the caller opened, and closes."""
        self.settings = settings
        self._chain = chain
        self.home = settings.home
        self._closing = ExitStack()
        self._opening = threading.RLock()
        self.sent: list[Sent] = []

    def close(self) -> None:
        """Let go of files, locks and connections."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def identities(self) -> Identities:
        """Who can act here."""
        return Identities(self.home)

    @cached_property
    def engine(self) -> Engine:
        """The database, brought to the newest schema."""
        from allod import schema
        from core.database import open_engine

        self.home.mkdir(parents=True, exist_ok=True)
        engine = open_engine(self.settings.database)
        self._closing.callback(engine.dispose)
        schema.upgrade(engine)
        return engine

    @cached_property
    def catalogue(self) -> Catalogue:
        """Published datasets, and the newest head of each vault."""
        from vault.catalogue import Catalogue

        return Catalogue(self.engine)

    @cached_property
    def consents(self) -> ConsentBook:
        """Signed consents and sent transactions."""
        from consent.records import ConsentBook

        return ConsentBook(self.engine)

    @cached_property
    def jobs(self) -> JobBook:
        """The jobs of this home."""
        from finetune.records import JobBook

        return JobBook(self.engine)

    @cached_property
    def store(self) -> BlockStore:
        """The bare block store: the embedded one, or that on the kubo node which the settings name."""
        from allod.storage import open_blocks

        store = open_blocks(self.settings)
        self._closing.callback(store.close)
        return store

    @cached_property
    def blocks(self) -> BlockStore:
        """The block store, for what this home itself puts: that stays, whatever strangers send to its server."""
        from allod.homeblocks import HomeBlocks

        blocks = HomeBlocks(self.store, lambda: self.engine)
        self._closing.callback(blocks.flush)
        return blocks

    @cached_property
    def depot(self) -> Depot:
        """The server's door to the blocks. (One for a process: ask for it before there are threads.)"""
        from allod.depot import Depot

        settings, store = self.settings, self.store
        return Depot(
            self.engine,
            store,
            limit=settings.upload_bytes,
            published=settings.vault_bytes,
            reserve=settings.reserve_bytes,
            disks=[self.home] if settings.kubo else [self.home, settings.blocks_folder],
        )

    @cached_property
    def vaults(self) -> Vaults:
        """The vaults that the server keeps."""
        from allod.vaults import Vaults

        return Vaults(self.depot, limit=self.settings.vault_bytes)

    @cached_property
    def chain(self) -> Chain:
        """The chain: the RPC endpoint of the settings, else the embedded one, here or in the process that serves it."""
        from consent.chain.joining import open_chain

        chain = self._chain
        if chain is None:
            patience = self.settings.patience
            chain = open_chain(self.home, self.settings.rpc_url, chain_id=self._expected_chain(), patience=patience)
            self._closing.callback(chain.close)
        chain.sending.keep_in(self._open_outbox)
        return chain

    def _expected_chain(self) -> int | None:
        """The chain that the settings' contracts are on, if they are known."""
        from consent.chain.deployment import Deployment

        path = self.settings.deployment_file
        return Deployment.load(path).chain_id if self.settings.rpc_url and path.exists() else None

    @cached_property
    def sight(self) -> Chain:
        """The chain as this home's keepers look at it: without patience, for what they wait for they refuse."""
        if self._chain is not None or self.settings.rpc_url is None:
            return self.chain
        from consent.chain.joining import open_chain

        chain = open_chain(self.home, self.settings.rpc_url, chain_id=self._expected_chain())
        self._closing.callback(chain.close)
        return chain

    def _open_outbox(self) -> Outbox:
        from consent.chain.records import DurableOutbox

        return DurableOutbox(self.engine)

    @cached_property
    def developer(self) -> Account:
        """The development chain's account that deploys, relays and runs the faucet. Its key is public."""
        from consent.chain.embedded import developer

        return developer()

    @cached_property
    def deployment(self) -> Deployment:
        """The contracts: those that the settings name, else the home's; its own chain gets them at its first use.

        `NotFound` where another chain is used and nobody said which contracts, `Conflict` if they are on another chain.
        """
        from consent.chain.deployment import Deployment, deployed

        if self.settings.rpc_url is None and self.settings.deployment is None:
            return deployed(self.home, self.chain, self.developer)
        path = self.settings.deployment_file
        if not path.exists():
            raise NotFound(
                f"Which contracts are used on that chain is not known: {path} is missing.",
                hint="Set ALLOD_DEPLOYMENT to the deployment.json of the world that runs there.",
            )
        found = Deployment.load(path)
        if found.chain_id != self.chain.chain_id:
            raise Conflict(
                f"The contracts of {path} are on chain {found.chain_id}, the endpoint serves {self.chain.chain_id}.",
                hint="Correct ALLOD_RPC_URL or ALLOD_DEPLOYMENT.",
            )
        return found

    @cached_property
    def market(self) -> Market:
        """The contracts, ready to be called."""
        from consent.market.place import Market

        return Market(self.chain, self.deployment, lambda: self.index)

    @cached_property
    def index(self) -> Indexer:
        """The contracts' events in the database."""
        from consent.index.indexer import Indexer

        return Indexer(self.chain, self.deployment, self.engine)

    @cached_property
    def view(self) -> ChainView:
        """What many accounts ask of the contracts, worked out once for each block."""
        from allod.chainview import ChainView

        return ChainView(self)

    @cached_property
    def offers(self) -> Offers:
        """The open offers of datasets."""
        from allod.offers import Offers

        return Offers(self)

    @cached_property
    def relayer(self) -> Relayer:
        """Sends what owners signed, and keeps what each transaction cost."""
        from consent.market.place import Relayer

        return Relayer(self.chain, self.developer, self.remember)

    def remember(self, sent: Sent, job: bytes | None = None) -> None:
        """Keep a transaction's cost: for this run in `sent`, for good in the database."""
        from consent.records import transaction_row

        self.sent.append(sent)
        self.consents.sent(transaction_row(sent, job))

    @cached_property
    def committee(self) -> Committee:
        """The keepers that this home accepts: those that the settings name, else its own three, founded at first use.

        `NotFound`, `InvalidInput` or `Corrupted` where the settings name no committee that every keeper signed.
        """
        from consent.committee import Committee

        if self.settings.committee is not None:
            return Committee.load(self.settings.committee)
        path = self.home / "keepers" / "committee.json"
        if not path.exists():
            with Lock(self.home / "keepers" / "LOCK", what="The founding of the keepers"):
                if not path.exists():
                    write_atomic(path, self._found().encode())
        committee = Committee.decode(path.read_bytes())
        committee.verify()
        return committee

    def _found(self) -> Committee:
        from consent.keeper.founding import found_committee
        from consent.keeper.keys import KeeperKeys

        folders = [self.home / "keepers" / str(index) for index in range(1, KEEPERS + 1)]
        keys = [KeeperKeys.open(folder) if folder.exists() else KeeperKeys.create(folder) for folder in folders]
        end = self.chain.block().timestamp + TERM
        return found_committee(keys, THRESHOLD, QUORUM, 1, end)

    @property
    def has_keepers(self) -> bool:
        """Whether this home's keepers were founded; `committee` and `ports` found them where they are missing."""
        return self.settings.committee is not None or (self.home / "keepers" / "committee.json").exists()

    @cached_property
    def ports(self) -> dict[int, KeeperPort]:
        """Doors to the committee's keepers by their indices: over HTTP to those that are processes of their own."""
        committee = self.committee
        ports: dict[int, KeeperPort] = {}
        if self._has_services:
            from consent.keeper.remote import HttpPort

            for member in committee.keepers:
                door = HttpPort(self._services.get(member.index, member.endpoint))
                self._closing.callback(door.close)
                ports[member.index] = door
            return ports
        from consent.keeper.node import Keeper
        from consent.keeper.port import InProcessPort

        for index in range(1, KEEPERS + 1):
            keeper = Keeper(self.home / "keepers" / str(index), self.sight, self.deployment)
            self._closing.callback(keeper.close)
            keeper.join(committee)
            ports[index] = InProcessPort(keeper)
        return ports

    @cached_property
    def _services(self) -> dict[int, str]:
        """Where this home's keepers answer while its `allod up` runs them."""
        from allod.services import keeper_services

        return {} if self.settings.committee is not None else keeper_services(self.home)

    @property
    def _has_services(self) -> bool:
        """Whether the keepers are processes of their own: others run them, or this home's `allod up` does."""
        return self.settings.committee is not None or bool(self._services)

    @property
    def notice(self) -> str | None:
        """What everyone should know of this world; None on a chain that is real."""
        if not self.chain.is_development:
            return None
        return NOTICE_APART if self._has_services else NOTICE

    @property
    def patience(self) -> Patience:
        """How long this home waits for its keepers."""
        from consent.keeper.asking import SERVICES, Patience

        return SERVICES if self._has_services else Patience()

    @cached_property
    def runner(self) -> Runner:
        """This machine as a runner of jobs."""
        from finetune.jobkey import open_runner

        return open_runner(self.home / "runner")

    def site(self, report: Callable[[Progress], None] | None = None) -> Site:
        """Where this home's jobs run."""
        from finetune.site import Site, in_silence

        return Site(
            market=self.market,
            committee=self.committee,
            ports=list(self.ports.values()),
            blocks=self.blocks,
            runner=self.runner,
            jobs=self.home / "jobs",
            report=report or in_silence,
            patience=self.patience,
        )


OpenWorld = Callable[[Settings], World]
"""How a long-lived process opens the home, anew for each thing that it does."""
