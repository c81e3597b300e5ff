"""A small world of keepers: two consenting owners, one who never granted, an open job, and 2-of-3 keepers of bytes.

It is built once; each test gets copies of the chain and of the keepers' folders that go their own way.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, deploy, faucet
from consent.chain.embedded import EmbeddedChain, developer
from consent.committee import Committee
from consent.grant import Consent, nonce_of
from consent.keeper.founding import found_committee
from consent.keeper.keys import KeeperKeys
from consent.keeper.node import Keeper
from consent.keeper.port import InProcessPort
from consent.keeper.request import ReleaseRequest, SharedObject, release_digest
from consent.keeper.trees import write_deposit
from consent.keeper.wire import read_reply, sign
from consent.order import Order
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.terms import Counts, Terms, quote
from consent.tree import FEE, Leaf, SumTree
from consent.typed import keccak, permit_digest
from core.ids import NOBODY, Address, Asset, ConsentId, ObjectId, VaultId
from vault.cid import DAG_CBOR, RAW, Cid
from vault.manifest import DatasetHeader, ObjectManifest, dataset_tree
from vault.sharetable import ShareTable, verify_row
from vault.sharing import Scope, hpke_generate, open_release, share_objects

OBJECT_SIZE = 140
RECORDS = 40
FEE_UNITS = 250


class Clock:
    """The wall clock, moved by `offset` seconds."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass
class Dataset:
    """One owner's dataset: documents, data keys, terms and a signed share table."""

    owner: Account
    signing: Ed25519PrivateKey
    vault_id: VaultId
    manifests: list[bytes]
    deks: dict[ObjectId, bytes]
    header: bytes
    asset: Asset
    terms: Terms
    table: ShareTable
    consent: Consent

    @property
    def ids(self) -> list[ObjectId]:
        return sorted(self.deks)


def account(seed: str) -> Account:
    return Account(keccak(seed.encode()))


def make_dataset(seed: str, place: Deployment, committee: Committee, trainer: Account, objects: int = 3) -> Dataset:
    """A dataset as a vault would build it; its payloads are never opened here."""
    owner, signing = account(seed), Ed25519PrivateKey.from_private_bytes(keccak(b"sign" + seed.encode()))
    vault_id = VaultId(keccak(b"vault" + seed.encode()))
    ids = sorted(ObjectId(keccak(f"{seed}{i}".encode())) for i in range(objects))
    deks = {object_id: keccak(b"dek" + object_id) for object_id in ids}
    manifests = [
        ObjectManifest(
            vault_id, object_id, Cid.of(RAW, object_id), OBJECT_SIZE, keccak(object_id), bytes(60), b"meta"
        ).encode()
        for object_id in ids
    ]
    header = DatasetHeader(
        vault_id,
        signing.public_key().public_bytes_raw(),
        dataset_tree(manifests).root,
        objects,
        RECORDS,
        Cid.of(DAG_CBOR, b"card"),
    ).encode()
    asset = Asset(keccak(owner.address + hashlib.sha256(header).digest()))
    terms = Terms.write(
        purposes=["service-provision"],
        payee=owner.address,
        committee=committee.hash,
        expiry=int(time.time()) + 10 * 86400,
        max_epochs=4,
        flat=1_000,
        per_record_epoch=5,
    )
    scope = Scope(place.chain_id, place.consent_token, owner.address, asset, vault_id)
    table = share_objects(scope, deks, committee.id, committee.t, committee.hpke_keys, signing, 1)
    consent = Consent(
        owner=owner.address,
        grantee=trainer.address,
        asset=asset,
        terms=terms.hash,
        purpose=purpose("service-provision").hash,
        runner=NOBODY,
        escrow=place.escrow,
        not_before=int(time.time()) - 60,
        expiry=int(time.time()) + 9 * 86400,
        max_uses=0,
        nonce=nonce_of(0, 7, 3),
    )
    return Dataset(owner, signing, vault_id, manifests, deks, header, asset, terms, table, consent)


