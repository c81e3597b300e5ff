"""Earnings as their payee sees them, and what is fixed when a claim is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from allod import operations
from allod.chainview import ChainView, token_id
from allod.operations import OperationRow
from consent.market.earnings import CLAIMS, Earning, EarningState, total
from consent.records import ConsentRow
from core.encoding import to_hex
from core.errors import Conflict, NotFound
from core.ids import NOBODY, Address, JobId

if TYPE_CHECKING:
    from allod.world import World

MOST = 8 * CLAIMS  # payments of one operation; what is left is claimed by the next


def earnings(view: ChainView, payee: Address) -> list[Earning]:
    """What every job owes or paid this account, newest job first."""
    return view.earnings(payee)[::-1]


def totals(found: Sequence[Earning]) -> dict[str, str]:
    """UNITs in escrow, claimable and paid."""
    states = (EarningState.IN_ESCROW, EarningState.CLAIMABLE, EarningState.PAID)
    return {state.name.lower(): str(total(found, state)) for state in states}


def assets_of(session: Session, payee: Address, found: Sequence[Earning]) -> dict[bytes, bytes]:
    """The datasets behind these earnings, by consent token, as far as this account's own consents tell."""
    rows = session.execute(
        select(ConsentRow.digest, ConsentRow.grantee, ConsentRow.asset).where(ConsentRow.owner == payee)
    ).all()
    payers = {one.course.opening.payer for one in found}
    return {
        token_id(digest, payer): asset
        for digest, grantee, asset in rows
        for payer in payers
        if grantee in (NOBODY, payer)
    }


def fields(one: Earning, assets: dict[bytes, bytes]) -> dict[str, Any]:
    """An earning as the API writes it."""
    asset = assets.get(one.consent_id)
    return {
        "job_id": to_hex(one.job_id),
        "consent_id": to_hex(one.consent_id),
        "asset": None if asset is None else to_hex(asset),
        "amount": str(one.amount),
        "state": one.state.name.lower(),
        "claims_begin": one.claims_begin,
        "claims_end": one.claims_end,
        "tx_hash": None if one.tx_hash is None else to_hex(one.tx_hash),
    }


def choose(view: ChainView, payee: Address, job_ids: Sequence[JobId]) -> list[Earning]:
    """What a claim takes: everything claimable of these jobs, or of all. `NotFound` for a job that owes nothing."""
    found = view.earnings(payee)
    if unknown := set(job_ids) - {one.job_id for one in found}:
        raise NotFound(
            f"Job {to_hex(min(unknown))} pays you nothing that is known here.", hint="GET /v1/earnings lists what does."
        )
    ready = [one for one in found if one.state is EarningState.CLAIMABLE and (not job_ids or one.job_id in job_ids)]
    if not ready:
        raise Conflict("Nothing of this can be claimed now.", hint="GET /v1/earnings says from when.")
    return ready


def accept_claim(world: World, session: Session, payee: Address, ready: Sequence[Earning]) -> OperationRow:
    """Have it paid out; `Conflict` while another claim of this account is under way."""
    some = ready[:MOST]
    act = {"leaves": [[to_hex(one.job_id), one.index] for one in some]}
    about = {
        "jobs": list(dict.fromkeys(to_hex(one.job_id) for one in some)),
        "amount": str(sum(one.amount for one in some)),
        "left": len(ready) - len(some),
    }
    effect = f"claim {to_hex(payee)}"
    row, is_new = operations.accept(session, world.settings, payee, "claim", act, about, effect=effect)
    if not is_new:
        hint = "Wait until it is final, then claim the rest."
        raise Conflict("A claim of yours is under way.", hint=hint, operation=row.id)
    return row
