"""Listing a dataset: its public documents read as a stranger's, and what of them the catalogue shows.

Promises: nothing is listed whose card, header, manifests, terms and share table do not all follow from the owner's
asset, or whose keys lie with keepers that this home does not accept. The catalogue shows the terms that a dataset was
listed with first; further ones (what an owner agreed with one trainer) are found only by their hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consent.market.publication import Publication, asset_of
from core.errors import AllodError, Corrupted, Denied, InvalidInput, NotFound, Refused
from core.ids import Address, Asset
from vault.blocks import BlockStore
from vault.catalogue import DatasetRow, PublicationRow, words_of
from vault.cid import DAG_CBOR, Cid
from vault.datasets import read_card
from vault.documents import read_document
from vault.manifest import DatasetHeader

if TYPE_CHECKING:
    from allod.world import World
    from consent.terms import Terms

MAX_OBJECTS = 50_000
MAX_TITLE, MAX_DESCRIPTION, MAX_SAMPLE = 200, 4_000, 4_096
MAX_SCHEMA, MAX_FIELD = 64, 200
MEMBERS = {"title", "description", "schema", "sample"}


@dataclass(frozen=True)
class Listing:
    """A publication that was checked: what it says, whose it is, and the block that holds it."""

    owner: Address
    asset: Asset
    publication: Publication
    card: dict[str, Any]
    cid: Cid


def read_listing(world: World, owner: Address, cid: Cid, now: int) -> Listing:
    """A publication of this owner, which anyone may have sent; `InvalidInput`, `Corrupted` or `Refused` unless it can
    be listed here. `now` is Unix seconds."""
    try:
        publication, card = _load(world.blocks, cid)
    except NotFound:
        raise InvalidInput(
            "Blocks of this publication are missing here.", hint="Upload every block that it links, then try again."
        ) from None
    asset = asset_of(owner, publication.header_bytes)
    if publication.shares.head.asset != asset:
        raise Denied("This publication is not yours.", hint="Sign in as the owner who made it.")
    publication.check(owner, asset)
    check_card(card)
    check_terms(world, publication.terms, now)
    if publication.shares.head.committee_id != world.committee.id:
        raise Refused(
            "The keys are shared among other keepers than those of this server.",
            hint="Share them again with the committee that GET /v1/world names.",
        )
    return Listing(owner, asset, publication, card, cid)


def _load(blocks: BlockStore, cid: Cid) -> tuple[Publication, dict[str, Any]]:
    if cid.codec != DAG_CBOR:
        raise InvalidInput("A publication is a dag-cbor block.")
    members = read_document(blocks.get(cid), "publication", ("header", "terms", "shares"))
    header = DatasetHeader.decode(blocks.get(members.cid("header")))
    if header.objects > MAX_OBJECTS:
        raise InvalidInput(f"A dataset has at most {MAX_OBJECTS} objects here.", hint="Publish it in parts.")
    return Publication.load(blocks, cid), read_card(blocks, header).card


def check_card(card: dict[str, Any]) -> None:
    """`InvalidInput` unless a card has a title, and besides at most description, schema and sample, all in bounds."""
    if unknown := set(card) - MEMBERS:
        raise InvalidInput(f"The card holds {sorted(map(str, unknown))[0][:40]!r}, which no card has.")
    title = card.get("title")
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE:
        raise InvalidInput(f"The card has no title of 1 to {MAX_TITLE} characters.")
    for name, most in (("description", MAX_DESCRIPTION), ("sample", MAX_SAMPLE)):
        text = card.get(name, "")
        if not isinstance(text, str) or len(text) > most:
            raise InvalidInput(f"The card's {name} is no text of at most {most} characters.", hint="Shorten it.")
    schema = card.get("schema", [])
    if not isinstance(schema, list) or len(schema) > MAX_SCHEMA:
        raise InvalidInput(f"The card's schema is no list of at most {MAX_SCHEMA} entries.")
    if not all(isinstance(field, str) and len(field) <= MAX_FIELD for field in schema):
        raise InvalidInput(f"The card's schema holds something else than texts of at most {MAX_FIELD} characters.")


def check_terms(world: World, terms: Terms, now: int) -> None:
    """`Refused` unless jobs can run under these terms here and now."""
    if terms.committee != world.committee.hash:
        raise Refused(
            "The terms name keepers that this server does not accept.",
            hint="Write them for the committee that GET /v1/world names.",
        )
    if terms.expiry <= now:
        raise Refused("These terms have expired.", hint="Write terms that end later.")


def public_card(world: World, row: DatasetRow) -> dict[str, Any]:
    """A listed dataset's card, proved by its asset; only the members that cards have, of the types that they have."""
    members = read_document(world.blocks.get(Cid.parse(row.publication)), "publication", ("header", "terms", "shares"))
    header = world.blocks.get(members.cid("header"))
    if asset_of(Address(row.owner), header) != row.asset:
        raise Corrupted("The header is not that of the dataset on chain.", hint="Tell the operator of this server.")
    card = read_card(world.blocks, DatasetHeader.decode(header)).card
    texts = {name: card[name] for name in ("title", "description", "sample") if isinstance(card.get(name), str)}
    schema = card.get("schema")
    fields = [field for field in schema if isinstance(field, str)] if isinstance(schema, list) else []
    return {"title": row.title, "description": "", "sample": "", **texts, "schema": fields}


