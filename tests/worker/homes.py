"""Homes for the worker's tests: an owner who granted, one who never did, a payer with money, jobs of four steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from allod import trainer
from allod.identities import Unlocked
from allod.owner import grant, opened_vault, publish_dataset, sign_consent
from allod.world import World
from consent.chain.account import Account
from consent.chain.deployment import faucet
from consent.grant import Consent
from consent.market.paying import deposit
from consent.recipe import Lora, Recipe
from consent.terms import Terms
from core.ids import NOBODY, Asset
from finetune.model.load import base_model_hash
from finetune.workspace import Workspace
from tests.cli.conftest import PASSPHRASE
from tests.cli.prepared import QUICK
from vault.rootkey import RootKey

FLAT, RATE, EPOCHS, FEE = 1_000, 10, 4, 500
DEPOSIT = 10**6
OWNERS = ("ada", "dario")
LEAF = FLAT + RATE * EPOCHS
"""What the whole of an owner's leaf comes to, in UNITs: each has one record."""
_NUMBERS = {"ada": 1, "dario": 2, "tess": 3}


@dataclass
class Home:
    """What `make_home` made: the owners' consents, and who pays."""

    folder: Path
    base: Path
    consents: dict[str, Consent]
    payer: Account
    addresses: dict[str, bytes]


def make_home(
    world: World,
    base: Path,
    *,
    granted: tuple[str, ...] = ("ada",),
    offering: tuple[str, ...] = (),
    max_uses: int = 0,
) -> Home:
    """Owners who published and signed; those in `granted` have it on chain, those in `offering` signed an offer."""
    tess = person(world, "tess")
    faucet(world.chain, world.developer, world.market.currency, tess.identity.address, 10**18, DEPOSIT)
    deposit(world.market, tess.account, DEPOSIT)
    consents, addresses = {}, {}
    for name in OWNERS:
        owner = person(world, name)
        addresses[name] = bytes(owner.identity.address)
        with opened_vault(world, owner) as vault:
            lines = "".join(f"{name} hides the CANARY-{name}-{i} under a stone.\n" for i in range(4))
            notes = vault.add_bytes("notes.txt", lines.encode())
            terms = Terms.write(
                purposes=["academic-research"],
                payee=owner.identity.address,
                committee=world.committee.hash,
                expiry=int(time.time()) + 365 * 86400,
                max_epochs=10,
                max_uses=max_uses,
                flat=FLAT,
                per_record_epoch=RATE,
            )
            card = {"title": name, "description": "", "schema": ["text/plain"], "sample": ""}
            asset = publish_dataset(world, owner, vault, [notes.object_id], card, terms).asset
            grantee = NOBODY if name in offering else tess.identity.address
            signed = sign_consent(world, owner, vault, Asset(asset), "academic-research", grantee=grantee)
            if name in granted:
                grant(world, signed)
            consents[name] = signed.consent
    world.blocks.flush()
    return Home(world.home, base, consents, tess.account, addresses)


def person(world: World, name: str) -> Unlocked:
    root = RootKey(bytes([_NUMBERS[name]]) * 32)
    return world.identities.create(name, root, PASSPHRASE, cost=QUICK).unlock(PASSPHRASE)


def recipe(base: Path) -> Recipe:
    return Recipe(
        base_name="tiny",
        base_hash=base_model_hash(base),
        lora=Lora(4, 8, 0, ("q_proj", "v_proj")),
        epochs=EPOCHS,
        seed=7,
        purpose=trainer.write_recipe(base, "tiny", "academic-research", epochs=1).purpose,
        learning_rate_nano=5_000_000,
        warmup_steps=1,
        batch_rows=1,
        sequence=128,
    )


def quoted(world: World, home: Home, names: list[str], *, fee: int = FEE) -> tuple[int, Workspace]:
    """A job over these owners' data that no money was locked for."""
    consents = [home.consents[name] for name in names]
    row, job = trainer.begin(world, trainer.quote(world, home.payer.address, consents, recipe(home.base), fee))
    job.note(base=str(home.base))
    return row.number, job
