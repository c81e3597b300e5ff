"""`allod chain serve`: hold the embedded chain and answer JSON-RPC on loopback until told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from allod.cli.shown import Screen, Shown, command
from core.errors import InvalidInput

app = typer.Typer(name="chain", no_args_is_help=True)


@app.callback()
def chain() -> None:
    """The embedded development chain."""


@command(app, "serve")
def serve(
    screen: Screen,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on loopback; 0 picks a free one.")] = 0,
) -> Shown:
    """Answer JSON-RPC for this home's chain; other allod commands find it by themselves. Ctrl-C or SIGTERM stops it."""
    from allod.world import World
    from consent.chain.embedded import EmbeddedChain
    from consent.chain.rpc import serving

    if screen.settings.rpc_url is not None:
        raise InvalidInput("ALLOD_RPC_URL names another chain.", hint="Unset it to serve the embedded one.")
    with World(screen.settings) as world:
        chain_id = world.deployment.chain_id  # so that whoever connects finds the contracts
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedChain(screen.settings.home / "chain") as embedded, serving(embedded, port=port) as url:
        screen.note(f"Chain {chain_id} answers on {url} (play money; Ctrl-C stops it).")
        stop.wait()
    return Shown({"url": url, "chain_id": chain_id}, ["Stopped; the chain is on disk."])