@dataclass
class World:
    """The chain, the contracts, the people, the open job, and how to ask keepers."""

    chain: Chain
    place: Deployment
    folder: Path
    committee: Committee
    trainer: Account
    runner: Account
    stranger: Account
    datasets: dict[str, Dataset]
    recipe: Recipe
    job_private: bytes
    job_public: bytes
    tree: SumTree
    order: Order
    clock: Clock = field(default_factory=Clock)
    keepers: list[Keeper] = field(default_factory=list)

    def start_keepers(self) -> None:
        for index in range(1, self.committee.n + 1):
            keeper = Keeper(self.folder / str(index), self.chain, self.place, clock=self.clock)
            keeper.join(self.committee)
            self.keepers.append(keeper)

    def stop_keepers(self) -> None:
        for keeper in self.keepers:
            keeper.close()
        self.keepers.clear()

    @property
    def ports(self) -> dict[int, InProcessPort]:
        return {index: InProcessPort(keeper) for index, keeper in enumerate(self.keepers, start=1)}

    def consent_id(self, name: str = "ada") -> ConsentId:
        consent = self.datasets[name].consent
        return consent.id(self.place.chain_id, self.place.consent_token, self.trainer.address)

    def request(
        self, name: str = "ada", order: Order | None = None, ids: Sequence[ObjectId] | None = None
    ) -> ReleaseRequest:
        data = self.datasets[name]
        tree = dataset_tree(data.manifests)
        objects = []
        for object_id in ids if ids is not None else data.ids:
            index = data.ids.index(object_id)
            row, row_index, row_proof = data.table.row(object_id)
            proof = tuple(tree.proof(index))
            objects.append(SharedObject(data.manifests[index], index, proof, row, row_index, tuple(row_proof)))
        return ReleaseRequest(
            committee_id=self.committee.id,
            order=order or self.order,
            consent=data.consent,
            terms=data.terms.encode(),
            recipe=self.recipe.encode(),
            header=data.header,
            table=data.table.head_bytes,
            table_sig=data.table.sig,
            objects=tuple(objects),
        )

    def ask(
        self, request: ReleaseRequest, *, keeper: int = 1, signer: Account | None = None, named: int | None = None
    ) -> dict[str, object]:
        """One keeper's reply to a request that the runner signed; a refusal raises."""
        body = request.body(named or keeper)
        order = request.order
        holder = request.consent.grantee if request.consent.grantee != NOBODY else order.payer
        consent_id = request.consent.id(self.place.chain_id, self.place.consent_token, holder)
        signature = (signer or self.runner).sign_hash(release_digest(order, consent_id, named or keeper, body))
        reply = self.keepers[keeper - 1].handle("release", sign(body, signature))
        return read_reply(reply, ("shares", "receipt"), "The keeper's reply")

    def hand_in(self, order: Order | None = None, tree: SumTree | None = None) -> None:
        data = write_deposit(order or self.order, tree or self.tree)
        for keeper in self.keepers:
            read_reply(keeper.handle("tree", data), ("job",), "The keeper's reply")

    def check(self, name: str = "ada") -> Callable[[ObjectId, int, bytes], None]:
        def check(object_id: ObjectId, keeper: int, sealed: bytes) -> None:
            self.open(name, object_id, keeper, sealed)

        return check

    def open(self, name: str, object_id: ObjectId, keeper: int, sealed: bytes, job: bytes | None = None) -> bytes:
        """The share inside a released envelope."""
        data = self.datasets[name]
        head = data.table.head
        row = verify_row(head, *data.table.row(object_id))
        scope = Scope(self.place.chain_id, self.place.consent_token, data.owner.address, data.asset, data.vault_id)
        return open_release(
            self.job_private,
            sealed,
            scope,
            head,
            row,
            keeper,
            self.committee.hpke_keys[keeper - 1],
            job or self.order.job_id,  # type: ignore[arg-type]
        )

    def transact(self, who: Account, contract: str, name: str, *args: object) -> None:
        getattr(self.place.contracts(self.chain), contract).transact(who, name, *args)

    def open_job(
        self, tree: SumTree, *, lane: int, span: int = 7200, counted: Sequence[Consent] = (), **changes: object
    ) -> Order:
        """Open another job of the trainer's with this tree, which counts these consents."""
        draft = replace(
            self.order,
            lane=lane,
            opened=0,
            start=self.chain.block().timestamp + span,
            root=tree.root,
            counted=tuple(
                item.id(self.place.chain_id, self.place.consent_token, self.trainer.address) for item in counted
            ),
            **changes,  # type: ignore[arg-type]
        )
        uses = [item.as_tuple() for item in counted]
        receipt = self.place.contracts(self.chain).escrow.transact(
            self.trainer, "open", lane, draft.start, draft.runner, draft.spec, draft.root, uses, [0, 0, 0]
        )
        return draft.opened_at(self.chain.block(receipt.block_hash).timestamp)


