"""Copies what jobs' folders say into the database, for who cannot read the folders, and carries wishes to them.

It runs beside the queue in every `allod worker`; of several workers of a home one at a time is at it. Promises: the
copy of a job's events has the folder's numbers, each once, whatever is killed; it catches up after any time away; a
payer's wish to cancel stays in the database until it was carried out or declined, and reaches whoever works on the job
through the very document that `allod job cancel` writes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from allod import cancelling, jobs, orders
from allod.events import Reader
from allod.recorder import Recorder, record
from allod.server import activity
from allod.starting import is_queued
from allod.world import OpenWorld, World
from consent.order import Order
from consent.tree import FEE, SumTree
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Busy, NotFound
from core.ids import Address
from core.settings import Settings
from finetune.bundle import Bundle
from finetune.opening import licences_of
from finetune.provenance import EVIDENCE
from finetune.records import JobBook, JobRow
from finetune.releasing import refusals_of
from finetune.run import money
from finetune.settle import tally_of
from finetune.workspace import State, Workspace, workspaces

WEIGHTS = "adapter_model.safetensors"
_NOT_OPEN = (None, State.QUOTED, State.OPENING)
SHOWN = 1_000  # payees and refusals of one job that its summary lists
_log = logging.getLogger("allod.mirror")


@dataclass
class _Followed:
    """One job that is followed: its row, the reader of its events, and what was last written down of it."""

    number: int
    reader: Reader
    progress: dict[str, Any] = field(default_factory=dict)
    known: tuple[Any, ...] | None = None


class Mirror:
    """Follows the jobs of one home."""

    def __init__(self, settings: Settings, engine: Engine, open_world: OpenWorld = World) -> None:
        self._settings, self._engine, self._open_world = settings, engine, open_world
        self._book = JobBook(engine)
        self._followed: dict[str, _Followed] = {}
        self._over: set[str] = set()

    def tend(self) -> bool:
        """Copy what is new, and carry wishes; whether there was anything."""
        found = [self._copy(job) for job in workspaces(self._settings.home / "jobs") if self._is_followed(job)]
        return any([self._wishes(), *found])

    def _is_followed(self, job: Workspace) -> bool:
        return job.folder.name not in self._over

    # -- copying ------------------------------------------------------------------------------------------------------

    def _copy(self, job: Workspace) -> bool:
        try:
            return self._follow(job)
        except (AllodError, OSError) as error:  # a damaged folder keeps no other job from being followed
            _log.warning("job %s cannot be followed: %s", job.folder.name, type(error).__name__)
            return False

    def _follow(self, job: Workspace) -> bool:
        name, facts = job.folder.name, job.facts
        one = self._followed.get(name)
        if one is None:
            number = self._book.of_folder(name, Address(from_hex(facts["payer"], 20))).number
            with transaction(self._engine) as session:
                last = orders.last_event(session, number)
            one = self._followed[name] = _Followed(number, Reader(job.folder, after=last))
        state, over = job.state, is_over(job)  # before the look, so that no last event is missed
        known = state, facts.get("job_id"), over, len(refusals_of(job))
        events = list(one.reader.new())
        for event in events:
            if event["kind"] == "step":
                one.progress = {key: event.get(key) for key in ("step", "steps", "loss", "tokens", "owners")}
        if not events and known == one.known:
            if over:  # and everything is copied
                self._over.add(name)
                del self._followed[name]
            return False
        with transaction(self._engine) as session:
            row = session.get(JobRow, one.number)
            if row is not None:
                orders.copy_events(session, one.number, events)
                one.progress = one.progress or (row.summary or {}).get("progress") or {}
                if known != one.known:
                    _tell(session, job, row)
                    row.state = state.value
                    if "job_id" in facts:
                        row.job_id = from_hex(facts["job_id"], 32)
                    row.adapter = adapter_hash(job) if over else None
                    row.summary = summarise(job)
                if one.progress:
                    row.summary = {**(row.summary or {}), "progress": one.progress}
        one.known = known
        return True

    # -- wishes -------------------------------------------------------------------------------------------------------

    def _wishes(self) -> bool:
        with transaction(self._engine) as session:
            rows = list(session.scalars(select(JobRow).where(JobRow.wish.is_not(None))))
        if rows:
            with self._open_world(self._settings) as world:
                for row in rows:
                    try:
                        self._carry(world, row)
                    except AllodError as error:  # it is away, or somebody works on the job: the next look tries again
                        if not isinstance(error, Busy):
                            _log.warning("a wish for job %s waits: %s", row.number, error.slug)
        return bool(rows)

    def _carry(self, world: World, row: JobRow) -> None:
        try:
            job = Workspace(self._settings.home / "jobs" / row.folder)
        except NotFound:
            self._answer(row, "gone")
            return
        agreed = row.wish == "agreed"
        if row.answer != "sent" and (agreed or job.state in cancelling.BEFORE_RELEASE):
            if not cancelling.is_earned(job):
                cancelling.wish(job, agreed=agreed)
            with transaction(self._engine) as session:
                session.get_one(JobRow, row.number).answer = "sent"
        if job.has(cancelling.WISH):
            answer: str = cancelling.carry_out(world.site(Recorder(job)), job)
            record(job, "cancel", answer=answer)
        elif job.state is State.QUOTED:
            answer = "not-open"
        else:  # it was too late, or whoever had the job has carried it out
            answer = "cancelled" if job.facts.get("cancelled") else "declined"
        if job.state is State.DONE and not job.facts.get("published"):
            with job.hold():  # a job whose workflow ended before has nobody else to do it
                jobs.close(world, row.number, job)
                Recorder(job).published()
                job.note(published=True)
        self._answer(row, answer)

    def _answer(self, row: JobRow, answer: str) -> None:
        with transaction(self._engine) as session:
            found = session.get_one(JobRow, row.number)
            if answer == "not-open" and orders.is_signed(session, row.number):
                found.answer = None  # the wish stays and keeps the desk from opening it; a later look answers
            elif found.wish == row.wish:  # else the payer has agreed to more meanwhile
                found.wish, found.answer = None, answer


def _tell(session: Session, job: Workspace, row: JobRow) -> None:
    """Log what a new state means to its payer, and to the owners whom the job pays."""
    before, state, data = row.state, job.state.value, {"job": str(row.number)}
    if "job_id" in job.facts:
        data["job_id"] = str(job.facts["job_id"])
    if before in _NOT_OPEN and state not in _NOT_OPEN:
        activity.record(session, Address(row.payer), "job.opened", data)
        _tell_owners(session, job, "earning.in_escrow", SumTree.decode(job.get("tree.cbor")), data)
    if before != state == State.DONE:
        activity.record(session, Address(row.payer), "job.done", {**data, "outcome": str(job.facts.get("outcome"))})
        _tell_owners(session, job, "earning.claimable", final_tree(job), data)


def _tell_owners(session: Session, job: Workspace, kind: str, tree: SumTree, data: dict[str, str]) -> None:
    licences = licences_of(job)
    for leaf in tree.leaves:
        if leaf.consent_id != FEE and leaf.amount:
            about = {"job_id": data["job_id"], "consent": to_hex(leaf.consent_id), "amount": str(leaf.amount)}
            activity.record(session, licences[leaf.consent_id].consent.owner, kind, about)


def final_tree(job: Workspace) -> SumTree:
    """What a job that is over pays."""
    return SumTree.decode(job.get("final.cbor" if job.facts.get("outcome") == "settled" else "tree.cbor"))


def is_over(job: Workspace) -> bool:
    """Whether the job is done, its bundle is whole, and no worker has anything left to do for it."""
    whole = job.state is State.DONE and (jobs.bundle_of(job) / EVIDENCE).is_dir()
    return whole and not is_queued(job)


def adapter_hash(job: Workspace) -> bytes | None:
    """SHA-256 of the published weights, None where the job has none."""
    try:
        return Bundle(jobs.bundle_of(job)).adapter_digest(WEIGHTS)
    except NotFound:
        return None


def summarise(job: Workspace) -> dict[str, Any]:
    """What a payer sees of a job, from its folder: public, or the payer's own. Amounts are UNITs in decimal."""
    opening = SumTree.decode(job.get("tree.cbor"))
    over = job.state is State.DONE
    final = final_tree(job) if over else opening
    amounts = {leaf.consent_id: leaf.amount for leaf in final.leaves}
    said: dict[str, Any] = {
        "outcome": job.facts.get("outcome"),
        "published": is_over(job),
        "money": money(job),
        "locked": str(opening.total),
        "to_be_claimed": str(final.total) if over else None,
        "refunded": str(opening.total - final.total) if over else None,
        "payees": [
            {
                "consent": None if leaf.consent_id == FEE else to_hex(leaf.consent_id),
                "payee": to_hex(leaf.payee),
                "locked": str(leaf.amount),
                "to_be_claimed": str(amounts.get(leaf.consent_id, 0)) if over else None,
            }
            for leaf in opening.leaves[:SHOWN]
        ],
        "refusals": [
            {
                "consent": entry["consent"],
                "owner": entry["owner"],
                "where": entry["where"],
                "reasons": sorted({str(one["reason"]) for one in entry["reasons"]}),
            }
            for entry in refusals_of(job)[:SHOWN]
        ],
        "transactions": job.get_value("transactions.json") if job.has("transactions.json") else [],
        "losses": job.get_value("losses.json") if job.has("losses.json") else {},
    }
    if not over and job.state is not State.QUOTED:
        said["owed_if_cancelled"] = str(cancelling.due(job).total)
    if over and job.ledger.exists() and job.has("order.cbor"):
        tally = tally_of(job, Order.decode(job.get("order.cbor")))
        uses = [tally.used(leaf.consent_id) for leaf in opening.leaves if leaf.consent_id != FEE]
        said["ledger"] = {
            "root": to_hex(tally.root()),
            "entries": tally.entries,
            "attempts": tally.attempts,
            "record_epochs": sum(use.record_epochs for use in uses),
            "tokens": sum(use.tokens for use in uses),
        }
    return said
