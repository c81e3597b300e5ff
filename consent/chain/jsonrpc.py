"""JSON-RPC 2.0 as both sides need it: the error object, its codes, and the two ways to reach a chain.

A provider answers `request(method, params)` with the decoded result or raises `RpcError`; what never reached a node
or came back as something else than JSON-RPC is `Unavailable`.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from core.errors import Unavailable

if TYPE_CHECKING:
    from consent.chain.embedded import EmbeddedChain

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, SERVER_ERROR, TOO_MUCH, REVERTED = -32603, -32000, -32005, 3
MAX_ANSWER = 256 << 20
OVERLOADED = (429, 502, 503, 504)  # what a proxy says while its node is away
PAUSE = 3.0  # seconds between two tries, at most


class RpcError(Exception):
    """A JSON-RPC error object: `code`, message and optional `data`."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def document(self) -> dict[str, Any]:
        """The `error` member of a response."""
        return {"code": self.code, "message": self.message, **({} if self.data is None else {"data": self.data})}


class Provider(Protocol):
    """A way to a chain."""

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """The result of one method."""

    def close(self) -> None:
        """Let go of connections and files."""


class EmbeddedProvider:
    """Calls the methods of a chain in this process; `owned` says whether closing this closes the chain."""

    def __init__(self, chain: EmbeddedChain, *, owned: bool) -> None:
        from consent.chain.methods import Methods

        self._chain = chain
        self._owned = owned
        self.request = Methods(chain).request

    def close(self) -> None:
        """Close the chain if it came with this provider."""
        if self._owned:
            self._chain.close()


class _Away(Unavailable):
    """The endpoint could not be reached, or the connection broke; `heard` is whether it may have got the request."""

    heard = True


class HttpProvider:
    """Posts to an endpoint, over connections that stay open; safe to share between threads.

    An answer takes at most twice `timeout` seconds, however slowly it trickles in. An endpoint that is away is asked
    again, ever more slowly, for `patience` seconds; what moves a development chain only where it cannot have heard it.
    """

    def __init__(self, url: str, *, timeout: float, patience: float = 0.0) -> None:
        import httpx

        self._url = url
        self._timeout = timeout
        self._patience = patience
        self._ids = itertools.count(1)
        try:
            self._client = httpx.Client(timeout=timeout, headers={"content-type": "application/json"}, trust_env=False)
            self._client.build_request("POST", url)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
            raise self._unavailable("is not an address that can be called") from None

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """Post one call and return its result."""
        deadline, pause = time.monotonic() + self._patience, 0.1
        while True:
            try:
                return self._post(method, params)
            except _Away as away:
                if time.monotonic() + pause > deadline or (away.heard and method.startswith("evm_")):
                    raise
            time.sleep(pause)
            pause = min(PAUSE, pause * 2)

    def _post(self, method: str, params: Sequence[Any]) -> Any:
        import httpx

        number = next(self._ids)
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)})
        answer, deadline = bytearray(), time.monotonic() + self._timeout
        try:
            with self._client.stream("POST", self._url, content=body) as response:
                for part in response.iter_bytes():
                    answer += part
                    if time.monotonic() > deadline:  # httpx itself bounds the wait for each part only
                        raise self._away(f"did not finish its answer to {method} in {self._timeout:g} s")
                    if len(answer) > MAX_ANSWER:
                        raise self._unavailable(f"answered {method} with more than {MAX_ANSWER} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            away = self._away(f"does not answer ({type(error).__name__})")
            away.heard = not isinstance(error, httpx.ConnectError)
            raise away from None
        try:
            document = json.loads(answer)
        except (ValueError, RecursionError):
            what = f"answered {method} with HTTP {response.status_code} and no JSON"
            if response.status_code == 413:  # a proxy's way to say that the request is too long
                raise self._unavailable(what, code=413) from None
            raise (self._away if response.status_code in OVERLOADED else self._unavailable)(what) from None
        if not isinstance(document, dict):
            raise self._unavailable(f"answered {method} with something that is not JSON-RPC")
        failure = document.get("error")
        if isinstance(failure, dict):
            data = failure.get("data")
            if isinstance(data, dict):  # some nodes wrap it
                data = data.get("data")
            code = failure.get("code")
            text = data if isinstance(data, str) else None
            raise RpcError(code if isinstance(code, int) else SERVER_ERROR, str(failure.get("message", ""))[:500], text)
        if failure is not None or "result" not in document or document.get("id") != number:
            raise self._unavailable(f"answered {method} with something that is not JSON-RPC")
        return document["result"]

    @property
    def name(self) -> str:
        """Host and port, to name it by: the rest of the address may hold an API key."""
        try:
            parts = urlsplit(self._url)
            return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or "the given address"
        except ValueError:
            return "the given address"

    def _unavailable(self, what: str, kind: type[Unavailable] = Unavailable, **detail: int) -> Unavailable:
        return kind(
            f"The chain's RPC endpoint at {self.name} {what}.",
            hint="Check the address and that the node runs, then try again.",
            **detail,
        )

    def _away(self, what: str) -> _Away:
        away = self._unavailable(what, _Away)
        assert isinstance(away, _Away)
        return away

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
