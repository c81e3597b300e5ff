"""Running jobs to a bundle, and altering bundles as forgers would: with no key, their own, or the runner's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.embedded import EmbeddedChain
from consent.chain.jsonrpc import SERVER_ERROR, EmbeddedProvider, Provider, RpcError
from consent.history import History
from consent.keeper.keys import KeeperKeys
from consent.keeper.receipt import Receipt
from consent.order import Order
from consent.tree import SumTree
from consent.typed import keccak
from core.encoding import decode_cbor, encode_cbor, encode_json, to_hex
from finetune.provenance import (
    EVIDENCE,
    STATEMENT,
    bundle_job,
    read_statement,
    sign_statement,
    statement_hash,
    write_evidence,
    write_statement,
)
from finetune.run import run_job
from finetune.site import Site
from finetune.verify import Report, Trust, verify
from finetune.watch import Pace
from finetune.workspace import Workspace
from tests.job.paper import PaperTrainer
from tests.job.worlds import World, found_world
from vault.blocks import MemoryBlocks

FORGER = Account(b"\x0f" * 32)
AT_ONCE = Pace(seconds=0.0, steps=1)
OWNERS = {"ada": (12, True), "bruno": (8, True), "chiara": (5, True), "dario": (4, False)}
SETTLED = to_hex(keccak(b"Settled(address,uint256,uint256,uint256,bytes32)"))
Edit = Callable[[dict[str, Any]], object]


def found(folder: Path, base: Path) -> World:
    """A world on a chain in memory."""
    return found_world(folder, Chain.embedded(EmbeddedChain(None), owned=True), MemoryBlocks(), base, OWNERS)


def embedded_of(chain: Chain) -> EmbeddedChain:
    """The development chain behind a client that has it in this process."""
    provider = chain._provider
    assert isinstance(provider, EmbeddedProvider)
    return provider._chain


def history_of(world: World) -> History:
    return History.of(world.chain, world.deployment)


def trust_of(world: World) -> Trust:
    parts = world.deployment
    return Trust(
        chain_id=parts.chain_id,
        registry=parts.registry,
        consent_token=parts.consent_token,
        escrow=parts.escrow,
        committees=(world.committee.hash,),
    )


@dataclass(frozen=True)
class Proof:
    """A finished job with its bundle."""

    world: World
    job: Workspace
    bundle: Path

    @property
    def trust(self) -> Trust:
        return trust_of(self.world)

    @property
    def order(self) -> Order:
        return Order.decode(self.job.get("order.cbor"))

    @property
    def runner(self) -> Account:
        return self.world.runner.account

    def keeper(self, index: int) -> Account:
        return KeeperKeys.open(self.world.folder / "keepers" / str(index)).account

    def verify(self, bundle: Path | None = None, *, chain: Chain | None = None, **trust: Any) -> Report:
        """Verify the bundle, or another one, against this world's chain or another, with a trust changed in parts."""
        return verify(bundle or self.bundle, chain or self.world.chain, replace(self.trust, **trust), self.world.blocks)

    def copy(self, folder: Path) -> Path:
        """A bundle to be altered."""
        shutil.copytree(self.bundle, folder)
        return folder

    def posting(self, bundle: Path, final: SumTree | None = None) -> Chain:
        """This world's chain as if the runner had posted the statement of `bundle`, whatever it says; and as if q
        keepers had signed `final`.
        """
        statement = statement_hash((bundle / STATEMENT).read_bytes())
        return Chain(_Posted(embedded_of(self.world.chain), statement, final))

    def retold(self, folder: Path, doctor: Callable[[Workspace], None]) -> Path:
        """The bundle of a runner who changes its own folder before it signs, so that everything fits together."""
        shutil.copytree(self.job.folder, folder / "job", ignore=shutil.ignore_patterns("LOCK", "bundle"))
        job = Workspace(folder / "job")
        doctor(job)
        write_statement(job, SumTree.decode(job.get("final.cbor")), self.runner, folder / "bundle")
        write_evidence(job, folder / "bundle")
        return folder / "bundle"


