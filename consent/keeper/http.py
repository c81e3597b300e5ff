"""A keeper behind HTTP/1.1: the bytes of page 62 at POST /<path>, GET /service, and GET /livez.

Promises: a body is bounded while it is read, a connection in time and number, a client in its rate; what is in flight
when the server is told to stop is finished; an answer says no more than the keeper's own refusal, and the log holds no
body. TLS is the reverse proxy's: this listens in the clear, on loopback unless the operator says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from consent.keeper.limits import Limits
from consent.keeper.node import LIMITS, Answer, Keeper
from consent.keeper.wire import MEDIA_TYPE, write_error
from core import listening
from core.errors import AllodError, InvalidInput, NotFound, Unavailable
from core.limits import Buckets, key_of

LOG = logging.getLogger("allod.keeper")
_CLOSE = {"connection": "close"}  # where the rest of the request is not worth reading


class _Lane:
    """Threads that work on requests of one sort, and how many of these there are."""

    def __init__(self, limits: Limits, name: str) -> None:
        self._limits = limits
        self._working: Counter[bytes] = Counter()
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix=f"keeper-{name}")

    async def run(self, keeper: Keeper, path: str, body: bytes, client: bytes) -> Answer | None:
        """The keeper's answer, or None where there is too much to do already, for all or for this client."""
        most, of_one = self._limits.working, self._limits.working_of_one
        if self._working.total() >= most or self._working[client] >= of_one:
            return None
        self._working[client] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, keeper.answer, path, body)
        finally:
            self._working[client] -= 1
            if not self._working[client]:
                del self._working[client]

    def close(self) -> None:
        """Wait for what is being worked on."""
        self._pool.shutdown()


class _Service:
    """One keeper and the requests that it works on. A revocation never waits behind releases and slow endpoints."""

    def __init__(self, keeper: Keeper, limits: Limits) -> None:
        self._keeper = keeper
        self._limits = limits
        self._rates = {path: Buckets(rate) for path, rate in limits.rates.items()}
        self._revoking, self._others = _Lane(limits, "revoking"), _Lane(limits, "others")
        self._buffered = 0

    @property
    def app(self) -> Starlette:
        """The routes."""
        return Starlette(
            routes=[
                Route("/livez", self._livez, methods=["GET"]),
                Route("/service", self._serve, methods=["GET", "POST"]),
                Route("/{path}", self._serve, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _no_route},
        )

    def close(self) -> None:
        """Wait for what is being worked on."""
        self._revoking.close()
        self._others.close()

    async def _livez(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _serve(self, request: Request) -> Response:
        start = time.monotonic()
        path = request.path_params.get("path", "service")
        client = request.client.host if request.client else ""
        try:
            status, reply, headers = await self._answer(request, path, client)
        except ClientDisconnect:
            status, reply, headers = 400, b"", _CLOSE
        taken = 1000 * (time.monotonic() - start)
        told = (client if client.isprintable() else "?", request.method, path if path in LIMITS else "?")
        LOG.info("%s %s %s %d %d bytes %.0f ms", *told, status, len(reply), taken)
        return Response(reply, status, headers, MEDIA_TYPE)

    async def _answer(self, request: Request, path: str, client: str) -> tuple[int, bytes, dict[str, str]]:
        limit = LIMITS.get(path)
        if limit is None:
            return _refusal(NotFound("A keeper has no such path."), 404)
        try:
            self._rates[path].take(key_of(client))
        except Unavailable as error:
            return _refusal(error, 429)
        length = request.headers.get("content-length", "0")
        too_large = InvalidInput(f"The request is larger than {limit} bytes.")
        if not length.isascii() or not length.isdigit() or len(length) > 10 or int(length) > limit:
            return _refusal(too_large, 413)
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body):
                async for part in request.stream():
                    if len(body) + len(part) > limit:
                        return _refusal(too_large, 413)
                    if self._buffered + len(part) > self._limits.buffered:
                        return _refusal(_busy(), 503)
                    body += part
                    self._buffered += len(part)
            lane = self._revoking if path == "revoke" else self._others
            answer = await lane.run(self._keeper, path, bytes(body), key_of(client))
        except TimeoutError:
            return _refusal(InvalidInput(f"The request did not arrive within {self._limits.body:g} seconds."), 408)
        finally:
            self._buffered -= len(body)
        if answer is None:
            return _refusal(_busy(), 503)
        return answer.status, answer.reply, {"retry-after": str(answer.wait)} if answer.wait else {}


def _refusal(error: AllodError, status: int) -> tuple[int, bytes, dict[str, str]]:
    """Who is to come back keeps the connection: closed under an unread body, it would lose this very answer."""
    wait = error.detail.get("retry_after")
    return status, write_error(error), {"retry-after": str(wait)} if wait else _CLOSE


def _busy() -> Unavailable:
    return Unavailable("This keeper has too much to do.", hint="Ask again in a few seconds.", retry_after=2)


async def _no_route(request: Request, error: Exception) -> Response:
    """Whatever no route takes: another method, another path."""
    assert isinstance(error, HTTPException)
    known = NotFound("A keeper has no such path.") if error.status_code == 404 else InvalidInput("Use POST here.")
    return Response(write_error(known), error.status_code, dict(error.headers or {}) | _CLOSE, MEDIA_TYPE)


@contextmanager
def serving(
    keeper: Keeper, bound: socket.socket, *, limits: Limits | None = None, behind_proxy: bool = False
) -> Iterator[str]:
    """Serve `keeper` on a bound socket from a thread while the block runs; gives the URL.

    `behind_proxy` believes the X-Forwarded-For of a proxy on loopback, which must set it itself. Leaving the block
    closes the socket, finishes what is in flight (30 s at most) and waits for it.
    """
    limits = limits or Limits()
    service = _Service(keeper, limits)
    try:
        with listening.serving(service.app, bound, limits, name="keeper-http", behind_proxy=behind_proxy) as url:
            yield url
    finally:
        service.close()
