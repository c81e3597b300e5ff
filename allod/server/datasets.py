"""`/v1/datasets`: the public catalogue, and an owner's publications."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from allod import consenting
from allod.cursors import read_cursor, write_cursor
from allod.listing import public_card, read_listing
from allod.operations import now
from allod.server.consentforms import ConsentOut, PriceOut
from allod.server.context import Db, Here, InPlace
from allod.server.forms import AddressHex, Cid, Form, Hex32, SignatureHex, Units, UnixTime, address, seconds
from allod.server.guard import Anyone, SignedIn
from allod.server.idempotency import Once
from allod.server.operations import OperationOut
from allod.server.paging import Page, Paging
from consent.grant import Consent
from consent.purposes import purpose as purpose_named
from consent.purposes import purpose_of_hash
from consent.terms import Terms
from core.encoding import from_hex, to_hex
from core.errors import NotFound
from core.ids import NOBODY
from vault.catalogue import DatasetRow, Place, Wanted
from vault.cid import Cid as BlockCid

router = APIRouter(prefix="/v1", tags=["datasets"])
MAX_OFFERS = 20


class DatasetOut(BaseModel):
    """A dataset as the list shows it, under the terms that it was listed with; null where those are not known here."""

    asset: Hex32
    owner: AddressHex
    title: str
    objects: int
    records: int
    published: UnixTime
    purposes: list[str]
    price: PriceOut | None
    expiry: UnixTime | None
    terms_hash: Hex32 | None

    @classmethod
    def of(cls, row: DatasetRow) -> DatasetOut:
        """The document of a row."""
        price = None
        if row.flat is not None and row.per_record_epoch is not None:
            price = PriceOut(flat=str(row.flat), per_record_epoch=str(row.per_record_epoch))
        return cls(
            asset=to_hex(row.asset),
            owner=to_hex(row.owner),
            title=row.title,
            objects=row.objects,
            records=row.records,
            published=seconds(row.published),
            purposes=(row.purposes or "").split(),
            price=price,
            expiry=row.expiry,
            terms_hash=None if row.terms is None else to_hex(row.terms),
        )


class CardOut(BaseModel):
    """What the owner says in public; the sample is made up."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    title: str
    description: str
    schema_: list[str] = Field(alias="schema")
    sample: str


class TermsOut(BaseModel):
    """A licence, decoded. `base_models` null is any, `max_uses` 0 unlimited, `runner` null any."""

    purposes: list[str]
    base_models: list[Hex32] | None
    max_epochs: int
    max_uses: int
    flat: Units
    per_record_epoch: Units
    payee: AddressHex
    expiry: UnixTime
    runner: AddressHex | None
    committee: Hex32

    @classmethod
    def of(cls, terms: Terms) -> TermsOut:
        """The document of terms."""
        models = terms.base_models
        return cls(
            purposes=list(terms.purposes),
            base_models=None if models is None else [to_hex(model) for model in models],
            max_epochs=terms.max_epochs,
            max_uses=terms.max_uses,
            flat=str(terms.flat),
            per_record_epoch=str(terms.per_record_epoch),
            payee=to_hex(terms.payee),
            expiry=terms.expiry,
            runner=None if terms.runner == NOBODY else to_hex(terms.runner),
            committee=to_hex(terms.committee),
        )


class OfferOut(BaseModel):
    """An open offer: whoever sends consent and signature to the ConsentToken's `take` holds a token of their own."""

    digest: Hex32
    consent: ConsentOut
    signature: SignatureHex
    purpose: str | None
    terms: TermsOut | None


class DatasetDetailOut(DatasetOut):
    """A dataset's whole public side."""

    card: CardOut
    terms: TermsOut | None
    publication: Cid
    offers: list[OfferOut]


class PublicationIn(Form):
    """The block that links header, terms and share table, and the owner's signature of Register."""

    publication: Cid
    signature: SignatureHex


@router.get("/datasets", operation_id="list_datasets")
def list_datasets(
    caller: Anyone,
    here: Here,
    paging: Paging,
    owner: Annotated[AddressHex | None, Query()] = None,
    purpose: Annotated[str | None, Query(max_length=40, pattern="^[a-z-]+$", description="A purpose's code.")] = None,
    q: Annotated[str, Query(max_length=200, description="Words of the title or the description, all of them.")] = "",
) -> Page[DatasetOut]:
    """All datasets, newest first, narrowed down by any of these."""
    wanted = Wanted(
        owner=None if owner is None else address(owner),
        purpose=None if purpose is None else purpose_named(purpose).code,
        text=q,
    )
    after = read_cursor(paging.after)
    place = None if after is None else Place(*after)
    rows = here.catalogue.page(wanted, after=place, at_most=paging.limit + 1)
    cursors = {to_hex(row.asset): write_cursor(row.published, row.asset) for row in rows}
    return paging.page([DatasetOut.of(row) for row in rows], lambda one: cursors[one.asset])


@router.get("/datasets/{asset}", operation_id="read_dataset")
def read_dataset(
    caller: Anyone, here: Here, db: Db, asset: Annotated[str, Path(pattern="^0x[0-9a-f]{64}$")]
) -> DatasetDetailOut:
    """A dataset's card, counts, terms and the newest 20 of its open offers."""
    found = here.catalogue.known([from_hex(asset, 32)]).get(from_hex(asset, 32))
    if found is None:
        raise NotFound("No dataset with that asset is listed here.", hint="GET /v1/datasets lists those that are.")
    terms = None if found.terms is None else consenting.terms_of(here, found.terms)
    offers = []
    for row in here.offers.open(db, found.asset, MAX_OFFERS):
        consent = Consent.decode(row.consent)
        named, under = purpose_of_hash(consent.purpose), consenting.terms_of(here, consent.terms)
        offers.append(
            OfferOut(
                digest=to_hex(row.digest),
                consent=ConsentOut.of(consent),
                signature=to_hex(row.signature),
                purpose=None if named is None else named.code,
                terms=None if under is None else TermsOut.of(under),
            )
        )
    return DatasetDetailOut(
        **DatasetOut.of(found).model_dump(),
        card=CardOut(**public_card(here, found)),
        terms=None if terms is None else TermsOut.of(terms),
        publication=found.publication,
        offers=offers,
    )


@router.post("/datasets", status_code=202, operation_id="publish_dataset")
async def publish_dataset(account: SignedIn, place: InPlace, once: Once, given: PublicationIn) -> OperationOut:
    """Put a dataset on chain and into the catalogue; once more with other terms adds those.

    Its public documents are kept for good, of one owner as much as a vault may have: beyond it 507 `no-room`. Few
    publications are read at once; 503 says when to come back.
    """
    here, cid, signature = place.world, BlockCid.parse(given.publication), from_hex(given.signature)

    def publish() -> OperationOut:
        listing = read_listing(here, account, cid, now())
        digest = consenting.check_register(here, listing, signature)
        here.depot.check_publication(account, cid)
        return once.keep(OperationOut.of(consenting.accept_register(here, once.session, listing, digest, signature)))

    return await place.publications.take(account, publish)
