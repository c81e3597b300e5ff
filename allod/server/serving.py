"""The server as a process: the home's chain door, the world, the application, and HTTP around it.

Promises: it listens in the clear on loopback, or behind a proxy with TLS whose address the settings name; told to stop,
it ends its streams, finishes what is in flight and is gone within five seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from allod.depot import collecting
from allod.door import ChainDoor
from allod.relaying import relaying
from allod.server import metrics
from allod.server.app import create_app
from allod.server.bounds import Bounds
from allod.world import World
from core import listening
from core.errors import InvalidInput
from core.files import Lock
from core.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE = 3.0  # seconds for what is in flight
PATIENCE = 10.0  # seconds for which a request waits for a chain or a node that is away; clients ask again
LOOK = 0.5  # seconds between two looks whether the home's chain is free
HEAD = 64 << 10  # bytes of a head that are read at all; the gate refuses less with a proper answer


class Serving(NamedTuple):
    """Where a running server answers: browsers at `url`, its operator at `metrics`."""

    url: str
    metrics: str


def origins_of(settings: Settings, host: str, port: int) -> tuple[str, ...]:
    """Under which origins browsers reach it. `InvalidInput` where that would be in the clear beyond this machine."""
    if settings.server_url is not None:
        parts = urlsplit(settings.server_url)
        clear = parts.scheme == "http" and parts.hostname in LOOPBACK
        if not parts.netloc or parts.username or not (clear or parts.scheme == "https"):
            raise InvalidInput(
                "ALLOD_SERVER_URL is no address under which a page may be served.",
                hint="It looks like https://allod.example; plain http is for this machine alone.",
            )
        return (f"{parts.scheme}://{parts.netloc}",)
    if host not in LOOPBACK:
        raise InvalidInput(
            f"{host} can be reached from other machines, and this server speaks in the clear.",
            hint="Put a reverse proxy with TLS in front, and say its address in ALLOD_SERVER_URL.",
        )
    return tuple(f"http://{name}" for name in _hosts(host, port))


def _hosts(host: str, port: int) -> list[str]:
    names = [host, "localhost", "127.0.0.1"] if host in LOOPBACK else ["127.0.0.1", "localhost"]
    return [f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in dict.fromkeys(names)]


@contextmanager
def serving(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8600,
    *,
    metrics_port: int = 0,
    bounds: Bounds | None = None,
) -> Iterator[Serving]:
    """Serve a home from threads while the block runs. Port 0 takes a free one; a taken one is `Busy`."""
    origins_of(settings, host, port)
    bounds = bounds or Bounds()
    with ExitStack() as stack:
        stack.enter_context(Lock(settings.home / "server.lock", what="This home's server"))
        bound = listening.listen(host, port)
        stack.callback(bound.close)
        found = bound.getsockname()[1]
        _keep_chain(stack, settings)
        patience = min(settings.patience, PATIENCE)
        world = stack.enter_context(World(settings.model_copy(update={"patience": patience})))
        world.deployment  # noqa: B018 - made at its first use, before anybody waits for it
        world.vaults  # noqa: B018 - likewise, before there are threads
        stack.enter_context(collecting(world.depot))
        stack.enter_context(relaying(world))
        app = create_app(
            world, origins=origins_of(settings, host, found), own_hosts=frozenset(_hosts(host, found)), bounds=bounds
        )
        stack.callback(app.state.place.close)
        numbers = stack.enter_context(metrics.serving(app.state.metrics, metrics_port))
        url = stack.enter_context(
            listening.serving(
                app,
                bound,
                bounds,
                name="server",
                behind_proxy=settings.server_url is not None,
                grace=GRACE,
                head=HEAD,
                lifespan=True,
            )
        )
        stack.callback(app.state.place.stopping.set)
        yield Serving(url, numbers)


def _keep_chain(stack: ExitStack, settings: Settings) -> None:
    """Serve the home's own chain on loopback whenever no other process does."""
    if settings.rpc_url is not None:
        return
    door, stop = ChainDoor(settings), threading.Event()
    stack.callback(door.close)
    door.look()

    def watch() -> None:
        while not stop.wait(LOOK):
            door.look()

    thread = threading.Thread(target=watch, name="chain-door", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(stop.set)
