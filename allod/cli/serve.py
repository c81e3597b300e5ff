"""`allod serve`: the API and the owner's page, until told to stop."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from typing import Annotated

import typer

from allod.cli.shown import Screen, Shown, command

app = typer.Typer()
STOPPED_BY = 5.0  # seconds after which a process that was told to stop is gone


@command(app, "serve")
def serve(
    screen: Screen,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks a free one.")] = 8600,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of /metrics, on loopback; 0 picks a free one.")
    ] = 0,
) -> Shown:
    """Answer browsers, scripts and other allod commands until SIGTERM or Ctrl-C."""
    from allod.server.logs import logging_to
    from allod.server.serving import serving

    stop = threading.Event()
    with ExitStack() as closing:
        for number in (signal.SIGINT, signal.SIGTERM):
            closing.callback(signal.signal, number, signal.signal(number, lambda *_: stop.set()))
        closing.enter_context(logging_to())
        place = closing.enter_context(serving(screen.settings, host, port, metrics_port=metrics_port))
        url = screen.settings.server_url or place.url
        data = {"url": url, "listening": place.url, "metrics": place.metrics}
        screen.tell(Shown(data, [f"Allod answers on {url}, /metrics on {place.metrics} (Ctrl-C stops it)."]))
        stop.wait()
        end = _leave_by(STOPPED_BY)
    end.cancel()
    screen.note("Stopped.")
    return Shown(data)


def _leave_by(seconds: float) -> threading.Timer:
    """A thread that waits for the chain cannot be stopped: whoever is still at work then is cut off as by a crash."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
    return timer
