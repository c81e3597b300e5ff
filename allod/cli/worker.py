"""`allod worker`: run the queued jobs of this home until told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from allod.cli.shown import Screen, Shown, command, plain

app = typer.Typer()
_STOPS = (signal.SIGINT, signal.SIGTERM)


@command(app, "worker")
def worker(
    screen: Screen,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job waits any more.")] = False,
) -> Shown:
    """Run queued jobs (`job start`), one at a time, and go on with those of a worker that died. Ctrl-C or SIGTERM stops
    it; what it was at goes on at the next start. Start as many as the machine can train at once. It also quotes and
    opens what trainers order from a server of this home."""
    from allod.beside import Beside
    from allod.worker import Worker

    stop = threading.Event()
    former = [signal.signal(number, lambda *_: stop.set()) for number in _STOPS]
    try:
        with Worker(screen.settings, stop=stop) as one, Beside(screen.settings) as beside:
            screen.say(f"Worker {one.slot} takes the jobs of {plain(screen.settings.home)} (Ctrl-C stops it).")
            if until_idle:
                beside.await_look()  # an order that waits is a job that does
            ended = one.run(until_idle=until_idle)
    finally:
        for number, handler in zip(_STOPS, former, strict=True):
            signal.signal(number, handler)
    return Shown({"slot": one.slot, "jobs": ended}, [f"Worker {one.slot} stops; {ended} jobs came to an end here."])
