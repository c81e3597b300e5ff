"""`/livez`: the process answers. `/readyz`: every part that it needs does, with a reason for each that does not."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from allod.server.guard import Anyone

router = APIRouter(tags=["health"])


@router.get("/livez", operation_id="read_liveness", response_class=PlainTextResponse)
def read_liveness(caller: Anyone) -> str:
    """ok."""
    return "ok\n"
