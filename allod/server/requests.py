"""`/v1/requests`: trainers ask owners for consents."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from allod import requests
from allod.requests import MAX_DAYS, MAX_MESSAGE, MAX_REASON, Asked, RequestRow, State
from allod.server.consentforms import Uses
from allod.server.context import Db, Here
from allod.server.forms import AddressHex, Form, Hex32, Units, UnixTime
from allod.server.guard import SignedIn
from allod.server.idempotency import Once
from allod.server.paging import Page, Paging
from consent.recipe import MAX_EPOCHS
from core.encoding import MAX_SAFE_INT, from_hex
from core.errors import InvalidInput
from core.ids import Address, Asset

router = APIRouter(prefix="/v1", tags=["requests"])
RequestId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Role = Annotated[Literal["owner", "trainer"], Query(description="Requests to you, or by you.")]
Price = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,15})$", description="UNITs.")]


class RequestIn(Form):
    """What a trainer asks for: no `base_models` is any, `max_uses` 0 unlimited; prices are the most they would pay."""

    asset: Hex32
    purpose: Annotated[str, Field(max_length=40, pattern="^[a-z-]+$")]
    max_epochs: Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
    base_models: list[Hex32] = Field(default_factory=list, max_length=64)
    max_uses: Uses
    expiry: UnixTime
    flat: Price
    per_record_epoch: Price
    message: Annotated[str, Field(max_length=MAX_MESSAGE, description="To the owner.")] = ""
    days_open: Annotated[int, Field(ge=1, le=MAX_DAYS)]

    def asked(self) -> Asked:
        """What it asks for."""
        flat, rate = int(self.flat), int(self.per_record_epoch)
        if max(flat, rate) > MAX_SAFE_INT:
            raise InvalidInput(f"A price is at most {MAX_SAFE_INT} UNITs.")
        models = tuple(sorted({from_hex(model, 32) for model in self.base_models}))
        return Asked(self.purpose, self.max_epochs, models, self.max_uses, self.expiry, flat, rate)


class StepOut(BaseModel):
    """One step of a request: who did it (null is the server, after a failed approval), and why or with what changes."""

    state: State
    at: UnixTime
    by: AddressHex | None
    reason: str | None = None
    changes: list[str] | None = None


class RequestOut(BaseModel):
    """A request as its owner and its trainer see it; `consent` is the digest of what answered it."""

    id: str
    asset: Hex32
    owner: AddressHex
    trainer: AddressHex
    title: str | None
    state: State
    purpose: str
    max_epochs: int
    base_models: list[Hex32]
    max_uses: int
    expiry: UnixTime
    flat: Units
    per_record_epoch: Units
    message: str
    opened: UnixTime
    closes: UnixTime
    consent: Hex32 | None
    history: list[StepOut]

    @classmethod
    def of(cls, row: RequestRow, title: str | None) -> RequestOut:
        """The document of a request."""
        return cls(**requests.fields(row), title=title)


class DenialIn(Form):
    """Why not."""

    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


def _out(here: Here, rows: list[RequestRow]) -> list[RequestOut]:
    datasets = here.catalogue.known(row.asset for row in rows)
    return [RequestOut.of(row, datasets[row.asset].title if row.asset in datasets else None) for row in rows]


@router.post("/requests", status_code=201, operation_id="create_request")
def create_request(account: SignedIn, here: Here, once: Once, given: RequestIn) -> RequestOut:
    """Ask the owner of a listed dataset for a consent."""
    row = here.catalogue.get(Asset(from_hex(given.asset, 32)))
    made = requests.ask(
        once.session,
        account,
        Address(row.owner),
        Asset(row.asset),
        given.asked(),
        given.message,
        given.days_open,
    )
    return once.keep(RequestOut.of(made, row.title))


@router.get("/requests", operation_id="list_requests")
def list_requests(
    account: SignedIn,
    here: Here,
    db: Db,
    paging: Paging,
    role: Role = "owner",
    state: Annotated[State | None, Query()] = None,
) -> Page[RequestOut]:
    """Requests to you as an owner, or by you as a trainer, newest first."""
    rows = requests.newest(db, account, role, state=state, before=paging.after_id, at_most=paging.limit + 1)
    numbers = {row.id: row.number for row in rows}
    return paging.page(_out(here, rows), lambda one: numbers[one.id])


@router.get("/requests/{request_id}", operation_id="read_request")
def read_request(account: SignedIn, here: Here, db: Db, request_id: RequestId) -> RequestOut:
    """A request of which you are the owner or the trainer."""
    return _out(here, [requests.get(db, account, request_id)])[0]


@router.post("/requests/{request_id}/denial", operation_id="deny_request")
def deny_request(account: SignedIn, here: Here, db: Db, request_id: RequestId, given: DenialIn) -> RequestOut:
    """Say no, as the owner."""
    return _out(here, [requests.deny(db, account, request_id, given.reason)])[0]


@router.post("/requests/{request_id}/withdrawal", operation_id="withdraw_request")
def withdraw_request(account: SignedIn, here: Here, db: Db, request_id: RequestId) -> RequestOut:
    """Take it back, as the trainer."""
    return _out(here, [requests.withdraw(db, account, request_id)])[0]
