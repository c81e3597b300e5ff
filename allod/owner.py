"""What owners do in a home: open their vault, publish, offer, grant, revoke; and what restoring brings back.

Promises: a signed consent and a published dataset are in the vault's sealed records before anyone else hears of them,
so that words and blocks bring back all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from allod.identities import Unlocked
from allod.listing import check_card, complete_listings, list_dataset
from allod.world import World
from consent.grant import Consent
from consent.keeper.client import Revoked, revoke_everywhere
from consent.keeper.revocation import RevokeAll
from consent.market import granting, revoking
from consent.market.granting import Granted, SignedConsent
from consent.market.place import Sent
from consent.market.publication import Publication
from consent.market.publish import Published, publish
from consent.market.revoking import SignedRevocation
from consent.records import ConsentRow
from consent.terms import Terms
from core.errors import Corrupted, InvalidInput, NotFound, Refused, Unavailable
from core.ids import NOBODY, Address, Asset, ObjectId
from vault.cid import Cid
from vault.vault import Vault

CONSENT_RECORD = "consent"
DATASET_RECORD = "dataset"


@contextmanager
def opened_vault(world: World, owner: Unlocked) -> Iterator[Vault]:
    """The owner's vault at its newest head; blocks that are an older copy than this home has seen are a `Conflict`."""
    vault_id = owner.identity.vault_id
    row = world.catalogue.head(vault_id)
    hint = Cid.parse(row.head) if row else None
    vault = Vault(
        owner.root,
        vault_id,
        world.blocks,
        hint=hint,
        sequence=row.sequence if row else 0,
        noting=lambda cid, sequence: world.catalogue.changing_head(vault_id, str(cid), sequence),
    )
    try:
        yield vault
    finally:
        if vault.head_cid is not None:
            world.catalogue.saw_head(vault_id, str(vault.head_cid), vault.sequence)


def publish_dataset(
    world: World, owner: Unlocked, vault: Vault, object_ids: Sequence[ObjectId], card: dict[str, Any], terms: Terms
) -> Published:
    """Share the objects' keys among this home's keepers, put the dataset on chain and into the catalogue."""
    check_card(card)  # what no catalogue lists is not put on chain
    committee = world.committee
    done = publish(
        world.market,
        world.relayer,
        vault,
        world.blocks,
        owner.account,
        object_ids,
        card,
        terms,
        committee,
        [committee.hash],
    )
    list_dataset(world, owner.identity.address, done.asset, done.publication, done.cid)
    return done


def own_terms(world: World, vault: Vault, asset: Asset) -> Terms:
    """The terms that the dataset is listed with, from the vault's own sealed records; `NotFound` without one of them.

    The catalogue names them by their hash alone: whoever could list another document there would choose what the owner
    signs. Not simply the newest terms: those may be what one trainer was granted.
    """
    mine = [body["terms"] for body in vault.records(DATASET_RECORD) if body["asset"] == asset]
    if not mine:
        raise NotFound("This vault has published no such dataset.", hint="`allod dataset list` shows the assets.")
    listed = world.catalogue.get(asset).terms
    if listed is None:  # of a home that an earlier version made
        complete_listings(world)
        listed = world.catalogue.get(asset).terms
    found = next((terms for terms in mine if sha256(terms).digest() == listed), None)
    if found is None:
        raise NotFound(
            "This vault has no record of the terms that the dataset is listed with.",
            hint="Do not consent under them; publish the objects anew.",
        )
    return Terms.decode(found)


def signed_consents(vault: Vault) -> list[SignedConsent]:
    """Every consent that this owner ever signed."""
    return [SignedConsent(Consent.decode(body["consent"]), body["signature"]) for body in vault.records(CONSENT_RECORD)]


