"""The server as a process: the home's chain door, the world, the application and uvicorn around it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from allod.door import ChainDoor
from allod.server.app import create_app
from allod.world import World
from consent.keeper.http import listen
from core.settings import Settings


@contextmanager
def serving(settings: Settings, host: str, port: int) -> Iterator[str]:
    """Serve a home from a thread while the block runs; gives the URL."""
    door = ChainDoor(settings)
    bound = listen(host, port)
    try:
        door.look()
        with World(settings) as world:
            found = bound.getsockname()[1]
            url = f"http://{host}:{found}"
            app = create_app(world, origins=(url, f"http://localhost:{found}"))
            server = uvicorn.Server(
                uvicorn.Config(app, log_config=None, server_header=False, timeout_graceful_shutdown=3)
            )
            thread = threading.Thread(target=server.run, args=([bound],), name="server", daemon=True)
            thread.start()
            try:
                yield url
            finally:
                app.state.place.stopping.set()
                server.should_exit = True
                thread.join()
    finally:
        bound.close()
        door.close()
