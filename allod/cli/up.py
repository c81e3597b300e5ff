"""`allod up`: everything of this home at once, with the owner's page, until told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Any

import typer

from allod.cli.shown import Screen, Shown, command, plain

app = typer.Typer()
PORT = 8600
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: its terminal was closed


@command(app, "up")
def up(
    screen: Screen,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The page's port on loopback.")] = PORT,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make a demo owner and a demo trainer who starts a job.")
    ] = False,
) -> Shown:
    """Start the chain, the keepers, the runner and the server with the owner's page; keep them up until Ctrl-C,
    SIGTERM or SIGHUP. What dies is started again."""
    from allod.up import make_people, standing
    from allod.world import NOTICE_APART

    stop = threading.Event()
    # Under nohup a closed terminal is nothing.
    stops = [number for number in _STOPS if (number, signal.getsignal(number)) != (signal.SIGHUP, signal.SIG_IGN)]
    former = [signal.signal(number, lambda *_: stop.set()) for number in stops]
    try:
        with standing(screen.settings, port, stop=stop, say=screen.note) as (tree, url):
            parts = [{"part": name, "pid": pid} for name, pid in tree.pids.items()]
            data: dict[str, Any] = {"url": url, "home": str(screen.settings.home), "parts": parts}
            lines = [f"  {one['part']}, process {one['pid']}" for one in parts]
            lines += [f"[dim]{NOTICE_APART}[/dim]", f"[bold]Open {plain(url)}[/bold]   (Ctrl-C stops everything)"]
            if demo and not stop.is_set():
                with screen.progress("Making the demo's people"):
                    data["people"] = make_people(screen.settings, tree, url)
                lines = [*lines[:-1], *map(plain, data["people"]), lines[-1]]
            if not stop.is_set():
                screen.tell(Shown(data, lines))
            tree.run()
    finally:
        for number, handler in zip(stops, former, strict=True):
            signal.signal(number, handler)
    screen.note("Stopped; everything is on disk.")
    return Shown(data)
