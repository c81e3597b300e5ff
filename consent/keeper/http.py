"""A keeper behind HTTP/1.1: the bytes of page 62 at POST /<path>, GET /service, and GET /livez.

Promises: a body is bounded while it is read, a connection in time and number, a client in its rate; what is in flight
when the server is told to stop is finished; an answer says no more than the keeper's own refusal, and the log holds no
body. TLS is the reverse proxy's: this listens in the clear, on loopback unless the operator says otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from consent.keeper.limits import Limits
from consent.keeper.node import LIMITS, Answer, Keeper
from consent.keeper.wire import MEDIA_TYPE, write_error
from core.errors import AllodError, Busy, InvalidInput, NotFound, Unavailable
from core.limits import Buckets, key_of

LOG = logging.getLogger("allod.keeper")
_TOO_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
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


def _guarded(limits: Limits, *, behind_proxy: bool) -> type[H11Protocol]:
    """uvicorn's protocol with a bound on connections, and with a deadline for every stage of a connection."""
    of_one: Counter[bytes] = Counter()

    class Guarded(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _from: bytes | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            key = key_of(self.client[0] if self.client else "")
            full = len(self.connections) > limits.connections
            if full or (not behind_proxy and of_one[key] >= limits.connections_of_one):
                transport.write(_TOO_BUSY)
                transport.close()
                return
            of_one[key] += 1
            self._from = key
            self._within(limits.header)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._deadline is not None:
                self._deadline.cancel()
            if self._from is not None:
                of_one[self._from] -= 1
                if not of_one[self._from]:
                    del of_one[self._from]
                self._from = None

        def data_received(self, data: bytes) -> None:
            if self._from is None:
                return  # turned away
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._within(limits.exchange)

        def on_response_complete(self) -> None:
            before = self.cycle
            super().on_response_complete()
            if self.cycle is before:
                self._within(limits.idle + limits.header)

        def _within(self, seconds: float) -> None:
            """The next stage must be reached in this time."""
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    return Guarded


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def work(self, bound: socket.socket) -> None:
        """Serve until told to stop. A server that ends by itself takes its process along: nobody would notice else."""
        self.run([bound])
        if not self.should_exit:
            LOG.critical("The keeper's server ended by itself; the process stops.")
            os.kill(os.getpid(), signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. A taken port or a foreign address is `Busy`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(256)
    except OSError as error:
        bound.close()
        raise Busy(f"{host}:{port} cannot be used: {error.strerror}.", hint="Choose another address.") from None
    return bound


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
    config: dict[str, Any] = {
        "http": _guarded(limits, behind_proxy=behind_proxy),
        "loop": "asyncio",
        "ws": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": behind_proxy,
        "forwarded_allow_ips": "127.0.0.1,::1",
        "timeout_keep_alive": int(limits.idle),
        "timeout_graceful_shutdown": 30,
        "h11_max_incomplete_event_size": 16 << 10,
    }
    host, port = bound.getsockname()[:2]
    server = _Server(uvicorn.Config(service.app, **config))
    thread = threading.Thread(target=server.work, args=(bound,), name="keeper-http", daemon=True)
    thread.start()
    while not server.ready.wait(0.1):
        if not thread.is_alive():
            raise Unavailable("The keeper's server could not start.", hint="Its log says why.")
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
        service.close()
