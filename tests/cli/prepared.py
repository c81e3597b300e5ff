"""A home in which an owner published and consented, a trainer paid, and a job ended without any training.

The passphrase slots are stretched at scrypt's lowest cost, so that a test of forty commands takes seconds.
"""

from __future__ import annotations

import time
from pathlib import Path

from allod import jobs, trainer
from allod.identities import Unlocked
from allod.owner import grant, opened_vault, publish_dataset, sign_consent
from allod.world import World
from consent.chain.deployment import faucet
from consent.market.paying import confirm, deposit
from consent.terms import Terms
from core.ids import NOBODY
from core.settings import Settings
from finetune.opening import note_transaction, open_job
from finetune.settle import close_books
from tests.cli.conftest import CANARY, PASSPHRASE
from vault.keys import Stretch
from vault.rootkey import RootKey

QUICK = Stretch(n=1 << 10)
FLAT, RATE, EPOCHS, FEE = 2_000_000, 10_000, 3, 500_000
NOTES = f"{CANARY}\n\nThe ferry leaves at six.\n"
ROOTS = {"ada": RootKey(bytes([1]) * 32), "tess": RootKey(bytes([2]) * 32)}


def make_home(home: Path) -> None:
    """`ada` with three objects, one published, one offer and one grant to `tess`; `tess` with money and job 1, done."""
    with World(Settings(home=home)) as world:
        ada, tess = (_person(world, name) for name in ("ada", "tess"))
        with opened_vault(world, ada) as vault:
            notes = vault.add_bytes("notes.md", NOTES.encode())
            vault.add_bytes("diary.txt", b"Nothing happened.\n")
            vault.add_bytes("photo.bin", bytes(range(256)) * 8)
            terms = Terms.write(
                purposes=["academic-research", "service-provision"],
                payee=ada.identity.address,
                committee=world.committee.hash,
                expiry=int(time.time()) + 365 * 86400,
                max_epochs=10,
                flat=FLAT,
                per_record_epoch=RATE,
            )
            card = {"title": "Ada's notes", "description": "", "schema": ["text/markdown"], "sample": ""}
            asset = publish_dataset(world, ada, vault, [notes.object_id], card, terms).asset
            address = tess.identity.address
            signed = sign_consent(world, ada, vault, asset, "academic-research", grantee=address)
            grant(world, signed)
            sign_consent(world, ada, vault, asset, "service-provision", grantee=NOBODY)
        faucet(world.chain, world.developer, world.market.currency, address, 10**18, 10**9)
        deposit(world.market, tess.account, 10**8)
        base = make_base(home.parent / "base")
        recipe = trainer.write_recipe(base, "tiny", "academic-research", epochs=EPOCHS)
        row, job = trainer.begin(world, trainer.quote(world, address, [signed.consent], recipe, FEE))
        trainer.fund_runner(world)
        order = open_job(world.site(), job, tess.account)
        sent = confirm(world.market, world.runner.account, order, bytes(32))
        note_transaction(job, sent.what, sent.receipt)
        close_books(world.site(), job, order, "confirmed")
        jobs.close(world, row.number, job)


def make_base(folder: Path) -> Path:
    """The files of a base model that is quoted for and never loaded."""
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def _person(world: World, name: str) -> Unlocked:
    return world.identities.create(name, ROOTS[name], PASSPHRASE, cost=QUICK).unlock(PASSPHRASE)
