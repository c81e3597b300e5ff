"""A keeper over HTTP, as a port: bytes in, bytes out, with bounds on what it answers and how long it takes.

Promises: no redirect is followed and no proxy of the environment used; whatever does not answer as a keeper does is
`Unavailable`. Whether an answer is true is the caller's to check, against the committee that it accepts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from consent.keeper.wire import MAX_REPLY, MEDIA_TYPE
from core.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    import httpx

TIMEOUT = 30.0  # seconds for one exchange
CONNECT = 5.0  # seconds until a connection stands
_LARGE = {"tree", "settlement"}  # a tree, and the consents of a whole job
_MAX_SMALL = 2 << 20


def check_endpoint(endpoint: str) -> str:
    """`endpoint` as it is, if a keeper can be called there; else `InvalidInput`."""
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput(
            f"{endpoint[:100]} is no address of a keeper.",
            hint="It looks like https://keeper.example or http://127.0.0.1:7001.",
        )
    return endpoint


class HttpPort:
    """The keeper at `endpoint`; safe to share between threads. `timeout` bounds one call, in seconds."""

    def __init__(self, endpoint: str, *, timeout: float = TIMEOUT) -> None:
        import httpx

        self.endpoint = check_endpoint(endpoint)
        self._where = urlsplit(endpoint).netloc
        self._timeout = timeout
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(CONNECT, timeout)),
            limits=httpx.Limits(max_connections=16, keepalive_expiry=10),
            headers={"content-type": MEDIA_TYPE, "accept": MEDIA_TYPE, "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        )

    def call(self, path: str, body: bytes) -> bytes:
        """The keeper's reply; asked to come back in a moment, it does so as long as its time allows."""
        deadline = time.monotonic() + self._timeout
        while True:
            response, reply = self._exchange(path, body, deadline)
            wait = response.headers.get("retry-after", "")
            if response.status_code not in (429, 503) or not wait.isascii() or not wait.isdigit():
                break
            pause = max(1, int(wait[:6]))
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
        if response.headers.get("content-type") != MEDIA_TYPE:
            raise self._unavailable(f"answered with HTTP {response.status_code} and not as a keeper does")
        return reply

    def _exchange(self, path: str, body: bytes, deadline: float) -> tuple[httpx.Response, bytes]:
        import httpx

        url = f"{self.endpoint.rstrip('/')}/{path}"
        method, content = ("GET", None) if path == "service" and not body else ("POST", body)
        limit = MAX_REPLY if path in _LARGE else _MAX_SMALL
        answer = bytearray()
        try:
            with self._client.stream(method, url, content=content) as response:
                for part in response.iter_raw():
                    answer += part
                    if len(answer) > limit:
                        raise self._unavailable(f"answered with more than {limit} bytes")
                    if time.monotonic() > deadline:
                        raise self._unavailable(f"did not finish its answer in {self._timeout:g} seconds")
        except httpx.HTTPError as error:
            raise self._unavailable(f"does not answer ({type(error).__name__})") from None
        return response, bytes(answer)

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"The keeper at {self._where} {what}.", hint="Try again later, or ask its operator.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
