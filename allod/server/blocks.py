"""`/v1/blocks`: sealed and public bytes by content. Who asks what is missing and sends that resumes by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from allod.depot import PART, QUESTION, Depot
from allod.server.context import Here, InPlace
from allod.server.forms import Cid as CidText
from allod.server.forms import Form
from allod.server.guard import Anyone, SignedIn
from allod.server.problems import TooLarge, TooOften, TooSlow, WrongMediaType
from core.errors import Corrupted
from core.ids import Address
from core.limits import key_of
from vault.cid import CODECS, Cid

MEDIA_TYPE = "application/vnd.ipld.car"
IMMUTABLE = "public, max-age=31536000, immutable"
_MEMORY = 160 << 20  # bytes of parts that arrived and are not stored yet, of all clients together
_UNBOUNDED = 1 << 62  # by the framework: `Intake` bounds what it reads
_OF_ONE = 4  # parts of one account at once
_SHARE = _MEMORY // 2  # of one client's address, however many accounts it has
_PIECE = 15.0  # seconds for the next piece of a part: who is silent for longer holds memory that others need
_WRITERS = 4  # threads that wait for the store's turn
_BLOCK_TYPES = {codec: f"application/vnd.ipld.{name}" for codec, name in CODECS.items()}


class Intake:
    """The parts that are arriving: how many of each account, and how much memory they take."""

    def __init__(self) -> None:
        self._of: Counter[Address] = Counter()
        self._bytes: Counter[bytes] = Counter()  # by client
        self.writers = anyio.CapacityLimiter(_WRITERS)

    async def receive(self, request: Request, account: Address) -> AsyncIterator[bytes]:
        """The request's part, while it takes its place in memory."""
        size, chunks = 0, list[bytes]()
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > PART:
            raise _too_large()
        if self._of[account] >= _OF_ONE:
            raise _too_many()
        client = key_of(request.client.host if request.client else "")
        self._of[account] += 1
        pieces = aiter(request.stream())
        try:
            while (chunk := await _next_of(pieces)) is not None:
                if size + len(chunk) > PART:
                    raise _too_large()
                if self._bytes.total() + len(chunk) > _MEMORY or self._bytes[client] + len(chunk) > _SHARE:
                    raise _too_many()
                size += len(chunk)
                self._bytes[client] += len(chunk)
                chunks.append(chunk)
            part = b"".join(chunks)
            chunks.clear()
            yield part
        except ClientDisconnect:
            raise Corrupted("The part is cut short: its sender went away.", hint="Send it again.") from None
        finally:
            self._bytes[client] -= size
            self._bytes += Counter()  # forgets those at zero
            self._of[account] -= 1
            self._of += Counter()


async def _next_of(pieces: AsyncIterator[bytes]) -> bytes | None:
    """The next piece, None after the last one, `TooSlow` if it does not come."""
    try:
        async with asyncio.timeout(_PIECE):
            return await anext(pieces, None)
    except TimeoutError:
        raise TooSlow("The part stopped arriving.", hint="Send it again over a better line.") from None


def _too_large() -> TooLarge:
    return TooLarge(f"A part has at most {PART} bytes.", hint="Divide it.", limit=PART)


def _too_many() -> TooOften:
    return TooOften("Too many parts arrive at once.", hint="Send it again in a moment.", retry_after=2)


def _intake(request: Request) -> Intake:
    """The one of this server."""
    state = request.app.state
    if not hasattr(state, "intake"):
        state.intake = Intake()
    found: Intake = state.intake
    return found


router = APIRouter(prefix="/v1", tags=["blocks"])


class QuestionIn(Form):
    """Blocks of which somebody wants to know whether they are here."""

    cids: Annotated[list[CidText], Field(max_length=QUESTION)]


class MissingOut(BaseModel):
    """Those of the blocks asked for that are not here, in order."""

    missing: list[str]


class TakenOut(BaseModel):
    """What came of a part: all of it is durable now. `bytes` counts the new blocks."""

    stored: int = Field(description="Blocks that are new here.")
    known: int = Field(description="Blocks that were here before.")
    bytes: int


async def _part(request: Request, account: SignedIn) -> AsyncIterator[bytes]:
    """The body, once it is known whose it is."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise WrongMediaType("A part is a CARv1 archive.", hint=f"Send it as {MEDIA_TYPE}.")
    async for part in _intake(request).receive(request, account):
        yield part


Part = Annotated[bytes, Depends(_part, scope="function")]
_CAR_BODY = {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
_BLOCK_OUT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The block.",
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _BLOCK_TYPES.values()},
    },
    304: {"description": "You have it."},
}


@router.post("/blocks/missing", operation_id="find_missing_blocks")
def find_missing_blocks(account: SignedIn, here: Here, given: QuestionIn) -> MissingOut:
    """Which of these blocks are not here: send those, and nothing else.

    What you sent yourself and did not commit yet is kept for another day by asking.
    """
    return MissingOut(missing=[str(cid) for cid in here.depot.missing(account, map(Cid.parse, given.cids))])


@router.post(
    "/blocks",
    operation_id="store_blocks",
    max_body_size=_UNBOUNDED,
    openapi_extra={"requestBody": _CAR_BODY},
)
async def store_blocks(account: SignedIn, here: Here, request: Request, part: Part) -> TakenOut:
    """Store the blocks of a CARv1 of at most 16 MiB. One bad block refuses the part, and the problem names it.

    Blocks wait a day for the commit that needs them.
    """
    # A thread for each part would leave none to others while the store is busy.
    taken = await anyio.to_thread.run_sync(here.depot.take, account, part, limiter=_intake(request).writers)
    return TakenOut(stored=taken.stored, known=taken.known, bytes=taken.bytes)


@router.get("/blocks/{cid}", operation_id="read_block", response_class=Response, responses=_BLOCK_OUT)
def read_block(caller: Anyone, place: InPlace, request: Request, cid: CidText) -> Response:
    """A block: ciphertext, or a document that is public or sealed. Check its hash; it never changes."""
    return _answer(place.world.depot, request, Cid.parse(cid))


@router.head("/blocks/{cid}", operation_id="probe_block", response_class=Response, responses=_BLOCK_OUT)
def probe_block(caller: Anyone, place: InPlace, request: Request, cid: CidText) -> Response:
    """Whether a block is here, and how long it is."""
    answer = _answer(place.world.depot, request, Cid.parse(cid))
    return Response(b"", answer.status_code, dict(answer.headers))


def _answer(depot: Depot, request: Request, cid: Cid) -> Response:
    data, tag = depot.get(cid), f'"{cid}"'
    headers = {"etag": tag, "cache-control": IMMUTABLE, "x-content-type-options": "nosniff"}
    asked = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if not asked.isdisjoint({tag, "*"}):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=_BLOCK_TYPES[cid.codec], headers=headers)
