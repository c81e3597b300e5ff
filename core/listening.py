"""Listening for HTTP/1.1 in a thread: a bound on connections, and a deadline for every stage of one.

Promises: a connection that says nothing, or too slowly, is closed; one client cannot take all of them; leaving
`serving` closes the socket, finishes what is in flight within the grace and waits for it. TLS is a reverse proxy's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from core.errors import Busy, Unavailable
from core.limits import key_of

LOG = logging.getLogger("allod.listening")
_TOO_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connections(Protocol):
    """The bounds of connections. `header`, `exchange` and `idle` are seconds for a request's head, for a whole
    exchange and between two; the others count connections, in all and of one client."""

    @property
    def header(self) -> float: ...
    @property
    def exchange(self) -> float: ...
    @property
    def idle(self) -> float: ...
    @property
    def connections(self) -> int: ...
    @property
    def connections_of_one(self) -> int: ...


def _guarded(limits: Connections, *, behind_proxy: bool) -> type[H11Protocol]:
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
            LOG.critical("The server ended by itself; the process stops.")
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
    app: Any,
    bound: socket.socket,
    limits: Connections,
    *,
    name: str,
    behind_proxy: bool = False,
    grace: float = 30,
    head: int = 16 << 10,
    lifespan: bool = False,
) -> Iterator[str]:
    """Serve an ASGI application on a bound socket from a thread while the block runs; gives the URL.

    `behind_proxy` believes the X-Forwarded-For of a proxy on loopback, which must set it itself. `head` bounds the
    bytes of a request's head; `lifespan` starts and stops what the application runs beside requests. Leaving the block
    lets what is in flight take `grace` seconds.
    """
    config: dict[str, Any] = {
        "http": _guarded(limits, behind_proxy=behind_proxy),
        "loop": "asyncio",
        "ws": "none",
        "lifespan": "on" if lifespan else "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": behind_proxy,
        "forwarded_allow_ips": "127.0.0.1,::1",
        "timeout_keep_alive": int(limits.idle),
        "timeout_graceful_shutdown": int(grace),
        "h11_max_incomplete_event_size": head,
    }
    host, port = bound.getsockname()[:2]
    server = _Server(uvicorn.Config(app, **config))
    thread = threading.Thread(target=server.work, args=(bound,), name=name, daemon=True)
    thread.start()
    while not server.ready.wait(0.1):
        if not thread.is_alive():
            raise Unavailable("The server could not start.", hint="Its log says why.")
    try:
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
