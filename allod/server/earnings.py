"""`/v1/earnings` and `/v1/claims`: what jobs owe and paid the account that is signed in."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from allod import claiming
from allod.server.context import Db, Here
from allod.server.forms import Form, Hex32, Units, UnixTime
from allod.server.guard import SignedIn
from allod.server.idempotency import Once
from allod.server.operations import OperationOut
from allod.server.paging import Page, Paging
from consent.market.earnings import Earning
from core.encoding import from_hex, to_hex
from core.errors import InvalidInput
from core.ids import JobId

router = APIRouter(prefix="/v1", tags=["earnings"])


class EarningOut(BaseModel):
    """One payment of one job; `tx_hash` is the transaction that paid it."""

    job_id: Hex32
    consent_id: Hex32
    asset: Hex32 | None
    amount: Units
    state: Literal["in_escrow", "claimable", "paid", "expired"]
    claims_begin: UnixTime
    claims_end: UnixTime
    tx_hash: Hex32 | None


class TotalsOut(BaseModel):
    """Sums over all payments."""

    in_escrow: Units
    claimable: Units
    paid: Units


class EarningsOut(Page[EarningOut]):
    """A page of payments, newest job first, and the sums of all."""

    totals: TotalsOut


class ClaimIn(Form):
    """Which jobs' payments to claim; none is all that can be."""

    job_ids: list[Hex32] = Field(default_factory=list, max_length=100)


def _cursor(one: Earning) -> str:
    return f"{to_hex(one.job_id)}-{one.index}"


@router.get("/earnings", operation_id="list_earnings")
def list_earnings(account: SignedIn, here: Here, db: Db, paging: Paging) -> EarningsOut:
    """What every job owes or paid you."""
    found = claiming.earnings(here.view, account)
    places = {_cursor(one): place for place, one in enumerate(found, start=1)}
    start = 0 if paging.after is None else places.get(paging.after)
    if start is None:
        raise InvalidInput("This cursor was not given out by this list.", hint="Take `next_after` of a page.")
    some = found[start : start + paging.limit + 1]
    assets = claiming.assets_of(db, account, some)
    page = paging.page([EarningOut(**claiming.fields(one, assets)) for one in some], lambda _: "")
    if page.has_more:
        page.next_after = _cursor(some[paging.limit - 1])
    return EarningsOut(**page.model_dump(), totals=TotalsOut(**claiming.totals(found)))


@router.post("/claims", status_code=202, operation_id="create_claim")
def create_claim(account: SignedIn, here: Here, once: Once, given: ClaimIn) -> OperationOut:
    """Have what can be claimed paid out to you; the relayer pays the gas."""
    ready = claiming.choose(here.view, account, [JobId(from_hex(job, 32)) for job in given.job_ids])
    return once.keep(OperationOut.of(claiming.accept_claim(here, once.session, account, ready)))
