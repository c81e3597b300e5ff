"""`/livez`: the process answers. `/readyz`: every part that it needs does, with a reason for each that does not."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from allod.server.context import InPlace
from allod.server.guard import Anyone
from allod.server.readiness import BESIDE

router = APIRouter(tags=["health"])


class PartOut(BaseModel):
    """One part: whether it works, and a sentence about it."""

    ready: bool
    reason: str


class ReadinessOut(BaseModel):
    """Whether requests may come, and each part of the answer."""

    ready: bool
    parts: dict[str, PartOut]


@router.get("/livez", operation_id="read_liveness", response_class=PlainTextResponse)
async def read_liveness(caller: Anyone) -> str:
    """Says ok while the process answers at all."""
    return "ok\n"


@router.get(
    "/readyz",
    operation_id="read_readiness",
    responses={503: {"description": "Some part does not work.", "model": ReadinessOut}},
)
def read_readiness(caller: Anyone, place: InPlace, response: Response) -> ReadinessOut:
    """Whether every part that requests need works."""
    found = dict(place.readiness.look())
    if place.stopping.is_set():
        found["server"] = "It is stopping."
    parts = {name: PartOut(ready=not flaw, reason=flaw or "It works.") for name, flaw in found.items()}
    ready = all(part.ready for name, part in parts.items() if name not in BESIDE)
    if not ready:
        response.status_code = 503
    return ReadinessOut(ready=ready, parts=parts)
