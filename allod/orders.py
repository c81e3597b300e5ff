"""Orders: how a server that holds no key, and the runner, who holds its own, make a job together.

They meet in the database and nowhere else. A trainer wishes for a quote (`waiting`); the runner works it out, makes the
job's key and folder, and writes down the one transaction that opens the job (`ready`), or why there is none
(`refused`); the trainer signs it elsewhere and the server keeps it (`signed`); the runner, who compares it with its own
draft, opens the job (`opened`). An opening that the chain did not take is drafted anew (`waiting` again, with the
reason). Promises: each step is one transaction that only happens from the state before it, so twice is once, and a
crash between two steps leaves the order at one of them; nothing here lets the database choose what the runner opens.

`JobEventRow` is the copy of a job's events (`allod.events`) for who cannot read its folder.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, LargeBinary, String, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from consent.chain.account import check_signed
from core.database import Base, UtcTime, inserting, take_turn, utc_now
from core.encoding import from_hex
from core.errors import Conflict, InvalidInput, NotFound
from core.ids import Address
from finetune.records import JobRow

QUOTE_SECONDS = 1800  # for which a quote can be signed
MAX_OPEN = 20  # orders of one payer that are not opened, refused or expired: each costs the runner a key and a folder
MAX_RAW = 128 << 10  # bytes of a signed opening; 64 counted consents take 23 KiB
KEPT_STEPS = 5_000  # events of training steps that are kept for one job; the oldest go first
_AT_ONCE = 500  # values of one query
WAITING, READY, REFUSED, SIGNED, OPENED = "waiting", "ready", "refused", "signed", "opened"
EXPIRED = "expired"  # what a quote is called that nobody signed in time; no row says it

Clock = Callable[[], float]


class OrderRow(Base):
    """One order. `wish` is what was asked; `quote` and `opening` what the runner said; `raw` what the payer signed."""

    __tablename__ = "orders"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    payer: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    state: Mapped[str] = mapped_column(String(10), index=True)
    wish: Mapped[dict[str, Any]] = mapped_column(JSON)
    quote: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    opening: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    expires: Mapped[int | None] = mapped_column(BigInteger, default=None)
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary, default=None)
    tx_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None)
    job: Mapped[int | None] = mapped_column(ForeignKey("jobs.number"), index=True, default=None)
    created: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)


class JobEventRow(Base):
    """One event of a job, with the number that it has in the job's folder."""

    __tablename__ = "job_events"

    job: Mapped[int] = mapped_column(ForeignKey("jobs.number"), primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(Float)
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


# -- the payer's side, as the server acts for it ----------------------------------------------------------------------


def place(session: Session, payer: Address, wish: dict[str, Any], *, clock: Clock = time.time) -> OrderRow:
    """Ask the runner for a quote; `Conflict` where the payer has too many that wait."""
    take_turn(session, b"orders" + payer)
    undone = select(func.count()).where(OrderRow.payer == payer, OrderRow.state.in_([WAITING, READY, SIGNED]))
    fresh = (OrderRow.expires.is_(None)) | (OrderRow.expires > int(clock())) | (OrderRow.state != READY)
    if (session.scalar(undone.where(fresh)) or 0) >= MAX_OPEN:
        raise Conflict(
            f"{MAX_OPEN} quotes of this account are open already.",
            hint="Start those, or wait until they expire.",
        )
    row = OrderRow(id=secrets.token_hex(16), payer=payer, state=WAITING, wish=wish)
    session.add(row)
    session.flush()
    return row


def order_of(session: Session, payer: Address, order: str) -> OrderRow:
    """This payer's order of that id; `NotFound` for everybody else's too."""
    row = session.get(OrderRow, order)
    if row is None or row.payer != payer:
        raise NotFound("There is no such quote.", hint="Ask for one: POST /v1/quotes.")
    return row


def state_of(row: OrderRow, *, clock: Clock = time.time) -> str:
    """How an order stands now, with the time in view."""
    over = row.state == READY and row.expires is not None and row.expires <= clock()
    return EXPIRED if over else row.state


def hand_over(session: Session, payer: Address, order: str, raw: bytes, *, clock: Clock = time.time) -> OrderRow:
    """Keep the payer's signed opening for the runner. The same one again changes nothing; another one is a `Conflict`.

    `InvalidInput` unless the payer signed exactly what the quote says.
    """
    row = order_of(session, payer, order)
    if row.raw == raw and row.state in (SIGNED, OPENED):
        return row
    state = state_of(row, clock=clock)
    if state != READY or row.opening is None:
        raise Conflict(_NOT_READY[state], hint=_NEXT[state])
    if len(raw) > MAX_RAW:
        raise InvalidInput(
            "The transaction is too long to be this opening.", hint="Sign the fields as they were given."
        )
    tx_hash = check_signed(
        raw,
        sender=payer,
        chain_id=row.opening["chain_id"],
        to=Address(from_hex(row.opening["to"], 20)),
        data=from_hex(row.opening["data"]),
    )
    changed = session.scalars(
        update(OrderRow)
        .where(OrderRow.id == order, OrderRow.state == READY)
        .values(state=SIGNED, raw=raw, tx_hash=tx_hash, problem=None)
        .returning(OrderRow.id)
    )
    if changed.one_or_none() is None:
        raise Conflict(_NOT_READY[SIGNED], hint=_NEXT[SIGNED])
    session.refresh(row)
    return row


_NOT_READY = {
    WAITING: "The runner has not said yet what is to be signed.",
    REFUSED: "The runner refused this order.",
    EXPIRED: "The quote has expired.",
    SIGNED: "The opening was signed already, by another transaction.",
    OPENED: "The job of this quote was opened already.",
}
_NEXT = {
    WAITING: "Look at the quote again in a moment.",
    REFUSED: "The quote says why; ask for another.",
    EXPIRED: "Ask for another: POST /v1/quotes.",
    SIGNED: "Look at the job.",
    OPENED: "Look at the job.",
}


def jobs_of(session: Session, payer: Address, *, before: int | None, limit: int) -> Sequence[JobRow]:
    """A payer's jobs, newest first; those below number `before` if given. A quote that nobody signed is none."""
    query = select(JobRow).where(JobRow.payer == payer).order_by(JobRow.number.desc()).limit(limit)
    begun = JobRow.state.is_not(None) & (JobRow.state != "quoted")
    signed = JobRow.number.in_(
        select(OrderRow.job).where(OrderRow.payer == payer, OrderRow.state.in_([SIGNED, OPENED]))
    )
    query = query.where(begun | signed)
    return session.scalars(query if before is None else query.where(JobRow.number < before)).all()


def job_of(session: Session, name: str) -> JobRow:
    """A job by its number or its whole 0x id; `NotFound` if there is none."""
    if name.startswith("0x"):
        found = session.scalars(select(JobRow).where(JobRow.job_id == from_hex(name, 32))).first()
    else:
        found = session.get(JobRow, int(name)) if len(name) < 19 else None
    if found is None:
        raise _no_job()
    return found


def own_job(session: Session, payer: Address, name: str) -> JobRow:
    """The same, if it is this payer's; `NotFound` for everybody else's."""
    row = job_of(session, name)
    if row.payer != payer:
        raise _no_job()
    return row


def finished_job(session: Session, name: str) -> JobRow:
    """A job that is over, by its 0x id or the SHA-256 of its adapter (the first that has it): anyone may see it."""
    word = from_hex(name, 32)
    query = select(JobRow).where(JobRow.state == "done", (JobRow.job_id == word) | (JobRow.adapter == word))
    row = session.scalars(query.order_by(JobRow.number).limit(1)).one_or_none()
    if row is None:
        raise NotFound(
            "No finished job here has this id or this adapter.", hint="Give a job id, or the SHA-256 of an adapter."
        )
    return row


def adapters_of(session: Session, jobs: Iterable[bytes]) -> dict[bytes, bytes]:
    """The SHA-256 of the adapter that came of each of these jobs (32-byte ids), as far as one did, here."""
    wanted, found = list(dict.fromkeys(jobs)), dict[bytes, bytes]()
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        query = select(JobRow.job_id, JobRow.adapter).where(JobRow.job_id.in_(some), JobRow.adapter.is_not(None))
        found |= {bytes(job_id): bytes(adapter) for job_id, adapter in session.execute(query) if job_id and adapter}
    return found


def _no_job() -> NotFound:
    return NotFound("There is no such job.", hint="GET /v1/jobs lists yours.")


def ask_to_cancel(session: Session, payer: Address, name: str, *, agreed: bool) -> JobRow:
    """Note the payer's wish for whoever works on the job; `agreed` to pay what is owed by then.

    While it stands the runner opens no quote of the job.
    """
    row = own_job(session, payer, name)
    if row.state == "done":
        raise Conflict("The job is over already.", hint="It cannot be cancelled any more.")
    row.wish = "agreed" if agreed or row.wish == "agreed" else "asked"
    row.answer = None
    session.flush()
    return row


def events_of(session: Session, job: int, *, after: int, limit: int) -> Sequence[JobEventRow]:
    """A job's events behind number `after`, oldest first."""
    query = select(JobEventRow).where(JobEventRow.job == job, JobEventRow.n > after)
    return session.scalars(query.order_by(JobEventRow.n).limit(limit)).all()


# -- the runner's side ------------------------------------------------------------------------------------------------


def pending(session: Session) -> Sequence[OrderRow]:
    """Orders that wait for the runner, oldest first."""
    query = select(OrderRow).where(OrderRow.state.in_([WAITING, SIGNED])).order_by(OrderRow.created, OrderRow.id)
    return session.scalars(query).all()


def forgotten(session: Session, *, before: int) -> Sequence[OrderRow]:
    """Quotes that could be signed until `before` (Unix seconds) at the latest, and were not."""
    query = select(OrderRow).where(OrderRow.state == READY, OrderRow.expires < before)
    return session.scalars(query.order_by(OrderRow.expires).limit(_AT_ONCE)).all()


def forget(session: Session, row: OrderRow) -> None:
    """Remove a quote that nobody signed, and what was written down of its job, which never was."""
    gone = session.scalars(
        delete(OrderRow).where(OrderRow.id == row.id, OrderRow.state == READY).returning(OrderRow.id)
    ).one_or_none()
    if gone is not None and row.job is not None:
        session.execute(delete(JobEventRow).where(JobEventRow.job == row.job))
        session.execute(delete(JobRow).where(JobRow.number == row.job))


def is_signed(session: Session, job: int) -> bool:
    """Whether the payer signed the opening of this job, and the runner has not said yet what became of it."""
    query = select(OrderRow.id).where(OrderRow.job == job, OrderRow.state == SIGNED)
    return session.scalars(query.limit(1)).first() is not None


def answer(session: Session, row: OrderRow, state: str, **values: Any) -> bool:
    """Go on from the state that `row` was read in; whether it still was in it."""
    still = (OrderRow.id == row.id, OrderRow.state == row.state)
    changed = session.scalars(update(OrderRow).where(*still).values(state=state, **values).returning(OrderRow.id))
    return changed.one_or_none() is not None


def copy_events(session: Session, job: int, events: Sequence[dict[str, Any]]) -> None:
    """Copy events of a job's folder; one that is here already stays as it is."""
    for event in events:
        data = {name: value for name, value in event.items() if name not in ("n", "at", "kind")}
        row = JobEventRow(job=job, n=event["n"], at=event.get("at", 0.0), kind=event["kind"], data=data)
        session.execute(inserting(session, row).on_conflict_do_nothing())
    steps = (JobEventRow.job == job, JobEventRow.kind == "step")
    last = session.scalar(
        select(JobEventRow.n).where(*steps).order_by(JobEventRow.n.desc()).offset(KEPT_STEPS).limit(1)
    )
    if last is not None:
        session.execute(delete(JobEventRow).where(*steps, JobEventRow.n <= last))


def last_event(session: Session, job: int) -> int:
    """The number of the newest copied event, 0 if there is none."""
    return session.scalar(select(func.max(JobEventRow.n)).where(JobEventRow.job == job)) or 0
