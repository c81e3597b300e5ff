"""`allod serve`: the API and the owner's page, until told to stop."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import Annotated

import typer

from allod.cli.shown import Screen, Shown, command

app = typer.Typer()


@command(app, "serve")
def serve(
    screen: Screen,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks a free one.")] = 8600,
) -> Shown:
    """Answer browsers, scripts and other allod commands until SIGTERM or Ctrl-C."""
    from allod.server.serving import serving

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as closing:
        url = closing.enter_context(serving(screen.settings, host, port))
        screen.tell(Shown({"url": url}, [f"Allod answers on {url} (Ctrl-C stops it)."]))
        stop.wait()
    return Shown({"url": url}, ["Stopped."])
