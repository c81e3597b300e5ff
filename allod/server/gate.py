"""Before a request is worked on: is it for us, not too large in its head, not too often, not too slow.

Promises: a Host that is not ours is refused (so a name that resolves to this machine is no way around the origin
checks); a client that goes beyond its rate is told when to come back; a body arrives, an answer begins and is taken
within their times, or the request ends.
"""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from allod.server import problems
from allod.server.bounds import BLOCKS_BODY, MAX_HEAD
from allod.server.context import Place
from core.errors import InvalidInput, Unavailable
from core.limits import Buckets, key_of

SIGN_IN = ("/v1/nonces", "/v1/sessions")


class WrongHost(InvalidInput):
    """The request was sent to another name than this server's."""

    status, slug = 421, "wrong-host"


class HeadTooLarge(InvalidInput):
    """The request's headers are larger than is read here."""

    status, slug = 431, "head-too-large"


class Gate:
    """The middleware inside `Observing`."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self.app = app
        self._place = place
        self._clients = Buckets(place.bounds.client)
        self._signing_in = Buckets(place.bounds.sign_in)
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except (InvalidInput, Unavailable) as error:
            response = problems.respond(error, Request(scope).url.path, scope["allod.trace_id"])
            await response(scope, receive, send)
            return
        exchange = _Exchange(self._place, scope, receive, send)
        task = asyncio.ensure_future(self.app(scope, exchange.receive, exchange.send))
        begun = asyncio.ensure_future(exchange.begun.wait())
        try:
            await asyncio.wait({task, begun}, timeout=exchange.allowed, return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not begun.done():
                exchange.is_late = True
                self._late.add(task)  # a thread cannot be stopped: its work goes on, and nobody hears of it
                task.add_done_callback(self._forget)
                late = Unavailable("The answer took too long.", hint="Try again in a few seconds.", retry_after=5)
                response = problems.respond(late, Request(scope).url.path, scope["allod.trace_id"])
                await response(scope, receive, send)
                return
            await task
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            begun.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # it was told as an answer that took too long

    def _check(self, scope: Scope) -> None:
        request = Request(scope)
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD:
            raise HeadTooLarge(f"The headers are larger than {MAX_HEAD} bytes.", hint="Send fewer cookies.")
        if request.headers.get("host", "") not in self._place.hosts:
            first = self._place.origins[0]
            raise WrongHost("The request was sent to another name than this server's.", hint=f"Use {first}.")
        client = key_of(request.client.host if request.client else "")
        try:
            self._clients.take(client)
            if request.method == "POST" and scope["path"] in SIGN_IN:
                self._signing_in.take(client)
        except Unavailable as error:
            raise problems.TooOften(error.message, hint=error.hint, **error.detail) from None


class _Exchange:
    """One request's messages, each within its time."""

    def __init__(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        bounds = place.bounds
        headers = Request(scope).headers
        length = headers.get("content-length", "0")
        is_told = length.isascii() and length.isdigit() and len(length) < 12 and "transfer-encoding" not in headers
        size = int(length) if is_told else BLOCKS_BODY
        self._body = bounds.body + min(size, BLOCKS_BODY) / bounds.slowest
        self._until = time.monotonic() + self._body
        self._write = bounds.write
        self._receive, self._send = receive, send
        self._is_whole = False
        self.allowed = self._body + bounds.answer
        self.begun = asyncio.Event()
        self.is_late = False

    async def receive(self) -> Message:
        """The next piece of the body, in its time; afterwards whatever the client does, when it does it."""
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, headers={"connection": "close"}) from None
        self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Pass a piece of the answer on, unless it comes too late; a client that takes none is left alone."""
        if self.is_late:
            return
        self.begun.set()
        async with asyncio.timeout(self._write):
            await self._send(message)
