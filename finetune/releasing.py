"""Asking keepers for every consent of an open job, keeping what they give, and opening it.

Promise: what keepers released is on disk before anything is opened, as they sealed it: to the job's own key, which is
destroyed when the job is over. So a job that crashes asks them once. A refusal is no failure of the job: it is written
down with each keeper's reason, and the job goes on with the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from consent.keeper.client import Released, deposit_tree, release
from consent.keeper.receipt import Receipt
from consent.keeper.request import ReleaseRequest, SharedObject
from consent.order import Order
from consent.tree import SumTree
from core.encoding import encode_cbor, to_hex
from core.errors import AllodError, Corrupted, InvalidInput, Refused, Unavailable
from core.ids import ConsentId, ObjectId
from finetune.access import Access
from finetune.access import Released as Shares
from finetune.broker import Progress
from finetune.licence import Licence
from finetune.site import Site
from finetune.workspace import SHARES, Workspace


def ask_keepers(site: Site, job: Workspace, order: Order, licences: Mapping[ConsentId, Licence]) -> None:
    """Hand in the tree, then ask t keepers for every consent's objects. Receipts, refusals and then the shares go to
    the job's folder.

    `Refused` only if too few keepers took the tree: then nothing can be released at all. `Unavailable` where keepers
    that do not answer could make the difference: nobody is left out of a job because a keeper was away for a minute.
    """
    private = site.runner.keys.open(order.job_pk)
    tree = SumTree.decode(job.get("tree.cbor"))
    recipe = job.get("recipe.json")
    failed = deposit_tree(site.keepers, order, tree, enough=site.committee.t, patience=site.patience)
    if len(site.keepers) - len(failed) < site.committee.t:
        raise failed.failure(
            "Too few keepers took the job's tree, so none of them can release anything.",
            hint="Run the job again when they answer; its money stays locked until it ends.",
            lacking=site.committee.t - (len(site.keepers) - len(failed)),
        )
    shares: dict[ConsentId, Shares] = {}
    refused: dict[ConsentId, Mapping[int, str]] = {}
    receipts = list[Receipt]()
    try:
        for consent_id, licence in licences.items():
            access = Access(licence, consent_id, order, site.market.token.address, site.committee, site.blocks)
            try:
                found = _ask(site, order, recipe, access, private)
            except Refused as error:
                refused[consent_id] = error.detail.get("reasons") or {0: error.message}
                site.report(Progress("release", note=error.message, owners=len(shares)))
                continue
            receipts += found.receipts
            shares[consent_id] = found.shares
            site.report(Progress("release", owners=len(shares)))
    finally:
        _keep_receipts(job, receipts)
        set_refusals(job, licences, refused, "release")
    job.put_value(SHARES, _shares_document(order, shares))


def kept_shares(job: Workspace, order: Order) -> dict[ConsentId, Shares] | None:
    """What keepers released to this job, by consent, as the folder has it; None if that is not there, or damaged."""
    try:
        return _read_shares(job, order) if job.has(SHARES) else None
    except Corrupted:
        return None


def open_doors(
    site: Site,
    order: Order,
    licences: Mapping[ConsentId, Licence],
    shares: Mapping[ConsentId, Shares],
    ended: Iterable[ConsentId] = (),
) -> list[Access]:
    """A door for every consent with shares that has not ended, in the order of their ids.

    A share opens for this job alone; an object whose shares do not open stays closed.
    """
    private = site.runner.keys.open(order.job_pk)
    accesses = []
    for consent_id in sorted(shares.keys() - set(ended)):
        licence = licences[consent_id]
        access = Access(licence, consent_id, order, site.market.token.address, site.committee, site.blocks)
        access.unlock(private, shares[consent_id])
        accesses.append(access)
    return accesses


def _shares_document(order: Order, shares: Mapping[ConsentId, Shares]) -> dict[str, Any]:
    listed = [
        [consent_id, [[object_id, [list(pair) for pair in pairs]] for object_id, pairs in sorted(given.items())]]
        for consent_id, given in sorted(shares.items())
    ]
    digest = hashlib.sha256(encode_cbor(listed)).digest()
    return {"v": 1, "kind": "shares", "job": order.job_id, "sha256": digest, "consents": listed}


def _read_shares(job: Workspace, order: Order) -> dict[ConsentId, Shares]:
    try:
        value = job.get_value(SHARES)
        shares: dict[ConsentId, Shares] = {
            ConsentId(consent_id): {
                ObjectId(object_id): [(keeper, sealed) for keeper, sealed in pairs] for object_id, pairs in given
            }
            for consent_id, given in value["consents"]
        }
        if value != _shares_document(order, shares):
            raise InvalidInput("Not the shares of this job.")
    except (InvalidInput, KeyError, TypeError, ValueError):
        raise Corrupted(
            "The shares that keepers released to this job are damaged.", hint="Run the job again."
        ) from None
    return shares


def receipts_of(job: Workspace) -> list[Receipt]:
    """Every receipt that the job's folder holds."""
    rows = job.get_value("receipts.cbor")["receipts"] if job.has("receipts.cbor") else []
    return [Receipt.read(row) for row in rows]