def publication_row(listing: Listing) -> PublicationRow:
    """Where the publication lies, for the catalogue."""
    return PublicationRow(
        asset=listing.asset,
        terms=listing.publication.terms.hash,
        owner=listing.owner,
        cid=str(listing.cid),
        sequence=listing.publication.shares.head.sequence,
    )


def list_dataset(world: World, owner: Address, asset: Asset, publication: Publication, cid: Cid) -> None:
    """Put a checked publication into the catalogue; its terms are what the list shows if it is the asset's first."""
    card = read_card(world.blocks, publication.header).card
    listing = Listing(owner, asset, publication, card, cid)
    header, terms = publication.header, publication.terms
    world.catalogue.remember(publication_row(listing))
    title = str(card.get("title", ""))[:MAX_TITLE]
    row = DatasetRow(asset=asset, owner=owner, vault_id=header.vault_id, title=title, publication=str(cid))
    row.objects, row.records = header.objects, header.records
    row.terms, row.purposes, row.expiry = terms.hash, " ".join(terms.purposes), terms.expiry
    row.flat, row.per_record_epoch = terms.flat, terms.per_record_epoch
    world.catalogue.add(row, words_of([title, str(card.get("description", ""))[:MAX_DESCRIPTION]]))


def complete_listings(world: World) -> int:
    """Complete the catalogue of an earlier version from the blocks; how many datasets could not be.

    Those stay as they are: their blocks are lost or damaged here.
    """
    lost = 0
    for row in world.catalogue.incomplete():
        cid, owner, asset = Cid.parse(row.publication), Address(row.owner), Asset(row.asset)
        try:
            found = Publication.load(world.blocks, cid)
            found.check(owner, asset)
            list_dataset(world, owner, asset, found, cid)
        except AllodError:
            lost += 1
    return lost


def publication_of(world: World, asset: Asset, terms: bytes | None = None) -> Publication:
    """A dataset's public documents, proved against its asset: under these terms, else those that the catalogue shows.

    `NotFound` where none are known here under these terms; `Corrupted` unless the owner put the terms on chain.
    """
    row = None if terms is None else world.catalogue.publication(asset, terms)
    if row is not None:
        cid, owner = row.cid, Address(row.owner)
    else:
        listed = world.catalogue.get(asset)
        cid, owner = listed.publication, Address(listed.owner)
    found = Publication.load(world.blocks, Cid.parse(cid))
    if terms is not None and found.terms.hash != terms:
        raise NotFound(
            "The terms of this consent are not known here.", hint="Ask the owner to publish the dataset under them."
        )
    found.check(owner, asset)
    if found.terms.hash not in world.market.registered_terms(asset):
        raise Corrupted("These terms are not ones that the owner put on chain.", hint="Ask the owner for the dataset.")
    return found
