"""The payer wants no more of a job: everything back before the first release, later what is not owed.

The wish is a document in the job's folder, so it reaches a worker in another process, and survives it. Whoever holds
the folder carries it out, as the job's runner: all keepers close the job, and the tree that they sign pays what was
released and, after an owner's revocation, what the ledger tells; without an adapter there is no fee. Promises: a wish
that was not agreed to what is owed ends nothing once a keeper was asked for shares; an adapter that is finished is
delivered and paid; no money is left in a job that nobody goes on with.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Literal

from consent.order import Order
from consent.tree import FEE, SumTree
from core.errors import Busy, Refused
from core.ids import ConsentId
from finetune.ledger import cut_torn_entry, owed
from finetune.opening import finish_opening, follow_opening, licences_of
from finetune.releasing import receipts_of
from finetune.settle import close_books, finish_job, outcome_of, post_end, tally_of
from finetune.site import Site
from finetune.workspace import State, Workspace, needs_training

WISH = "cancel.json"
BEFORE_RELEASE = (State.QUOTED, State.OPENING, State.OPEN)
_ENDING = (State.CONFIRMING, State.SETTLING, State.DONE)
Answer = Literal["cancelled", "declined", "not-open"]


class Cancelled(BaseException):
    """Stops whoever works on a job that its payer wants cancelled. No failure, so nothing catches it on the way."""


def wish(job: Workspace, *, agreed: bool) -> None:
    """Ask whoever works on the job to end it; `agreed` to pay what is owed by then."""
    job.put_value(WISH, {"v": 1, "agreed": agreed})


def is_wanted(job: Workspace) -> bool:
    """Whether a wish waits that may still be carried out."""
    return job.has(WISH) and not is_earned(job)


def is_earned(job: Workspace) -> bool:
    """Whether the adapter is finished, or the end agreed: then the job ends as any other."""
    return not needs_training(job)


def due(job: Workspace) -> SumTree:
    """What is owed as far as this folder knows; a share whose receipt was lost may add to it."""
    opening = SumTree.decode(job.get("tree.cbor"))
    if job.state in BEFORE_RELEASE:
        return opening.lowered({leaf.consent_id: 0 for leaf in opening.leaves})
    if is_earned(job):
        return SumTree.decode(job.get("final.cbor")) if job.has("final.cbor") else opening
    tally = tally_of(job, Order.decode(job.get("order.cbor")))
    released = {receipt.consent for receipt in receipts_of(job)}
    terms = {consent: licence.terms for consent, licence in licences_of(job).items()}
    amounts: dict[ConsentId, int] = {}
    for leaf in opening.leaves:
        amounts[leaf.consent_id] = 0
        if leaf.consent_id in tally.dropped:
            price, used = terms[leaf.consent_id], tally.owed(leaf.consent_id)
            amounts[leaf.consent_id] = owed(price.flat, price.per_record_epoch, used, leaf.amount)
        elif leaf.consent_id in released and leaf.consent_id != FEE:
            amounts[leaf.consent_id] = leaf.amount
    return opening.lowered(amounts)


def carry_out(site: Site, job: Workspace) -> Answer:
    """End the job as its payer wishes, unless it is too late or was not agreed to; then the wish is forgotten."""
    with job.hold():
        if job.state is State.OPENING:
            with suppress(Refused):  # then it is a quote again
                finish_opening(site, job)
        if job.state is State.QUOTED:
            job.shred(WISH)
            return "not-open"
        follow_opening(site, job)
        order = Order.decode(job.get("order.cbor"))
        if job.state is not State.DONE:
            cut_torn_entry(job.ledger, order.job_id)
            outcome = outcome_of(site, order)
            if outcome != "open":
                close_books(site, job, order, outcome)
            elif job.state in _ENDING:
                post_end(site, job, order, site.runner.account)
        if not is_earned(job) and (job.state in BEFORE_RELEASE or job.get_value(WISH)["agreed"]):
            job.note(cancelled=True)
            job.put_adapter({})
            if job.state is State.OPEN and SumTree.decode(job.get("tree.cbor")).total == 0:
                job.advance(State.RELEASING)
            if job.state is State.RELEASING:
                job.advance(State.TRAINING)  # where nothing falls, the whole tree is confirmed
            finish_job(site, job, order, None)
        job.shred(WISH)
        return _answer(job)


def _answer(job: Workspace) -> Answer:
    return "cancelled" if job.facts.get("cancelled") else "declined"


def cancel(site: Site, job: Workspace, *, agreed: bool, seconds: float = 120.0) -> Answer:
    """Wish it, and see to it that it happens: here, or by the worker that has the job. `Busy` if that one does not
    let go within `seconds`; the wish stays."""
    wish(job, agreed=agreed)
    deadline = time.monotonic() + seconds
    while True:
        try:
            if not job.has(WISH):
                return _answer(job)
            return carry_out(site, job)
        except Busy as error:
            if time.monotonic() > deadline:
                raise Busy(
                    "Whoever works on the job has not let go of it yet.",
                    hint="It ends the job as soon as it notices; `allod job watch` tells.",
                ) from error
        time.sleep(0.1)
