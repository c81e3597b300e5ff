"""From a quote to an open job: the folder, the job key, and one transaction that locks the money.

The payer signs here (`sign_opening`), or elsewhere: then `draft_opening` says what to sign, and `adopt_opening` takes
what came back. Promise: a crash at any point neither opens a job twice nor loses one. The signed transaction is on disk
before it is sent; whoever comes back sends the very same one again, or learns that it can no longer happen.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from consent.chain.account import Account, check_signed, read_transaction
from consent.chain.client import Prepared, Receipt
from consent.grant import Consent
from consent.market.lanes import free_lane
from consent.market.paying import balance, opening_call, prepare_open, read_opening
from consent.order import Order
from consent.recipe import Recipe
from consent.tree import FEE, SumTree
from core.encoding import encode_json, from_hex, to_hex
from core.errors import InvalidInput, Refused
from core.ids import Address, ConsentId
from finetune.broker import Progress
from finetune.licence import Licence
from finetune.quote import Quote
from finetune.site import Site
from finetune.workspace import SHARES, State, Workspace, licence_name

RUN_SECONDS = 24 * 3600  # from opening to the moment the opening tree can be claimed whatever happens


DRAFT = "draft.cbor"


class Opening(NamedTuple):
    """An opening that its payer did not sign yet: the order, and the escrow's call that opens it."""

    order: Order
    data: bytes


def new_job(site: Site, quote: Quote, *, name: str | None = None) -> Workspace:
    """Make the job's key and its folder; no money has moved. The folder has `name`, or one from the key."""
    if quote.runner != site.runner.account.address:
        raise InvalidInput("The quote names another runner than this machine.", hint="Quote the job again here.")
    job_pk = site.runner.keys.create()
    documents = {
        "recipe.json": quote.recipe.encode(),
        "committee.json": quote.committee.encode(),
        "tree.cbor": quote.tree.encode(),
    }
    for line in quote.accepted:
        documents[licence_name(line.consent_id)] = line.licence.encode()
    if quote.rejected:
        documents["refusals.json"] = encode_json(
            [
                {
                    "consent": to_hex(line.consent_id),
                    "owner": to_hex(line.licence.consent.owner),
                    "asset": to_hex(line.licence.consent.asset),
                    "where": "quote",
                    "reasons": [{"keeper": 0, "reason": reason} for reason in line.reasons],
                }
                for line in quote.rejected
            ]
        )
    folder = site.jobs / (name or hashlib.sha256(job_pk).hexdigest()[:16])
    return Workspace.create(folder, documents, payer=to_hex(quote.payer), job_pk=to_hex(job_pk))


def licences_of(job: Workspace) -> dict[ConsentId, Licence]:
    """The licences that the job's tree pays for, by consent."""
    tree = SumTree.decode(job.get("tree.cbor"))
    return {
        leaf.consent_id: Licence.decode(job.get(licence_name(leaf.consent_id)))
        for leaf in tree.leaves
        if leaf.consent_id != FEE
    }


def open_job(site: Site, job: Workspace, payer: Account, *, seconds: int = RUN_SECONDS) -> Order:
    """Lock the money and open the job, which ends `seconds` from now at the latest."""
    sign_opening(site, job, payer, seconds=seconds)
    return finish_opening(site, job)


def sign_opening(site: Site, job: Workspace, payer: Account, *, seconds: int = RUN_SECONDS, **facts: Any) -> None:
    """Sign and store the transaction that opens the job, with `facts` for its folder; no money moves yet.

    It is the payer's last signature: from here on whoever holds the folder opens the job, by `finish_opening`.
    """
    order, counted, former = _draft(site, job, payer.address, seconds)
    site.report(Progress("open"))
    _keep(job, order, prepare_open(site.market, payer, order, counted, former), facts)


def draft_opening(site: Site, job: Workspace, *, seconds: int = RUN_SECONDS) -> Opening:
    """Keep what the payer is to sign somewhere else, and return it; no money moves. A later draft replaces it."""
    order, counted, former = _draft(site, job, Address(from_hex(job.facts["payer"], 20)), seconds)
    opening = Opening(order, opening_call(site.market, order, counted, former))
    job.put_value(DRAFT, {"v": 1, "order": order.encode(), "data": opening.data})
    return opening


def adopt_opening(site: Site, job: Workspace, raw: bytes, **facts: Any) -> None:
    """Take the transaction that the payer signed for the last draft: from here on all is as after `sign_opening`.

    `InvalidInput` unless the job's payer signed it and it does what was drafted here, whoever hands it over; `Refused`
    where the chain would not take it, so that a try costs the payer nothing.
    """
    drafted = job.get_value(DRAFT)
    order = Order.decode(drafted["order"])
    site.runner.keys.open(order.job_pk)
    chain, escrow = site.market.chain, site.market.escrow.address
    tx_hash = check_signed(raw, sender=order.payer, chain_id=site.market.chain_id, to=escrow, data=drafted["data"])
    if not chain.knows(tx_hash):
        _check_nonce(site, order.payer, read_transaction(raw).nonce)
        chain.estimate(order.payer, escrow, drafted["data"], 0)
    _keep(job, order, Prepared(raw, tx_hash), facts)


