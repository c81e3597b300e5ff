"""The end of a job: the runner confirms the whole opening tree, or the keepers' statement lowers it.

An honest runner confirms only when no leaf falls. Otherwise every keeper closes the job first and says of which
consents it released a share; the final tree is the smallest that their rules and the runner's own ledger bear. What
is to be posted is on disk before it is posted, and a posted end is recognised, so the end survives any crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from consent.chain.account import Account
from consent.keeper.client import (
    NO_STATEMENT,
    Closing,
    close_job,
    collect_settlement,
    deposit_tree,
    hand_in_ledger,
)
from consent.keeper.trees import write_job_query
from consent.keeper.wire import read_reply
from consent.market.lanes import Course, courses
from consent.market.paying import confirm, settle
from consent.market.place import Relayer
from consent.order import Order
from consent.tree import FEE, SumTree
from core.encoding import from_hex, to_hex
from core.errors import AllodError, InvalidInput, Refused, Unavailable
from core.ids import ConsentId
from finetune.broker import Progress
from finetune.checkpoint import destroy_checkpoint
from finetune.ledger import Tally, cut_torn_entry, owed, read_ledger
from finetune.licence import Licence
from finetune.opening import finish_opening, follow_opening, licences_of, note_transaction
from finetune.releasing import receipts_of, refusals_of
from finetune.site import Site
from finetune.workspace import State, Workspace

Outcome = Literal["confirmed", "settled", "stands", "open"]
StatementHook = Callable[[Workspace, SumTree], bytes]
"""Writes the statement about a finished job and its final tree, and returns the 32-byte hash to post."""


def outcome_of(site: Site, order: Order) -> Outcome:
    """How the job stands on chain: open, confirmed, settled, or past its end with the opening tree standing."""
    course = _course(site, order)
    if course.settled_tx is not None:
        return "confirmed" if course.root == order.root else "settled"
    return "open" if site.market.chain.block().timestamp < order.start else "stands"


def _course(site: Site, order: Order) -> Course:
    for course in courses(site.market, order.payer):
        if course.opening.job_id == order.job_id:
            return course
    # Its opening was in a block once: an endpoint lags, or a reorganisation is under way.
    raise Unavailable("The chain does not show this job.", hint="Wait for its next block, or ask another endpoint.")


def tally_of(job: Workspace, order: Order) -> Tally:
    """What the job's ledger counts; nothing if training never began."""
    return read_ledger(job.ledger.read_bytes() if job.ledger.exists() else b"", order.job_id)


def tell_totals(
    site: Site, order: Order, licences: Mapping[ConsentId, Licence], totals: Mapping[ConsentId, int]
) -> None:
    """Hand keepers the record-epochs of consents that ended, while they still take them.

    One that released nothing, or to which the owner's revocation is unknown, takes none; then its leaf stands in full.
    """
    for consent_id, record_epochs in totals.items():
        consent = licences[consent_id].consent
        hand_in_ledger(site.keepers, order, site.market.token.address, consent, record_epochs, site.runner.account)


def finish_job(site: Site, job: Workspace, order: Order, hook: StatementHook | None) -> SumTree:
    """Choose the final tree, have the statement written, and post it: the tree that owners claim from."""
    opening = SumTree.decode(job.get("tree.cbor"))
    final = opening if _all_earned(job, order, opening) else _lowest(site, job, order, opening, site.runner.account)
    statement = hook(job, final) if hook is not None and job.adapter() else NO_STATEMENT
    if len(statement) != 32:
        raise InvalidInput("The hash of a statement has 32 bytes.")
    job.put("final.cbor", final.encode())
    job.put_value("statement.json", {"v": 1, "statement": to_hex(statement), "proposer": "runner"})
    job.advance(State.CONFIRMING if final.root == opening.root else State.SETTLING)
    return post_end(site, job, order, site.runner.account)


def post_end(site: Site, job: Workspace, order: Order, signer: Account) -> SumTree:
    """Post the end that the folder holds, unless the chain has one already; then the job is done.

    `Refused` or `Unavailable` if too few keepers sign: the job stays as it is, and until its end this can be tried
    again.
    """
    final = SumTree.decode(job.get("final.cbor"))
    statement = from_hex(job.get_value("statement.json")["statement"], 32)
    outcome = outcome_of(site, order)
    if outcome == "open":
        site.report(Progress("settle"))
        if job.state is State.CONFIRMING:
            sent = confirm(site.market, site.runner.account, order, statement)
        else:
            # A keeper signs only for a tree that it holds; one that was silent at the release may lack it.
            deposit_tree(site.keepers, order, SumTree.decode(job.get("tree.cbor")))
            signatures = collect_settlement(
                site.keepers, site.committee, order, final, statement, signer, patience=site.patience
            )
            by_address = {site.committee.addresses[index - 1]: sig for index, sig in signatures.items()}
            relayer = Relayer(site.market.chain, signer)
            sent = settle(site.market, relayer, order, final.root, statement, by_address)
        note_transaction(job, sent.what, sent.receipt)
        outcome = "confirmed" if job.state is State.CONFIRMING else "settled"
    close_books(site, job, order, outcome)
    return final if outcome != "stands" else SumTree.decode(job.get("tree.cbor"))


