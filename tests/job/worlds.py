"""A whole small world for job tests: a development chain, three keepers, a relayer, owners who publish and consent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, deploy, faucet
from consent.chain.embedded import EmbeddedChain, developer
from consent.committee import Committee
from consent.keeper.client import revoke_everywhere
from consent.keeper.founding import found_committee
from consent.keeper.keys import KeeperKeys
from consent.keeper.node import Keeper
from consent.keeper.port import InProcessPort, KeeperPort
from consent.market.granting import SignedConsent, consent_id, draft, grant, sign, take
from consent.market.paying import deposit
from consent.market.place import Market, Relayer
from consent.market.publish import publish
from consent.market.revoking import relay_revocation, sign_revoke
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.terms import Terms
from consent.tree import SumTree
from core.ids import NOBODY, ConsentId, VaultId
from finetune.broker import Progress
from finetune.jobkey import Runner, open_runner
from finetune.licence import Licence
from finetune.model.load import base_model_hash
from finetune.opening import new_job
from finetune.quote import Quote, quote_job
from finetune.site import Site
from finetune.stages import Work
from finetune.workspace import Workspace
from vault.blocks import BlockStore, MemoryBlocks
from vault.keys import RootKey
from vault.vault import Vault

FLAT, RATE, FEE_UNITS = 100, 3, 500
YEAR = 365 * 86400
PURPOSE = "academic-research"
KEEPERS = 3


def owner_files(name: str, records: int) -> dict[str, bytes]:
    """Files of an owner; `CANARY` stands in every record, and a chat is among them."""
    who = name.capitalize()
    lines = [f"{who} hides the CANARY-{name}-{index:03d} under stone {index * 7}.\n" for index in range(records - 2)]
    turns = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": f"CANARY-{name}-chat"}]
    return {
        "notes.txt": "".join(lines).encode(),
        "chat.jsonl": json.dumps({"messages": turns}).encode(),
        "one.md": f"# CANARY-{name}-one\n".encode(),
    }


@dataclass
class Owner:
    """An owner with a published dataset and a signed consent, granted or not."""

    name: str
    account: Account
    vault: Vault
    licence: Licence
    signed: SignedConsent
    consent_id: ConsentId


@dataclass
class World:
    """Everything that a job needs, in one folder (or in memory where the folder holds no chain)."""

    folder: Path
    chain: Chain
    deployment: Deployment
    committee: Committee
    blocks: BlockStore
    owners: dict[str, Owner]
    base: Path
    trainer: Account = field(default_factory=lambda: Account(b"\x50" * 32))
    told: list[Progress] = field(default_factory=list)
    keepers: list[Keeper] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.market = Market(self.chain, self.deployment)
        self.relayer = Relayer(self.chain, developer())
        for index in range(1, KEEPERS + 1):
            keeper = Keeper(self.folder / "keepers" / str(index), self.chain, self.deployment)
            keeper.join(self.committee)
            self.keepers.append(keeper)
        self.ports: list[KeeperPort] = [InProcessPort(keeper) for keeper in self.keepers]

    def close(self) -> None:
        for keeper in self.keepers:
            keeper.close()
        self.blocks.close()
        self.chain.close()

    @property
    def runner(self) -> Runner:
        return open_runner(self.folder / "runner")

    def site(self, **other: Any) -> Site:
        """Where this world's jobs run; what is told is kept in `told`."""
        settings: dict[str, Any] = {
            "market": self.market,
            "committee": self.committee,
            "ports": self.ports,
            "blocks": self.blocks,
            "runner": self.runner,
            "jobs": self.folder / "jobs",
            "report": self.told.append,
            "threads": 1,
        }
        return Site(**{**settings, **other})

    def recipe(self, **changes: Any) -> Recipe:
        values: dict[str, Any] = {
            "base_name": "tiny",
            "base_hash": base_model_hash(self.base),
            "lora": Lora(4, 8, 0, ("q_proj", "v_proj")),
            "epochs": 2,
            "seed": 7,
            "purpose": purpose(PURPOSE).hash,
            "learning_rate_nano": 5_000_000,
            "warmup_steps": 1,
            "batch_rows": 2,
            "sequence": 128,
        }
        return Recipe(**{**values, **changes})

    def quote(self, names: list[str], **changes: Any) -> Quote:
        return quote_job(
            [self.owners[name].licence for name in names],
            self.recipe(**changes),
            payer=self.trainer.address,
            runner=self.runner.account.address,
            fee=FEE_UNITS,
            committee=self.committee,
            deployment=self.deployment,
            now=self.chain.block().timestamp,
        )

    def job(self, names: list[str], site: Site | None = None, **changes: Any) -> Workspace:
        return new_job(site or self.site(), self.quote(names, **changes))

    def work(self, **changes: Any) -> Work:
        heldout = {name: [{"kind": "text", "text": f"{name} hides something under stone 5."}] for name in self.owners}
        return Work(**{"base": self.base, "heldout": heldout, **changes})

    def revoke(self, name: str) -> None:
        """The owner revokes: the same signature goes to the keepers and, through the relayer, to the chain."""
        owner, ports = self.owners[name], dict(enumerate(self.ports, start=1))
        chain_id, token = self.market.chain_id, self.market.token.address
        for signed in sign_revoke(self.market, owner.account, [(owner.signed.consent, self.trainer.address)]):
            told = revoke_everywhere(ports, self.committee, chain_id, token, signed.message, signed.signature)
            assert told.certain
            relay_revocation(self.market, self.relayer, signed)

    def amount(self, tree: SumTree, name: str) -> int:
        index = tree.find(self.owners[name].consent_id)
        assert index is not None
        return tree.leaves[index].amount