def _check_nonce(site: Site, payer: Address, nonce: int) -> None:
    expected = site.market.chain.nonce(payer)
    if nonce != expected:
        raise Refused(
            f"The transaction has the payer's nonce {nonce}; the next one is {expected}.",
            hint="Sign the opening again with that nonce.",
            stale_nonce=True,
        )


def _keep(job: Workspace, order: Order, prepared: Prepared, facts: dict[str, Any]) -> None:
    job.put_value("opening.cbor", {"v": 1, "order": order.encode(), "raw": prepared.raw, "hash": prepared.tx_hash})
    job.advance(State.OPENING, **facts)


def finish_opening(site: Site, job: Workspace, *, seconds: float = 180.0) -> Order:
    """Send the stored transaction, again if need be, wait `seconds` at most for its block, and note the open job.

    Where the chain refused it for good, the job is quoted again and `Refused` says why.
    """
    stored = job.get_value("opening.cbor")
    order, prepared = Order.decode(stored["order"]), Prepared(stored["raw"], stored["hash"])
    try:
        receipt = site.market.chain.submit(prepared, timeout=seconds)
    except Refused:
        job.advance(State.QUOTED)
        raise
    opened = read_opening(site.market, order, receipt)
    note_transaction(job, "open", receipt)
    job.put("order.cbor", opened.encode())
    job.advance(State.OPEN, job_id=to_hex(opened.job_id))
    return opened


def follow_opening(site: Site, job: Workspace) -> None:
    """Read the opening again as long as no share rests on it, and send it again if no block has it any more.

    A reorganisation may have put it into a block of another time: then the job has another id than was noted.
    """
    if job.state not in (State.OPEN, State.RELEASING) or job.has(SHARES) or not job.has("opening.cbor"):
        return
    stored = job.get_value("opening.cbor")
    receipt = site.market.chain.submit(Prepared(stored["raw"], stored["hash"]))
    opened = read_opening(site.market, Order.decode(stored["order"]), receipt).encode()
    note_transaction(job, "open", receipt)
    if opened != job.get("order.cbor"):
        job.put("order.cbor", opened)
        job.note(job_id=to_hex(Order.decode(opened).job_id))


def await_opening(site: Site, job: Workspace) -> None:
    """Wait until the chain calls the opening safe, because before that every keeper refuses."""
    note = "waiting until the chain calls the opening safe: {} blocks"
    while True:
        (opened,) = (entry["block"] for entry in job.get_value("transactions.json") if entry["what"] == "open")
        site.market.await_safe(opened, lambda missing: site.report(Progress("release", note=note.format(missing))))
        known = job.get("order.cbor"), job.get("transactions.json")
        follow_opening(site, job)
        if known == (job.get("order.cbor"), job.get("transactions.json")):
            return


def note_transaction(job: Workspace, what: str, receipt: Receipt) -> None:
    """Add a transaction to the job's list; one that is noted already keeps its place, with its block of now."""
    listed: list[dict[str, Any]] = job.get_value("transactions.json") if job.has("transactions.json") else []
    entry = {
        "what": what,
        "hash": to_hex(receipt.tx_hash),
        "gas": receipt.gas_used,
        "block": receipt.block_number,
    }
    noted = [entry if other["hash"] == entry["hash"] else other for other in listed]
    if entry not in noted:
        noted.append(entry)
    if noted != listed:
        job.put_value("transactions.json", noted)


def require_deposit(site: Site, payer: Address, total: int) -> None:
    """`Refused`, with what is missing, where the payer's deposit does not cover a job of `total` UNITs."""
    deposited = balance(site.market, payer).deposited
    if deposited < total:
        raise Refused(
            f"The job costs {total} UNITs and {deposited} are deposited.",
            hint=f"Deposit {total - deposited} more first: `allod deposit`.",
            missing=total - deposited,
        )


def _draft(site: Site, job: Workspace, payer: Address, seconds: int) -> tuple[Order, list[Consent], list[int]]:
    tree = SumTree.decode(job.get("tree.cbor"))
    facts = job.facts
    if from_hex(facts["payer"], 20) != payer:
        raise InvalidInput("The job was quoted for another payer.", hint="Quote it again for this one.")
    job_pk = from_hex(facts["job_pk"])
    site.runner.keys.open(job_pk)  # an honest runner opens no job under a key it did not make
    licences = licences_of(job)
    counted = [(consent_id, licence) for consent_id, licence in licences.items() if licence.consent.max_uses]
    fee = tree.find(FEE)
    require_deposit(site, payer, tree.total)
    lane, former = free_lane(site.market, payer)
    order = Order(
        chain_id=site.market.chain_id,
        escrow=site.market.escrow.address,
        payer=payer,
        lane=lane,
        opened=0,
        start=site.market.chain.block().timestamp + seconds,
        runner=site.runner.account.address,
        recipe_hash=Recipe.decode(job.get("recipe.json")).hash,
        job_pk=job_pk,
        fee=0 if fee is None else tree.leaves[fee].amount,
        q=site.committee.q,
        keepers=site.committee.addresses,
        root=tree.root,
        counted=tuple(consent_id for consent_id, _ in counted),
    )
    return order, [licence.consent for _, licence in counted], former
