"""What an operator watches: requests by route and status, how long they took, open streams. No label names anybody.

`/metrics` is answered by a server of its own on loopback, never by the one that browsers reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from core.errors import Busy

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The numbers of one server."""

    def __init__(self, open_streams: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("allod_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "allod_request_seconds",
            "Time until an answer was whole.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        Gauge("allod_streams", "Open event streams.", registry=self.registry).set_function(open_streams)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


@contextmanager
def serving(metrics: Metrics, port: int) -> Iterator[str]:
    """Answer /metrics on loopback while the block runs; gives the URL. Port 0 takes a free one."""
    try:
        server, thread = start_http_server(port, "127.0.0.1", metrics.registry)
    except OSError as error:
        raise Busy(f"Port {port} cannot be used for metrics: {error.strerror}.", hint="Choose another.") from None
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