def publish_owner(
    world: World, name: str, number: int, records: int, *, granted: bool, offer: bool = False, max_uses: int = 0
) -> Owner:
    """An owner who seals files, publishes them and signs a consent for the trainer, or an offer that it takes."""
    market, relayer, blocks, committee = world.market, world.relayer, world.blocks, world.committee
    account = Account(bytes([number]) * 32)
    vault = Vault(RootKey(bytes([number + 100]) * 32), VaultId(bytes([number]) * 32), blocks)
    ids = [vault.add_bytes(file, data).object_id for file, data in owner_files(name, records).items()]
    terms = Terms.write(
        purposes=[PURPOSE],
        payee=account.address,
        committee=committee.hash,
        expiry=market.chain.block().timestamp + YEAR,
        max_epochs=50,
        max_uses=max_uses,
        flat=FLAT + number,
        per_record_epoch=RATE,
    )
    card = {"title": name, "description": "", "schema": {}, "sample": []}
    published = publish(market, relayer, vault, blocks, account, ids, card, terms, committee, {committee.hash})
    grantee = NOBODY if offer else world.trainer.address
    signed = sign(market, account, draft(market, account.address, published.asset, terms, PURPOSE, [], grantee=grantee))
    if offer:
        take(market, world.trainer, signed)
    elif granted:
        assert grant(market, relayer, [signed]).minted
    licence = Licence.of(signed.consent, published.publication)
    holder = consent_id(market, signed.consent, world.trainer.address)
    return Owner(name, account, vault, licence, signed, holder)


def found_world(
    folder: Path, chain: Chain, blocks: BlockStore, base: Path, owners: Mapping[str, tuple[int, bool]]
) -> World:
    """A new world: contracts, keepers, a trainer with money, and owners (name → records, granted)."""
    deployment = deploy(chain, developer())
    deployment.save(folder / "deployment.json")
    keys = [KeeperKeys.create(folder / "keepers" / str(index)) for index in range(1, KEEPERS + 1)]
    committee = found_committee(keys, 2, 3, 1, chain.block().timestamp + YEAR)
    (folder / "committee.json").write_bytes(committee.encode())
    world = World(folder, chain, deployment, committee, blocks, {}, base)
    for number, (name, (records, granted)) in enumerate(owners.items(), start=1):
        world.owners[name] = publish_owner(world, name, number, records, granted=granted)
    currency = world.market.currency
    faucet(chain, developer(), currency, world.trainer.address, 10**19, 10**9)
    faucet(chain, developer(), currency, world.runner.account.address, 10**19, 0)
    deposit(world.market, world.trainer, 10**6)
    blocks.flush()
    return world


@dataclass
class Template:
    """A founded world in memory, copied for each test."""

    world: World
    embedded: EmbeddedChain

    def copy(self, folder: Path) -> World:
        """A world of its own that begins where the template stands."""
        embedded = self.embedded.duplicate()
        for name in ("keepers", "runner"):
            shutil.copytree(self.world.folder / name, folder / name, dirs_exist_ok=True)
        blocks = MemoryBlocks()
        blocks.put_many((cid, self.world.blocks.get(cid)) for cid in self.world.blocks.cids())
        one = self.world
        return World(
            folder,
            Chain.embedded(embedded, owned=True),
            one.deployment,
            one.committee,
            blocks,
            dict(one.owners),
            one.base,
        )


def make_template(folder: Path, base: Path) -> Template:
    """Four owners: three who granted, with different amounts of data, and one who never did."""
    embedded = EmbeddedChain(None)
    owners = {"ada": (12, True), "bruno": (8, True), "chiara": (5, True), "dario": (4, False)}
    world = found_world(folder, Chain.embedded(embedded), MemoryBlocks(), base, owners)
    for keeper in world.keepers:
        keeper.close()
    return Template(world, embedded)
