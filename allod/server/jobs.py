"""`/v1/jobs`: a trainer's jobs, their events, and, once one is over, its public bundle."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from allod import orders
from allod.jobs import published_bundle
from allod.server import activity, signin, streams
from allod.server.context import Db, Here, InPlace
from allod.server.forms import AddressHex, Form, Hex32, Units, UnixTime, seconds
from allod.server.guard import Anyone, Session, SignedIn
from allod.server.idempotency import Once
from allod.server.paging import Page, Paging
from core.database import transaction
from core.encoding import from_hex, to_hex
from finetune.archive import Archive
from finetune.records import JobRow

router = APIRouter(prefix="/v1", tags=["jobs"])
JobName = Annotated[str, Path(pattern="^([1-9][0-9]{0,17}|0x[0-9a-f]{64})$", description="A job's number or 0x id.")]
JobId = Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="A job's 0x id.")]
_LONG = ("payees", "refusals", "losses", "transactions")


class JobIn(Form):
    """The quote, and its opening as the payer signed it: the raw transaction."""

    quote: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    transaction: Annotated[str, Field(pattern="^0x([0-9a-f]{2})+$", max_length=100_000)]


class CancellationIn(Form):
    """A wish to stop. `agreed`: pay what is owed by then; without it a job that was released data goes on."""

    agreed: bool = False


class ProgressOut(BaseModel):
    """The last completed step of training that was told."""

    step: int | None
    steps: int | None
    loss: float | None
    tokens: int | None
    owners: int | None


class LeafOut(BaseModel):
    """One payee: what is locked for it, and, once the job is over, what it may claim. The fee has no consent."""

    consent: Hex32 | None
    payee: AddressHex
    locked: Units
    to_be_claimed: Units | None


class RefusalOut(BaseModel):
    """A consent that takes no part, where that was found (quote, release, training), and why."""

    consent: Hex32
    owner: AddressHex
    where: str
    reasons: list[str]


class LedgerOut(BaseModel):
    """What the job's ledger counts."""

    root: Hex32
    entries: int
    attempts: int
    record_epochs: int
    tokens: int


class JobOut(BaseModel):
    """A job of the account that is signed in. `money` says in a sentence what happens if nothing more is done."""

    id: str = Field(description="Its number here.")
    job_id: Hex32 | None = Field(description="Its id on chain, once it is open.")
    state: str = Field(description="quoted, opening, open, releasing, training, confirming, settling or done.")
    created: UnixTime
    adapter: Hex32 | None = Field(description="SHA-256 of adapter_model.safetensors, once it is published.")
    cancellation: str | None = Field(
        description="asked or agreed while it waits; then cancelled, declined or not-open."
    )
    outcome: str | None = None
    published: bool = False
    money: str | None = None
    locked: Units | None = None
    to_be_claimed: Units | None = None
    refunded: Units | None = None
    owed_if_cancelled: Units | None = None
    progress: ProgressOut | None = None
    payees: list[LeafOut] = []
    refusals: list[RefusalOut] = []
    ledger: LedgerOut | None = None
    losses: dict[str, Any] = {}
    transactions: list[dict[str, Any]] = []

    @classmethod
    def of(cls, row: JobRow, *, whole: bool = True) -> JobOut:
        """The document of a job; in a list without its long parts."""
        summary = row.summary or {}
        if not whole:
            summary = {name: value for name, value in summary.items() if name not in _LONG}
        return cls(
            id=str(row.number),
            job_id=None if row.job_id is None else to_hex(row.job_id),
            state=row.state or "quoted",
            created=seconds(row.created),
            adapter=None if row.adapter is None else to_hex(row.adapter),
            cancellation=row.wish or (row.answer if row.answer != "sent" else None),
            **summary,
        )


class JobEventOut(BaseModel):
    """One event of a job, numbered from 1; `data` depends on its kind."""

    id: int
    at: float
    kind: str
    data: dict[str, Any]


@router.post("/jobs", status_code=202, operation_id="create_job")
def create_job(account: SignedIn, given: JobIn, once: Once) -> JobOut:
    """Start the job of a quote with the signed opening: the runner locks the money and queues it."""
    row = orders.hand_over(once.session, account, given.quote, from_hex(given.transaction))
    job = once.session.get_one(JobRow, row.job)
    activity.record(once.session, account, "job.signed", {"job": str(job.number), "quote": row.id})
    return once.keep(JobOut.of(job))


@router.get("/jobs", operation_id="list_jobs")
def list_jobs(account: SignedIn, db: Db, paging: Paging) -> Page[JobOut]:
    """The account's jobs, newest first, without their payees, refusals, losses and transactions."""
    rows = orders.jobs_of(db, account, before=paging.after_id, limit=paging.limit + 1)
    return paging.page([JobOut.of(row, whole=False) for row in rows], lambda job: job.id)


@router.get("/jobs/{job}", operation_id="read_job")
def read_job(account: SignedIn, job: JobName, db: Db) -> JobOut:
    """One job of the account's own."""
    return JobOut.of(orders.own_job(db, account, job))


@router.post("/jobs/{job}/cancellation", status_code=202, operation_id="cancel_job")
def cancel_job(account: SignedIn, job: JobName, given: CancellationIn, once: Once) -> JobOut:
    """Wish that the job ends. Before the first release all comes back; later only what is not owed, if `agreed`."""
    row = orders.ask_to_cancel(once.session, account, job, agreed=given.agreed)
    activity.record(once.session, account, "job.cancellation", {"job": str(row.number), "agreed": given.agreed})
    return once.keep(JobOut.of(row))


@router.get(
    "/jobs/{job}/events",
    operation_id="stream_job_events",
    response_model=Page[JobEventOut],
    responses=streams.RESPONSES,
)
def stream_job_events(
    session: Session,
    place: InPlace,
    request: Request,
    job: JobName,
    after: streams.After = 0,
    last_event_id: streams.LastEventId = None,
) -> Any:
    """What happens to a job, as it happens: server-sent events, or JSON. The last one has the kind `published`."""
    engine = place.world.engine

    def read(after: int, at_most: int) -> list[JobEventOut]:
        with transaction(engine) as db:
            signin.look_up(db, session.token)
            number = orders.own_job(db, session.account, job).number
            events = orders.events_of(db, number, after=after, limit=at_most)
        return [JobEventOut(id=one.n, at=one.at, kind=one.kind, data=one.data) for one in events]

    return streams.follow(request, read, after, last_event_id)


@router.get(
    "/jobs/{job}/bundle",
    operation_id="read_bundle",
    response_class=StreamingResponse,
    responses={200: {"description": "The bundle.", "content": {"application/x-tar": {}}}},
)
def read_bundle(caller: Anyone, job: JobId, here: Here, db: Db) -> StreamingResponse:
    """The public bundle of a finished job as a tar: adapter, statement and evidence (docs/format/72-provenance.md)."""
    row = orders.finished_job(db, job)
    name = "allod-" + job[2:18]
    archive = Archive(published_bundle(here.home, row.folder), name)
    headers = {
        "content-length": str(archive.size),
        "content-disposition": f'attachment; filename="{name}.tar"',
    }
    return StreamingResponse(archive.chunks(), 200, headers, "application/x-tar")
