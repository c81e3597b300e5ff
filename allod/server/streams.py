"""Server-sent events over an append-only list, and the same list as JSON.

`follow` answers a request from a function that reads what came after an id. A client that asks for JSON gets one page
{data, has_more, next_after}; any other gets `text/event-stream`: first what it missed (Last-Event-ID, or ?after=), then
what comes, a comment every 15 s, and an end after ten minutes, at sign-out, or when the server stops, after which
EventSource asks again by itself. Streams are bounded, in all and for each client.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Protocol

from fastapi import Header, Query, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from allod.server.bounds import Bounds
from allod.server.context import Place, place_of
from allod.server.problems import TooOften
from core.errors import AllodError, InvalidInput
from core.limits import key_of

BATCH = 100
MEDIA_TYPE = "text/event-stream"


class Event(Protocol):
    """A document of one event, which both forms carry: its id (they grow), its kind, and what the route adds."""

    id: int
    kind: str

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """As JSON."""


Read = Callable[[int, int], Sequence[Event]]
"""What came after an id, oldest first, so many at most; an `AllodError` ends the stream."""

After = Annotated[int, Query(ge=0, lt=2**53, description="The id of the last event that the client has.")]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=20, description="Likewise, as EventSource says it.")
]

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events as they come, or one page of them as JSON.", "content": {MEDIA_TYPE: {}}}
}
"""For the route's `responses`, beside a `response_model` of the JSON form."""


def follow(request: Request, read: Read, after: int, last_event_id: str | None) -> Response | dict[str, Any]:
    """The stream of what `read` gives, or one page of it where the client accepts JSON only."""
    start = _start(after, last_event_id)
    if MEDIA_TYPE not in request.headers.get("accept", ""):
        found = read(start, BATCH + 1)
        more = len(found) > BATCH
        found = found[:BATCH]
        return {
            "data": [one.model_dump(mode="json") for one in found],
            "has_more": more,
            "next_after": str(found[-1].id) if found else None,
        }
    place = place_of(request)
    client = key_of(request.client.host if request.client else "")
    stream = _Stream(request.app.state.streams, client, place.bounds)
    try:
        first = read(start, BATCH)  # what fails, fails before the answer begins
    except BaseException:
        stream.end()
        raise
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(_events(place, read, start, first, stream), 200, headers, MEDIA_TYPE)


class _Stream:
    """One stream among those that are counted: from before its first look, until it ends or nobody has it any more."""

    _guard = threading.RLock()  # a collection of garbage may end another one in between

    def __init__(self, streams: Counter[bytes], client: bytes, bounds: Bounds) -> None:
        self._streams: Counter[bytes] | None = None
        with self._guard:
            if streams.total() >= bounds.streams or streams[client] >= bounds.streams_of_one:
                hint = "Close some, or ask for JSON with ?after=."
                raise TooOften("Too many streams are open.", hint=hint, retry_after=10)
            streams[client] += 1
        self._streams, self._client = streams, client

    def end(self) -> None:
        """It is open no more."""
        with self._guard:
            streams, self._streams = self._streams, None
            if streams is not None:
                streams[self._client] -= 1
                if not streams[self._client]:
                    del streams[self._client]

    __del__ = end  # an answer that never began ends nowhere else


def _start(after: int, last_event_id: str | None) -> int:
    if last_event_id is None or last_event_id == "":
        return after
    if not last_event_id.isascii() or not last_event_id.isdigit() or int(last_event_id) >= 2**53:
        raise InvalidInput("Last-Event-ID is the id of an event of this stream.", hint="Leave it out to begin anew.")
    return int(last_event_id)


async def _events(place: Place, read: Read, at: int, found: Sequence[Event], stream: _Stream) -> AsyncIterator[bytes]:
    bounds = place.bounds
    try:
        yield format_sse_event(retry=2000, comment="allod")
        end, beat = time.monotonic() + bounds.stream_life, time.monotonic() + bounds.heartbeat
        while True:
            for one in found:
                at = one.id
                text = json.dumps(one.model_dump(mode="json"), separators=(",", ":"))
                yield format_sse_event(id=str(at), event=one.kind, data_str=text)
            now = time.monotonic()
            if now >= end or place.stopping.is_set():
                return
            if now >= beat:
                beat = now + bounds.heartbeat
                yield KEEPALIVE_COMMENT
            if len(found) < BATCH:
                await asyncio.sleep(bounds.stream_look)
            try:
                found = await run_in_threadpool(read, at, BATCH)
            except AllodError:
                return
    finally:
        stream.end()
