"""The home's own chain, served on loopback by whichever long-lived process of the home finds it free.

Who takes it over from a process that ended answers where that one did, if it can: whoever spoke to it goes on.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from allod.world import World
from core.errors import Busy
from core.settings import Settings

if TYPE_CHECKING:
    from consent.chain.embedded import EmbeddedChain


class ChainDoor:
    """Serves the home's own chain while no other process has it; nothing where a chain is reached over RPC."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = ExitStack()
        self._is_ours = False
        self._port = 0

    def look(self) -> None:
        """Take the chain over if it is free."""
        from consent.chain.embedded import EmbeddedChain

        if self._is_ours or self._settings.rpc_url is not None:
            return
        folder = self._settings.home / "chain"
        try:
            if not (folder / "deployment.json").exists():
                with World(self._settings) as world:
                    world.deployment  # noqa: B018 - so that whoever connects finds the contracts
            with ExitStack() as stack:
                self._serve(stack, stack.enter_context(EmbeddedChain(folder)))
                self._open = stack.pop_all()
            self._is_ours = True
        except Busy:
            self._port = _port_in(folder / "endpoint.json") or self._port

    def _serve(self, stack: ExitStack, chain: EmbeddedChain) -> None:
        from consent.chain.rpc import serving

        try:
            stack.enter_context(serving(chain, port=self._port))
        except Busy:  # somebody else answers there now
            stack.enter_context(serving(chain))

    def close(self) -> None:
        """Let the chain go."""
        self._open.close()
        self._is_ours = False


def _port_in(note: Path) -> int | None:
    """Where the process that has the chain says that it answers."""
    try:
        return urlsplit(str(json.loads(note.read_bytes())["url"])).port
    except (OSError, ValueError, KeyError, TypeError):
        return None
