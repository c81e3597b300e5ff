"""`/v1/consents`: what owners signed, and the nonces for what they sign next."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from allod import consenting, consentlist, orders
from allod.cursors import read_cursor, write_cursor
from allod.server.consentforms import ConsentForm, ConsentOut, NonceText, PriceOut
from allod.server.context import Db, Here
from allod.server.forms import AddressHex, Form, Hex32, SignatureHex, UnixTime
from allod.server.guard import SignedIn
from allod.server.idempotency import Once
from allod.server.operations import OperationOut
from allod.server.paging import Page, Paging
from allod.server.requests import Role
from core.encoding import from_hex
from core.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["consents"])


class ConsentNonceIn(Form):
    """`above` is the highest word ‖ bit of any nonce that you ever signed, or -1."""

    above: Annotated[str, Field(pattern="^(-1|0|[1-9][0-9]{0,19})$")] = "-1"


class ConsentNonceOut(BaseModel):
    """A nonce that is given out once."""

    nonce: NonceText


class ConsentIn(Form):
    """A consent with its owner's signature; `request` names the request that it answers."""

    consent: ConsentForm
    signature: SignatureHex
    request: Annotated[str | None, Field(pattern="^[0-9a-f]{32}$")] = None


class TokenOut(BaseModel):
    """One token. `uses_left` null is unlimited."""

    id: Hex32
    holder: AddressHex
    status: str = Field(description="live, never_minted, burned, other_epoch, nonce_revoked, not_yet, expired, used_up")
    uses: int
    uses_left: int | None


class UsedOut(BaseModel):
    """A job that was opened with it; `adapter` is the hash of what came out, where it is known here."""

    job_id: Hex32
    opened: UnixTime
    adapter: Hex32 | None


class ConsentRowOut(BaseModel):
    """A consent with what the chain says of it now. An offer has a token for each taker."""

    number: int
    digest: Hex32
    consent: ConsentOut
    signature: SignatureHex
    signed: UnixTime
    is_offer: bool
    purpose: str | None
    tokens: list[TokenOut]
    price: PriceOut | None
    title: str | None
    last_used: UnixTime | None
    jobs: list[UsedOut]
    nonce_revoked: bool


@router.post("/consent_nonces", status_code=201, operation_id="create_consent_nonce")
def create_consent_nonce(account: SignedIn, here: Here, db: Db, given: ConsentNonceIn) -> ConsentNonceOut:
    """A nonce for one new consent. It is yours: nobody, and no other tab, gets it again."""
    above = int(given.above)
    if above >= consenting.LAST_PLACE:
        raise InvalidInput("No nonce is that high.", hint="`above` is word ‖ bit of a nonce, without its epoch.")
    return ConsentNonceOut(nonce=str(consenting.next_nonce(here, db, account, above)))


@router.post("/consents", status_code=202, operation_id="create_consent")
def create_consent(account: SignedIn, here: Here, once: Once, given: ConsentIn) -> OperationOut:
    """Have a consent for a trainer granted on chain, or list an open offer."""
    consent = given.consent.consent()
    checked = consenting.check_consent(here, once.session, account, consent, from_hex(given.signature))
    return once.keep(OperationOut.of(consenting.accept_consent(here, once.session, checked, given.request)))


@router.get("/consents", operation_id="list_consents")
def list_consents(account: SignedIn, here: Here, db: Db, paging: Paging, role: Role = "owner") -> Page[ConsentRowOut]:
    """The consents that you signed, or that name you or that you took, newest first."""
    after, view = read_cursor(paging.after), here.view
    found = consentlist.page(here, view, db, account, role, after=after, at_most=paging.limit + 1)
    cursors = {one.number: write_cursor(one.row.signed, one.row.digest) for one in found}
    documents = consentlist.describe(here, view.now(), found, partial(orders.adapters_of, db))
    return paging.page([ConsentRowOut(**one) for one in documents], lambda one: cursors[one.number])
