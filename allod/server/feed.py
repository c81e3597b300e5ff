"""`/v1/activity`: what happened to the account that is signed in, as a list and as a stream."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from allod.server import activity, signin, streams
from allod.server.activity import Happening
from allod.server.context import Db, InPlace
from allod.server.forms import UnixTime, seconds
from allod.server.guard import Session, SignedIn
from allod.server.paging import Page, Paging
from core.database import transaction

router = APIRouter(prefix="/v1", tags=["activity"])


class ActivityOut(BaseModel):
    """One entry of the log: `kind` says what happened, `data` to what."""

    id: int = Field(ge=1)
    at: UnixTime
    kind: str = Field(max_length=64)
    data: dict[str, Any]

    @classmethod
    def of(cls, entry: Happening) -> ActivityOut:
        """The document of an entry."""
        return cls(id=entry.id, at=seconds(entry.at), kind=entry.kind, data=entry.data)


@router.get("/activity", operation_id="list_activity")
def list_activity(account: SignedIn, db: Db, paging: Paging) -> Page[ActivityOut]:
    """The log, newest first."""
    found = activity.newest(db, account, before=paging.after_id, at_most=paging.limit + 1)
    return paging.page([ActivityOut.of(entry) for entry in found], lambda entry: entry.id)


@router.get(
    "/activity/stream",
    operation_id="stream_activity",
    response_model=Page[ActivityOut],
    responses=streams.RESPONSES,
)
def stream_activity(
    session: Session,
    place: InPlace,
    request: Request,
    after: streams.After = 0,
    last_event_id: streams.LastEventId = None,
) -> Any:
    """The log from an id on, as it grows: server-sent events, or JSON."""
    engine = place.world.engine

    def read(after: int, at_most: int) -> list[ActivityOut]:
        with transaction(engine) as db:
            signin.look_up(db, session.token)
            entries = activity.since(db, session.account, after=after, at_most=at_most)
        return [ActivityOut.of(one) for one in entries]

    return streams.follow(request, read, after, last_event_id)