def add_refusals(
    job: Workspace,
    licences: Mapping[ConsentId, Licence],
    refused: Mapping[ConsentId, Mapping[int, str]],
    where: str,
) -> None:
    """Note consents that take no part, or no longer; keeper 0 stands for this runner."""
    known = refusals_of(job)
    told = {(entry["consent"], entry["where"]) for entry in known}
    fresh = [entry for entry in _entries(licences, refused, where) if (entry["consent"], where) not in told]
    if fresh:
        job.put_value("refusals.json", known + fresh)


def set_refusals(
    job: Workspace,
    licences: Mapping[ConsentId, Licence],
    refused: Mapping[ConsentId, Mapping[int, str]],
    where: str,
) -> None:
    """Replace what was noted about `where` before: an earlier attempt's refusals may no longer hold."""
    known = refusals_of(job)
    kept = [entry for entry in known if entry["where"] != where] + _entries(licences, refused, where)
    if kept != known:
        job.put_value("refusals.json", kept)


def _entries(
    licences: Mapping[ConsentId, Licence], refused: Mapping[ConsentId, Mapping[int, str]], where: str
) -> list[dict[str, Any]]:
    return [
        {
            "consent": to_hex(consent_id),
            "owner": to_hex(licences[consent_id].consent.owner),
            "asset": to_hex(licences[consent_id].consent.asset),
            "where": where,
            "reasons": [{"keeper": index, "reason": reason} for index, reason in sorted(reasons.items())],
        }
        for consent_id, reasons in refused.items()
    ]


def refusals_of(job: Workspace) -> list[dict[str, Any]]:
    """What was refused, where (quote, release, training) and why."""
    return list(job.get_value("refusals.json")) if job.has("refusals.json") else []


def _ask(site: Site, order: Order, recipe: bytes, access: Access, private: bytes) -> Released:
    licence = access.licence
    objects = []
    for index, (manifest, decoded) in enumerate(zip(licence.manifests, licence.objects, strict=True)):
        row, row_index, row_proof = licence.table.row(decoded.object_id)
        proof = tuple(licence.tree.proof(index))
        objects.append(SharedObject(manifest, index, proof, row, row_index, tuple(row_proof)))
    request = ReleaseRequest(
        committee_id=site.committee.id,
        order=order,
        consent=licence.consent,
        terms=licence.terms_bytes,
        recipe=recipe,
        header=licence.header_bytes,
        table=licence.table.head_bytes,
        table_sig=licence.table.sig,
        objects=tuple(objects),
    )
    try:
        return release(
            site.keepers,
            site.committee,
            site.market.token.address,
            request,
            site.runner.account,
            lambda object_id, keeper, sealed: access.share_opens(private, object_id, keeper, sealed),
            patience=site.patience,
        )
    except (Refused, Unavailable):
        raise
    except AllodError as error:
        raise Refused(error.message, hint=error.hint) from None


def _keep_receipts(job: Workspace, receipts: list[Receipt]) -> None:
    known = receipts_of(job)
    signatures = {receipt.sig for receipt in known}
    known += [receipt for receipt in receipts if receipt.sig not in signatures]
    job.put_value("receipts.cbor", {"v": 1, "receipts": [receipt.fields() for receipt in known]})