def _build(folder: Path) -> World:
    chain = Chain.embedded(EmbeddedChain(None), owned=True)
    place = deploy(chain, developer())
    trainer, runner, stranger = account("trainer"), account("runner"), account("stranger")
    contracts = place.contracts(chain)
    for person in (trainer, runner, stranger):
        faucet(chain, developer(), contracts.currency, person.address, 10**18, 1_000_000)
    keys = [KeeperKeys.create(folder / str(index)) for index in (1, 2, 3)]
    committee = found_committee(keys, 2, 3, 1, int(time.time()) + 30 * 86400)
    datasets = {name: make_dataset(name, place, committee, trainer) for name in ("ada", "bob", "cyd")}
    recipe = Recipe(
        base_name="demo",
        base_hash=bytes([7]) * 32,
        lora=Lora(16, 32, 0, ("k_proj", "q_proj")),
        epochs=3,
        seed=7,
        purpose=purpose("service-provision").hash,
        learning_rate_nano=5_000_000,
        warmup_steps=10,
        batch_rows=32,
        sequence=256,
    )
    granted = [datasets[name] for name in ("ada", "bob")]
    contracts.consent_token.transact(
        developer(),
        "redeem",
        [data.consent.as_tuple() for data in granted],
        [data.owner.sign_hash(data.consent.digest(place.chain_id, place.consent_token)) for data in granted],
    )
    deadline = chain.block().timestamp + 3600
    domain = contracts.currency.read("DOMAIN_SEPARATOR")
    permit = trainer.sign_hash(permit_digest(domain, trainer.address, place.escrow, 500_000, 0, deadline))
    contracts.escrow.transact(trainer, "deposit", 500_000, deadline, permit[64], permit[:32], permit[32:64])
    tree = SumTree(
        [
            *(
                Leaf(
                    data.consent.id(place.chain_id, place.consent_token, trainer.address),
                    data.terms.payee,
                    quote(data.terms, recipe, Counts(3, RECORDS)),
                )
                for data in datasets.values()
            ),
            Leaf(FEE, runner.address, FEE_UNITS),
        ]
    )
    job_private, job_public = hpke_generate()
    order = Order(
        chain_id=place.chain_id,
        escrow=Address(place.escrow),
        payer=trainer.address,
        lane=0,
        opened=0,
        start=chain.block().timestamp + 7200,
        runner=runner.address,
        recipe_hash=recipe.hash,
        job_pk=job_public,
        fee=FEE_UNITS,
        q=committee.q,
        keepers=committee.addresses,
        root=tree.root,
    )
    world = World(
        chain,
        place,
        folder,
        committee,
        trainer,
        runner,
        stranger,
        datasets,
        recipe,
        job_private,
        job_public,
        tree,
        order,
    )
    world.order = world.open_job(tree, lane=0)
    return world


@pytest.fixture(scope="session")
def first_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, EmbeddedChain]]:
    world = _build(tmp_path_factory.mktemp("keepers"))
    yield world, world.chain._provider._chain  # type: ignore[attr-defined]
    world.chain.close()


@pytest.fixture
def world(first_world: tuple[World, EmbeddedChain], tmp_path: Path) -> Iterator[World]:
    """A world of one's own, with running keepers that hold the job's tree."""
    first, embedded = first_world
    folder = tmp_path / "keepers"
    shutil.copytree(first.folder, folder)
    chain = Chain.embedded(embedded.duplicate(), owned=True)
    own = replace(first, chain=chain, folder=folder, clock=Clock(), keepers=[], datasets=dict(first.datasets))
    own.start_keepers()
    own.hand_in()
    yield own
    own.stop_keepers()
    chain.close()