def sign_consent(
    world: World,
    owner: Unlocked,
    vault: Vault,
    asset: Asset,
    purpose: str,
    *,
    grantee: Address = NOBODY,
    expiry: int | None = None,
    max_uses: int | None = None,
) -> SignedConsent:
    """Sign a consent for one trainer, or an open offer; it is in the vault's records before it is known to anyone."""
    terms = own_terms(world, vault, asset)
    known = [signed.consent for signed in signed_consents(vault)]
    address = owner.identity.address
    consent = granting.draft(
        world.market, address, asset, terms, purpose, known, grantee=grantee, expiry=expiry, max_uses=max_uses
    )
    signed = granting.sign(world.market, owner.account, consent)
    vault.save_record(CONSENT_RECORD, {"consent": consent.encode(), "signature": signed.signature})
    _list_consent(world, signed)
    return signed


def _list_consent(world: World, signed: SignedConsent) -> None:
    consent, market = signed.consent, world.market
    world.consents.add(
        ConsentRow(
            digest=consent.digest(market.chain_id, market.token.address),
            owner=consent.owner,
            grantee=consent.grantee,
            asset=consent.asset,
            consent=consent.encode(),
            signature=signed.signature,
        )
    )


def grant(world: World, signed: SignedConsent) -> Granted:
    """Have the relayer mint the token of a named consent; `Refused` with the contract's reason."""
    done = granting.grant(world.market, world.relayer, [signed])
    if done.skipped:
        raise Refused(done.skipped[0][1], hint="Ask the owner for a new consent.")
    return done


@dataclass(frozen=True)
class Ended:
    """What revoking did: its transactions, and how many keepers stored it of how many that make it certain."""

    sent: tuple[Sent, ...]
    stored: int
    needed: int


def end_consents(world: World, owner: Unlocked, consents: Sequence[Consent]) -> Ended:
    """End these consents: named ones by their tokens, offers with every token that anyone took of them.

    The keepers hear of it first, so that it counts before a block has it.
    """
    named = [consent for consent in consents if not consent.is_offer]
    offers = [consent for consent in consents if consent.is_offer]
    account, market = owner.account, world.market
    held = [(consent, consent.grantee) for consent in named]
    messages = revoking.sign_revoke(market, account, held)
    messages += revoking.sign_revoke_nonces(market, account, offers)
    return _end(world, messages)


def end_all(world: World, owner: Unlocked, vault: Vault) -> Ended:
    """End every consent of the owner's epoch; `Unavailable` where the endpoint names an epoch that is long over."""
    message = revoking.sign_revoke_all(world.market, owner.account)
    newest = max((signed.consent.epoch for signed in signed_consents(vault)), default=0)
    if isinstance(message.message, RevokeAll) and message.message.epoch < newest:
        raise Unavailable(
            "The chain's endpoint names an epoch from before your newest consent.",
            hint="It lags or lies: use another endpoint, or revoke the consents by name.",
        )
    return _end(world, [message])


def _end(world: World, messages: Sequence[SignedRevocation]) -> Ended:
    market = world.market
    told: list[Revoked] = []
    sent: list[Sent] = []
    for message in messages:
        told.append(
            revoke_everywhere(
                world.ports,
                world.committee,
                market.chain_id,
                market.token.address,
                message.message,
                message.signature,
                patience=world.patience,
            )
        )
        sent.append(revoking.relay_revocation(market, world.relayer, message))
    stored = min((len(one.stored) for one in told), default=0)
    return Ended(tuple(sent), stored, told[0].needed if told else 0)


def relist(world: World, owner: Unlocked, vault: Vault) -> tuple[int, int, list[Asset]]:
    """After a restore: put the vault's datasets and signed consents back into this home's lists; how many of each.

    Datasets whose public documents are lost or damaged here come last, by their assets: their consents are listed all
    the same, so that they can be revoked.
    """
    datasets, lost = vault.records(DATASET_RECORD), list[Asset]()
    for body in datasets:
        cid, asset = Cid.from_link(body["publication"]), Asset(body["asset"])
        try:
            list_dataset(world, owner.identity.address, asset, Publication.load(world.blocks, cid), cid)
        except (NotFound, Corrupted, InvalidInput):
            lost.append(asset)
    consents = signed_consents(vault)
    for signed in consents:
        _list_consent(world, signed)
    return len(datasets) - len(lost), len(consents), lost
