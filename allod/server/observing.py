"""Around every request: a trace id, a line in the log, the metrics, the headers that protect a browser.

Promises: every answer of 400 or more is a problem document, whoever made it, but for what /readyz and the missing page
say of themselves; an error that nobody foresaw is a 500 that tells the client nothing but its trace id.
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from allod.server import problems
from allod.server.context import Place
from allod.server.logs import LOG
from allod.server.metrics import Metrics

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
OWN_WORDS = (problems.MEDIA_TYPE, "application/json", "text/html")  # said by a handler of ours: /readyz, the page
YEAR = "max-age=31536000; includeSubDomains"


class Observing:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, place: Place, metrics: Metrics) -> None:
        self.app = app
        self._place = place
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id = scope["allod.trace_id"] = secrets.token_hex(16)
        answer = _Answer(self._place, scope, receive, send, trace_id)
        start = time.monotonic()
        try:
            await self.app(scope, receive, answer.send)
            if not answer.status:
                raise RuntimeError("nothing was answered")
        except ClientDisconnect:
            return  # whoever asked is gone, or takes nothing any more
        except Exception as error:
            LOG.error("a request failed", exc_info=error, extra={"facts": {"trace_id": trace_id}})
            if answer.status:
                raise _Broken from None  # its answer had begun: closing the connection is all that is left
            await answer.fail(error)
        finally:
            self._tell(scope, answer.status or 499, time.monotonic() - start, trace_id)

    def _tell(self, scope: Scope, status: int, seconds: float, trace_id: str) -> None:
        route = scope.get("allod.route") or getattr(scope.get("route"), "path_format", None) or "(none)"
        method = scope["method"] if scope["method"] in METHODS else "(other)"
        self._metrics.count(method, route, status, seconds)
        facts = {"method": method, "route": route, "status": status, "ms": round(1000 * seconds, 1)}
        level = logging.WARNING if status >= 500 else logging.INFO
        LOG.log(level, "request", extra={"facts": {**facts, "trace_id": trace_id}})


class _Broken(Exception):
    """An answer that broke off. It has no message: what failed was logged."""


class _Answer:
    """The answer on its way out."""

    def __init__(self, place: Place, scope: Scope, receive: Receive, send: Send, trace_id: str) -> None:
        self._place, self._scope, self._receive, self._send = place, scope, receive, send
        self._trace_id = trace_id
        self._is_replaced = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass a message on; what is no problem document but should be is replaced by one."""
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = MutableHeaders(scope=message)
            kind = headers.get("content-type", "")
            if status >= 400 and not kind.startswith(OWN_WORDS):
                self._is_replaced = True
                await self.fail(HTTPException(status))
                return
            self.status = status
            self._protect(headers)
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer with a problem document."""
        path = Request(self._scope).url.path
        response = problems.respond(error, path, self._trace_id)
        self.status = response.status_code
        self._protect(response.headers)
        await response(self._scope, self._receive, self._send)

    def _protect(self, headers: Any) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("content-security-policy", API_POLICY)
        headers.setdefault("cache-control", "no-store")
        headers["x-trace-id"] = self._trace_id
        if self._place.is_secure:
            headers["strict-transport-security"] = YEAR
