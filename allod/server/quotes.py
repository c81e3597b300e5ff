"""`/v1/quotes`: what a job would cost, worked out by the runner, and the one transaction that opens it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, field_validator

from allod import orders
from allod.orders import OrderRow
from allod.server.context import Db
from allod.server.forms import AddressHex, Form, Hex32, Units, UnixTime, seconds
from allod.server.guard import SignedIn
from allod.server.idempotency import Once
from consent.fields import UINT64_MAX
from consent.purposes import purpose
from core.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["quotes"])
MAX_CONSENTS = 1_000
QuoteId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="A quote's id.")]
Target = Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{1,64}$")]


class RecipeIn(Form):
    """What is trained, and how. The base model is one that the runner has."""

    base: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9._-]{0,63}$", description="`demo`, or as the runner calls it.")]
    purpose: Annotated[str, Field(pattern="^[a-z][a-z-]{0,63}$", description="What for: a code of GET /v1/world.")]
    epochs: Annotated[int, Field(ge=1, le=1_000)]
    rank: Annotated[int, Field(ge=1, le=1_024)] = 16
    alpha: Annotated[int, Field(ge=1, le=65_535)] = 32
    targets: list[Target] = Field(default=["all-linear"], min_length=1, max_length=64)
    learning_rate_nano: Annotated[int, Field(ge=1, le=10**9, description="The peak, in billionths.")] = 200_000
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    batch_rows: Annotated[int, Field(ge=1, le=4_096)] = 8
    sequence: Annotated[int, Field(ge=8, le=131_072)] = 512
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class QuoteIn(Form):
    """A wish: the ids of consent tokens that the payer holds, the recipe, and what the runner gets."""

    consents: Annotated[list[Hex32], Field(min_length=1, max_length=MAX_CONSENTS)]
    recipe: RecipeIn
    fee: Units = "0"

    @field_validator("consents")
    @classmethod
    def _once_each(cls, consents: list[str]) -> list[str]:
        if len(set(consents)) != len(consents):
            raise ValueError("a consent is named twice")
        return consents


class PayeeOut(BaseModel):
    """Who is paid what for which consent."""

    consent: Hex32
    owner: AddressHex
    payee: AddressHex
    records: int
    amount: Units


class LeftOutOut(BaseModel):
    """A consent that does not fit, and why."""

    consent: Hex32
    owner: AddressHex
    reasons: list[str]


class OpeningOut(BaseModel):
    """The transaction to sign (EIP-1559), from the payer's account. Nonce, gas and fees may be others; no other field.

    `data` opens the job in the escrow's `lane` and locks `total` of the payer's deposit; at `start`, Unix seconds, the
    owners may claim whatever happens.
    """

    type: Literal[2]
    chain_id: int
    nonce: int
    to: AddressHex
    value: Units
    data: Annotated[str, Field(pattern="^0x[0-9a-f]*$")]
    gas: int
    max_fee_per_gas: Units
    max_priority_fee_per_gas: Units
    lane: Units
    start: UnixTime


class QuoteOut(BaseModel):
    """A quote: `ready` to be signed until `expires_at`, once the runner has answered.

    `refused` is final, and `problem` says why. A quote that is `waiting` or `ready` with a problem was signed, and the
    chain did not take that; nothing was locked.
    """

    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    state: Literal["waiting", "ready", "refused", "expired", "signed", "opened"]
    created: UnixTime
    expires_at: UnixTime | None
    recipe: Hex32 | None = None
    payees: list[PayeeOut] = []
    left_out: list[LeftOutOut] = []
    fee: Units | None = None
    total: Units | None = None
    opening: OpeningOut | None = None
    job: str | None = Field(default=None, description="The job, once the opening was signed.")
    problem: dict[str, Any] | None = None

    @classmethod
    def of(cls, row: OrderRow) -> QuoteOut:
        """The document of an order."""
        state = orders.state_of(row)
        return cls(
            id=row.id,
            state=state,  # type: ignore[arg-type] # a text of the table: pydantic refuses any other
            created=seconds(row.created),
            expires_at=row.expires,
            opening=OpeningOut(**row.opening) if row.opening is not None and state == orders.READY else None,
            job=str(row.job) if state in (orders.SIGNED, orders.OPENED) else None,
            problem=row.problem,
            **(row.quote or {}),
        )


@router.post("/quotes", status_code=202, operation_id="create_quote")
def create_quote(account: SignedIn, given: QuoteIn, once: Once) -> QuoteOut:
    """Ask the runner what a job costs. No money moves; the answer is at `GET /v1/quotes/{id}`."""
    if int(given.fee) > UINT64_MAX:
        raise InvalidInput("The fee is more than a job can pay.", hint="Money is a number of UNITs below 2^64.")
    purpose(given.recipe.purpose)
    row = orders.place(once.session, account, given.model_dump())
    return once.keep(QuoteOut.of(row))


@router.get("/quotes/{id}", operation_id="read_quote")
def read_quote(account: SignedIn, id: QuoteId, db: Db) -> QuoteOut:
    """A quote of the account that is signed in."""
    return QuoteOut.of(orders.order_of(db, account, id))