class _Posted:
    """A chain whose Settled events carry another statement, and another root where a tree is given."""

    def __init__(self, chain: EmbeddedChain, statement: bytes, final: SumTree | None) -> None:
        self._inner: Provider = EmbeddedProvider(chain, owned=False)
        self._statement = statement.hex()
        self._root = None if final is None else f"{final.root:064x}"

    def request(self, method: str, params: Sequence[Any]) -> Any:
        found = self._inner.request(method, params)
        if method == "eth_getLogs":
            for log in found:
                if log["topics"][0] == SETTLED:  # data: times, root, statement
                    times, root = log["data"][:66], log["data"][66:130]
                    log["data"] = times + (self._root or root) + self._statement
        return found

    def close(self) -> None:
        return


class Elsewhere:
    """A node that says it serves another chain."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._inner: Provider = EmbeddedProvider(chain, owned=False)

    def request(self, method: str, params: Sequence[Any]) -> Any:
        return "0x1" if method == "eth_chainId" else self._inner.request(method, params)

    def close(self) -> None:
        return


class Broken:
    """A node that fails at every request of one method."""

    def __init__(self, chain: EmbeddedChain, method: str) -> None:
        self._inner: Provider = EmbeddedProvider(chain, owned=False)
        self._method = method

    def request(self, method: str, params: Sequence[Any]) -> Any:
        if method == self._method:
            raise RpcError(SERVER_ERROR, "out of order")
        return self._inner.request(method, params)

    def close(self) -> None:
        return


class Forgetful:
    """A chain of a node that keeps the newest state only, as most do."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._inner: Provider = EmbeddedProvider(chain, owned=False)
        self.refused = 0

    def request(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_call" and params[1] != "latest":
            self.refused += 1
            raise RpcError(SERVER_ERROR, "missing trie node")
        return self._inner.request(method, params)

    def close(self) -> None:
        return


def finish(world: World, names: list[str], bundle: Path, *, site: Site | None = None, stated: bool = True) -> Proof:
    """Run a job of these owners to its end and bundle it."""
    site = site or world.site(trainer=PaperTrainer)
    job = world.job(names, site)
    runner = world.runner.account
    hook = (lambda of, final: write_statement(of, final, runner, bundle)) if stated else None
    run_job(site, job, world.work(statement_hook=hook), payer=world.trainer)
    bundle_job(job, history_of(world), bundle)
    return Proof(world, job, bundle)


def edit_statement(bundle: Path, edit: Edit, account: Account | None) -> None:
    """Change the statement of `bundle`; signed by `account`, or left under the signature that it had."""
    path = bundle / STATEMENT
    envelope, document = read_statement(path.read_bytes())
    edit(document)
    if account is not None:
        path.write_bytes(sign_statement(document, account))
    else:
        path.write_bytes(replace(envelope, payload=encode_json(document)).encode())


def edit_receipts(bundle: Path, edit: Callable[[list[Receipt]], list[Receipt]]) -> None:
    """Put other receipts into `bundle`."""
    path = bundle / EVIDENCE / "receipts.cbor"
    receipts = edit([Receipt.read(row) for row in decode_cbor(path.read_bytes())["receipts"]])
    path.write_bytes(encode_cbor({"v": 1, "receipts": [receipt.fields() for receipt in receipts]}))


def put(bundle: Path, name: str, data: bytes) -> None:
    """Put another document into the place of one that `bundle` has."""
    path = bundle / EVIDENCE / name
    assert path.exists()
    path.write_bytes(data)


def changed(tree: SumTree, index: int, **changes: Any) -> bytes:
    """The encoded tree with one leaf changed."""
    leaves = list(tree.leaves)
    leaves[index] = replace(leaves[index], **changes)
    return SumTree(leaves).encode()
