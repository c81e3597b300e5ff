"""Values that the consent tests share: one well-formed consent, terms, recipe, committee and order."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from consent.chain.account import Account
from consent.committee import Committee, Member
from consent.grant import Consent, nonce_of
from consent.order import Order
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.terms import Terms
from consent.tree import FEE, Leaf, SumTree
from core.ids import NOBODY, Address, Asset

CHAIN_ID = 31337
TOKEN = Address(bytes([0xC0]) * 20)
ESCROW = Address(bytes([0xE5]) * 20)


@dataclass(frozen=True)
class Sample:
    owner: Account
    trainer: Account
    runner: Account
    keepers: tuple[Account, ...]
    committee: Committee
    recipe: Recipe
    terms: Terms
    consent: Consent
    tree: SumTree
    order: Order


def build_sample() -> Sample:
    owner, trainer, runner = (Account(bytes([n]) * 32) for n in (1, 2, 3))
    keepers = tuple(Account(bytes([n]) * 32) for n in (11, 12, 13))
    members = tuple(
        Member(i, bytes([i]) * 1216, key.address, f"in-process:{i}") for i, key in enumerate(keepers, start=1)
    )
    committee = Committee(t=2, q=3, epoch=1, end=2_000_000_000, keepers=members)
    committee = committee.signed([key.sign_hash(committee.digest) for key in keepers])
    recipe = Recipe(
        base_name="demo",
        base_hash=bytes([7]) * 32,
        lora=Lora(16, 32, 0, ("k_proj", "q_proj", "v_proj")),
        epochs=3,
        seed=7,
        purpose=purpose("service-provision").hash,
        learning_rate_nano=5_000_000,
        warmup_steps=10,
        batch_rows=32,
        sequence=256,
    )
    terms = Terms(
        purposes=("academic-research", "service-provision"),
        base_models=(recipe.base_hash,),
        max_epochs=4,
        max_uses=2,
        flat=1_000,
        per_record_epoch=5,
        payee=owner.address,
        expiry=1_900_000_000,
        runner=NOBODY,
        committee=committee.hash,
        salt=bytes([9]) * 32,
    )
    consent = Consent(
        owner=owner.address,
        grantee=trainer.address,
        asset=Asset(bytes([0xA5]) * 32),
        terms=terms.hash,
        purpose=recipe.purpose,
        runner=NOBODY,
        escrow=ESCROW,
        not_before=1_700_000_000,
        expiry=1_900_000_000,
        max_uses=2,
        nonce=nonce_of(0, 5, 3),
    )
    consent_id = consent.id(CHAIN_ID, TOKEN, trainer.address)
    tree = SumTree([Leaf(consent_id, owner.address, 1_000 + 5 * 40 * 3), Leaf(FEE, runner.address, 250)])
    order = Order(
        chain_id=CHAIN_ID,
        escrow=ESCROW,
        payer=trainer.address,
        lane=0,
        opened=1_800_000_000,
        start=1_800_086_400,
        runner=runner.address,
        recipe_hash=recipe.hash,
        job_pk=bytes([4]) * 1216,
        fee=250,
        q=committee.q,
        keepers=committee.addresses,
        root=tree.root,
        counted=(consent_id,),
    )
    return Sample(owner, trainer, runner, keepers, committee, recipe, terms, consent, tree, order)


@pytest.fixture(scope="session")
def sample() -> Sample:
    return build_sample()
