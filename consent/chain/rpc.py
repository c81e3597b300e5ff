"""JSON-RPC 2.0 over HTTP on loopback, for the development chain: other processes of this machine reach it here.

Promises: it listens on 127.0.0.1 only, and a web page cannot use it (the Host must be a loopback name, an Origin too if
there is one, and the body must say that it is JSON); bodies, batches and connections are bounded; leaving `serving`
ends every connection and removes the endpoint note. `answer` is the whole protocol as a function, for other servers.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from consent.chain.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, RpcError
from consent.chain.methods import Methods
from core.encoding import to_hex
from core.errors import Busy
from core.files import write_atomic

if TYPE_CHECKING:
    from consent.chain.embedded import EmbeddedChain

MAX_BODY = 8 << 20
MAX_BATCH = 1_000
MAX_BRACKETS = 10_000  # so that no nesting can exhaust the parser's C stack, whatever recursion limit is set
MAX_CONNECTIONS = 128
IDLE_SECONDS = 60
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_log = logging.getLogger("allod.chain")


def answer(methods: Methods, body: bytes) -> bytes | None:
    """The response to one request body, single or batch; None when it holds notifications only."""
    try:
        if body.count(b"[") + body.count(b"{") > MAX_BRACKETS:
            return _encode(_failure(None, RpcError(INVALID_REQUEST, "too many brackets")))
        document = json.loads(body)
    except (ValueError, RecursionError):
        return _encode(_failure(None, RpcError(PARSE_ERROR, "parse error")))
    if not isinstance(document, list):
        single = _answer_one(methods, document)
        return None if single is None else _encode(single)
    if not 0 < len(document) <= MAX_BATCH:
        return _encode(_failure(None, RpcError(INVALID_REQUEST, f"a batch holds 1 to {MAX_BATCH} requests")))
    answers = [item for request in document if (item := _answer_one(methods, request)) is not None]
    return _encode(answers) if answers else None


def _answer_one(methods: Methods, request: Any) -> dict[str, Any] | None:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
        return _failure(None, RpcError(INVALID_REQUEST, "invalid request"))
    number, params = request.get("id"), request.get("params", [])
    if not isinstance(number, str | int | float | None):
        return _failure(None, RpcError(INVALID_REQUEST, "an id is a string, a number or null"))
    try:
        if not isinstance(params, list):
            raise RpcError(INVALID_PARAMS, "parameters are given by position")
        reply = {"jsonrpc": "2.0", "id": number, "result": methods.request(request["method"], params)}
    except RpcError as error:
        reply = _failure(number, error)
    except Exception:
        _log.exception("The development chain failed at %r", request["method"][:100])
        reply = _failure(number, RpcError(INTERNAL_ERROR, "internal error"))
    return reply if "id" in request else None


def _failure(number: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": error.document()}


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one write
    timeout = IDLE_SECONDS
    server: _Server

    def do_POST(self) -> None:
        """Answer one body."""
        problem = self._problem()
        if problem is not None:
            self.close_connection = True
            self._reply(*problem)
            return
        reply = answer(self.server.methods, self.rfile.read(int(self.headers["content-length"])))
        self._reply(200 if reply is not None else 204, reply or b"")

    def _problem(self) -> tuple[int, bytes] | None:
        origin = self.headers.get("origin")
        try:
            names = [urlsplit(f"//{self.headers.get('host', '')}").hostname]
            names += [urlsplit(origin).hostname] if origin is not None else []
        except ValueError:
            names = [None]
        if not _LOOPBACK.issuperset(names):
            return 403, b"only programs on this machine may ask\n"
        if self.headers.get_content_type() != "application/json":
            return 415, b"the body must be application/json\n"
        length = self.headers.get("content-length", "")
        if not length.isascii() or not length.isdigit():
            return 411, b"the body's length must be given\n"
        if int(length) > MAX_BODY:
            return 413, b"the body is too large\n"
        return None

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json" if status == 200 else "text/plain")
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are no news."""

    def version_string(self) -> str:
        """The Server header."""
        return "allod"


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, methods: Methods, port: int) -> None:
        self.methods = methods
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the connection, unless there are too many."""
        with self._guard:
            full = len(self._open) >= MAX_CONNECTIONS
            if not full:
                self._open.add(request)
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke concerns only its client."""

    def stop(self) -> None:
        """End the loop and every connection, and wait for their threads."""
        self.shutdown()
        with self._guard:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)  # what is being answered is still written
        self.server_close()


@contextmanager
def serving(chain: EmbeddedChain, *, port: int = 0) -> Iterator[str]:
    """Serve `chain` from a thread while the block runs; gives the URL. Port 0 takes a free one.

    A chain kept on disk is announced in `endpoint.json` beside it, {url, pid, genesis}, so that other commands find it.
    A taken port is `Busy`.
    """
    try:
        server = _Server(Methods(chain), port)
    except OSError as error:
        raise Busy(f"Port {port} cannot be used: {error.strerror}.", hint="Choose another port.") from None
    url = f"http://127.0.0.1:{server.server_address[1]}"
    note = chain.folder / "endpoint.json" if chain.folder else None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="chain", daemon=True)
    thread.start()
    try:
        if note:
            about = {"url": url, "pid": os.getpid(), "genesis": to_hex(chain.header(0).hash)}
            write_atomic(note, json.dumps(about).encode())
        yield url
    finally:
        if note:
            note.unlink(missing_ok=True)
        server.stop()
        thread.join()
