"""An owner signs only terms of their own, and a trainer relies only on terms that the owner put on chain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from allod import listing, owner, trainer
from allod.demo.people import CARD
from allod.identities import Unlocked
from allod.world import World
from consent.keeper.revocation import RevokeAll
from consent.market import revoking
from consent.terms import Terms
from core.database import transaction
from core.errors import Corrupted, InvalidInput, NotFound, Unavailable
from core.ids import Address, Asset
from core.settings import Settings
from vault.catalogue import DatasetRow
from vault.keys import Stretch
from vault.rootkey import RootKey
from vault.vault import Vault

PURPOSE = "academic-research"
THIEF = Address(b"\x66" * 20)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(Settings(home=tmp_path / "home")) as world:
        yield world


@pytest.fixture
def ada(world: World) -> Unlocked:
    world.identities.create("ada", RootKey.generate(), "passphrase", cost=Stretch(n=1 << 10))
    return world.identities.get("ada").unlock("passphrase")


@pytest.fixture
def vault(world: World, ada: Unlocked) -> Iterator[Vault]:
    with owner.opened_vault(world, ada) as vault:
        yield vault


def publish(world: World, ada: Unlocked, vault: Vault) -> tuple[Asset, Terms]:
    entry = vault.add_bytes("notes.txt", b"The ferry leaves at six.\n")
    terms = Terms.write(
        purposes=[PURPOSE],
        payee=ada.identity.address,
        committee=world.committee.hash,
        expiry=int(time.time()) + 86400,
        flat=5_000_000,
    )
    card = {"title": "Notes", "description": "", "schema": [], "sample": ""}
    return owner.publish_dataset(world, ada, vault, [entry.object_id], card, terms).asset, terms


def swap_terms(world: World, asset: Asset, terms: Terms) -> None:
    """What an attacker does who can write a catalogue: the same dataset, under terms of his own."""
    found = listing.publication_of(world, asset)
    cid = replace(found, terms_bytes=terms.encode()).store(world.blocks)
    world.blocks.flush()
    with transaction(world.engine) as session:
        row = session.get(DatasetRow, asset)
        assert row is not None
        row.publication = str(cid)


def test_terms_slipped_into_the_catalogue_are_never_signed_and_never_relied_on(
    world: World, ada: Unlocked, vault: Vault
) -> None:
    asset, terms = publish(world, ada, vault)
    swap_terms(world, asset, replace(terms, payee=THIEF, flat=0))
    signed = owner.sign_consent(world, ada, vault, asset, PURPOSE, grantee=THIEF)
    assert signed.consent.terms == terms.hash
    with pytest.raises(Corrupted, match="not ones that the owner put on chain"):
        listing.publication_of(world, asset)


def test_a_dataset_published_under_several_terms_is_found_under_each(world: World, ada: Unlocked, vault: Vault) -> None:
    asset, terms = publish(world, ada, vault)
    dearer = replace(terms, flat=9_000_000, salt=b"s" * 32)
    ids = [entry.object_id for entry in vault.entries()]
    card = {"title": "Notes", "description": "", "schema": [], "sample": ""}
    assert owner.publish_dataset(world, ada, vault, ids, card, dearer).asset == asset
    for one in (terms, dearer):
        assert listing.publication_of(world, asset, one.hash).terms == one
    assert listing.publication_of(world, asset).terms == terms, "the list shows those that came first"
    signed = owner.sign_consent(world, ada, vault, asset, PURPOSE)
    assert trainer.licence_for(world, signed.consent).terms == terms, "owners sign under what the list shows"
    owner.relist(world, ada, vault)
    assert listing.publication_of(world, asset, dearer.hash).terms == dearer


def test_an_offer_is_not_made_at_the_price_that_one_trainer_got(world: World, ada: Unlocked, vault: Vault) -> None:
    asset, terms = publish(world, ada, vault)
    cheaper = replace(terms, flat=1, salt=b"s" * 32)
    record = next(body for body in vault.records("dataset") if body["asset"] == asset)
    vault.save_record("dataset", record | {"terms": cheaper.encode()})  # as the page keeps what it approves
    assert owner.sign_consent(world, ada, vault, asset, PURPOSE).consent.terms == terms.hash


def test_listed_terms_that_the_vault_never_wrote_are_not_signed(world: World, ada: Unlocked, vault: Vault) -> None:
    asset, terms = publish(world, ada, vault)
    with transaction(world.engine) as session:
        row = session.get(DatasetRow, asset)
        assert row is not None
        row.terms = replace(terms, payee=THIEF).hash
    with pytest.raises(NotFound, match="no record of the terms"):
        owner.sign_consent(world, ada, vault, asset, PURPOSE)
    assert owner.signed_consents(vault) == []


def test_a_home_of_an_earlier_version_says_first_which_terms_its_datasets_are_listed_with(
    world: World, ada: Unlocked, vault: Vault
) -> None:
    asset, terms = publish(world, ada, vault)
    with transaction(world.engine) as session:
        row = session.get(DatasetRow, asset)
        assert row is not None
        row.terms = row.purposes = row.expiry = row.flat = row.per_record_epoch = None  # as migration 0006 leaves it
    assert owner.sign_consent(world, ada, vault, asset, PURPOSE).consent.terms == terms.hash
    assert world.catalogue.get(asset).terms == terms.hash


def test_what_no_catalogue_would_list_is_not_put_on_chain(world: World, ada: Unlocked, vault: Vault) -> None:
    entry, terms = vault.add_bytes("notes.txt", b"The ferry leaves at six.\n"), publish(world, ada, vault)[1]
    sent = world.chain.nonce(world.relayer.address)
    for wrong in ({**CARD, "schema": [{"name": "text"}]}, {**CARD, "title": " "}, {**CARD, "more": 1}):
        with pytest.raises(InvalidInput):
            owner.publish_dataset(world, ada, vault, [entry.object_id], wrong, terms)
    assert world.chain.nonce(world.relayer.address) == sent
    listing.check_card(CARD)


def test_a_dataset_of_somebody_else_is_not_consented_to(world: World, ada: Unlocked, vault: Vault) -> None:
    with pytest.raises(NotFound, match="published no such dataset"):
        owner.sign_consent(world, ada, vault, Asset(b"x" * 32), PURPOSE)


def test_an_endpoint_that_names_a_bygone_epoch_does_not_get_a_useless_revocation_signed(
    world: World, ada: Unlocked, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset, _ = publish(world, ada, vault)
    owner.sign_consent(world, ada, vault, asset, PURPOSE)
    owner.end_all(world, ada, vault)
    owner.sign_consent(world, ada, vault, asset, PURPOSE)
    true = revoking.sign_revoke_all(world.market, ada.account)
    assert isinstance(true.message, RevokeAll)
    stale = replace(true, message=replace(true.message, epoch=0))
    monkeypatch.setattr(revoking, "sign_revoke_all", lambda *_: stale)
    with pytest.raises(Unavailable, match="before your newest consent"):
        owner.end_all(world, ada, vault)


def test_a_change_is_the_homes_newest_head_before_the_vault_is_closed(world: World, ada: Unlocked) -> None:
    """Or a server of this home would take another change of the same number meanwhile."""
    with owner.opened_vault(world, ada) as vault:
        for number in (1, 2):
            vault.add_bytes(f"{number}.txt", b"The ferry leaves at six.\n")
            row = world.catalogue.head(ada.identity.vault_id)
            assert row is not None
            assert (row.head, row.sequence) == (str(vault.head_cid), number)