def settle_job(site: Site, job: Workspace, payer: Account) -> SumTree:
    """For the payer whose runner vanished: refund every leaf of which no keeper released a share.

    The fee comes back only if nothing was released at all. `Refused` if there is nothing to refund: then the opening
    tree stands from the job's end.
    """
    with job.hold():
        if job.state is State.OPENING:
            finish_opening(site, job)
        follow_opening(site, job)
        order = Order.decode(job.get("order.cbor"))
        if payer.address != order.payer:
            raise InvalidInput(
                "Only the job's payer settles it without its runner.", hint="Act as its payer: --as NAME."
            )
        if job.state is State.DONE:
            settled = job.facts.get("outcome") == "settled"
            return SumTree.decode(job.get("final.cbor" if settled else "tree.cbor"))
        cut_torn_entry(job.ledger, order.job_id)
        if job.state is not State.SETTLING:
            outcome = outcome_of(site, order)
            opening = SumTree.decode(job.get("tree.cbor"))
            if outcome != "open":
                close_books(site, job, order, outcome)
                return SumTree.decode(job.get("final.cbor")) if outcome == "settled" else opening
            final = _lowest(site, job, order, opening, payer)
            if final.root == opening.root:
                raise Refused(
                    "Shares of all its data were released, so nothing of this job is refunded.",
                    hint="The owners can claim once the job ends.",
                )
            job.put("final.cbor", final.encode())
            job.put_value("statement.json", {"v": 1, "statement": to_hex(NO_STATEMENT), "proposer": "payer"})
            job.advance(State.SETTLING)
        return post_end(site, job, order, payer)


def close_books(site: Site, job: Workspace, order: Order, outcome: Outcome) -> None:
    """The job is over: its key is destroyed, so its shares and checkpoint stay closed for good, and then they go."""
    if outcome == "settled":
        _keep_final(site, job, order)
    site.runner.keys.destroy(order.job_pk)
    job.shred("shares.cbor")
    destroy_checkpoint(job.folder)
    job.advance(State.DONE, outcome=outcome)
    site.report(Progress("done", note=outcome))


def _keep_final(site: Site, job: Workspace, order: Order) -> None:
    """Have the tree in the folder that the chain has; where somebody else proposed it, keepers serve it."""
    root = _course(site, order).root
    if job.has("final.cbor") and SumTree.decode(job.get("final.cbor")).root == root:
        return
    for port in site.ports:
        try:
            reply = read_reply(port.call("tree", write_job_query(order.job_id)), ("order", "tree", "final"), "The tree")
            if SumTree.decode(reply["final"]).root == root:
                job.put("final.cbor", reply["final"])
                return
        except AllodError:
            continue
    raise Unavailable(
        "The job was settled by somebody else, and no keeper gives the tree that owners claim from.",
        hint="Try again when the keepers answer.",
    )


def _all_earned(job: Workspace, order: Order, opening: SumTree) -> bool:
    """Whether every leaf is owed in full without asking anyone: all were released, none ended, an adapter is here."""
    released = {receipt.consent for receipt in receipts_of(job)}
    consents = {leaf.consent_id for leaf in opening.leaves if leaf.consent_id != FEE}
    return consents <= released and not _ended(job, tally_of(job, order)) and bool(job.adapter())


def _ended(job: Workspace, tally: Tally) -> set[ConsentId]:
    """Consents that stopped while the job trained, or that an earlier attempt had and the last one was refused."""
    refused = {ConsentId(from_hex(entry["consent"], 32)) for entry in refusals_of(job) if entry["where"] == "release"}
    return set(tally.dropped) | refused


def _lowest(site: Site, job: Workspace, order: Order, opening: SumTree, signer: Account) -> SumTree:
    """The smallest tree that the keepers bear; a runner also pays what only its own ledger and receipts know of."""
    licences = licences_of(job)
    terms = {consent_id: licence.terms for consent_id, licence in licences.items()}
    closing = _close(site, order, signer)
    if signer.address != order.runner:
        return closing.lowest(opening, terms, keep_fee=None)
    tally, used = tally_of(job, order), {receipt.consent for receipt in receipts_of(job)}
    ended = _ended(job, tally)
    late = {c: tally.owed(c) for c in _without_total(closing) if c in ended}
    if late:
        tell_totals(site, order, licences, late)
        closing = _close(site, order, signer)
    lowest = closing.lowest(opening, terms, keep_fee=bool(job.adapter()))
    amounts = {leaf.consent_id: leaf.amount for leaf in lowest.leaves}
    for leaf in opening.leaves:
        if leaf.consent_id in ended and (tally.owed(leaf.consent_id) or leaf.consent_id in used):
            price = terms[leaf.consent_id]
            due = owed(price.flat, price.per_record_epoch, tally.owed(leaf.consent_id), leaf.amount)
            amounts[leaf.consent_id] = max(due, amounts[leaf.consent_id])
        elif leaf.consent_id in used - ended:
            amounts[leaf.consent_id] = leaf.amount
    return opening.lowered(amounts)


def _close(site: Site, order: Order, signer: Account) -> Closing:
    closing = close_job(site.keepers, order, signer, patience=site.patience)
    if len(closing.released) < site.committee.q:
        raise closing.reasons.failure(
            f"Only {len(closing.released)} keepers closed the job; a refund takes {site.committee.q} of them.",
            hint="Try again later; if they stay silent, the opening tree stands at the job's end.",
            lacking=site.committee.q - len(closing.released),
        )
    return closing


def _without_total(closing: Closing) -> Iterable[ConsentId]:
    """Consents released by a keeper that holds no ledger total for them."""
    return {
        consent_id
        for index, released in closing.released.items()
        for consent_id in released
        if consent_id not in closing.ledgers[index]
    }
