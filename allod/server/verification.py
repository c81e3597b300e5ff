"""`/v1/verifications`: what anyone can check of a finished job, checked here, and how to do it without this server."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from allod import orders
from allod.server.context import Here
from allod.server.forms import Hex32, UnixTime
from allod.server.guard import Anyone
from allod.verifying import Verifier
from core.database import transaction
from core.encoding import to_hex

router = APIRouter(prefix="/v1", tags=["verifications"])
Name = Annotated[
    str, Path(pattern="^(0x)?[0-9a-f]{64}$", description="A job's id, or the SHA-256 of adapter_model.safetensors.")
]
_VERIFIER = Verifier()


class SentenceOut(BaseModel):
    """One sentence: whether it holds, why (not), the raw evidence, and commands that show it without this server."""

    slug: str
    text: str
    holds: bool
    finding: str
    evidence: dict[str, Any]
    how_to_check: str


class VerificationOut(BaseModel):
    """A report over one finished job. `vouched`: the runner's word about the adapter is among what holds.

    Commands in `how_to_check` want an RPC endpoint of yours as $RPC, the unpacked bundle as $BUNDLE, and what you
    accept in trust.json; `trust` is what this server accepts.
    """

    job_id: Hex32
    adapter: Hex32 | None
    verified: bool
    vouched: bool
    sentences: list[SentenceOut]
    block: int = Field(description="The chain's newest block when it was checked.")
    at: UnixTime
    trust: str


@router.get("/verifications/{name}", operation_id="read_verification")
def read_verification(caller: Anyone, name: Name, here: Here) -> VerificationOut:
    """Every sentence about a finished job, checked now against chain, blocks and bundle."""
    with transaction(here.engine) as db:  # of its own: what follows takes seconds
        row = orders.finished_job(db, name if name.startswith("0x") else "0x" + name)
    found = _VERIFIER.verify(here, row.folder)
    return VerificationOut(
        job_id=to_hex(row.job_id or b""),
        adapter=None if row.adapter is None else to_hex(row.adapter),
        verified=found.report.holds,
        vouched=found.report.vouched,
        sentences=[
            SentenceOut(
                slug=one.slug,
                text=one.sentence,
                holds=one.holds,
                finding=one.evidence,
                evidence=one.raw,
                how_to_check=one.how_to_check,
            )
            for one in found.report.findings
        ],
        block=found.block,
        at=found.at,
        trust=found.trust,
    )
