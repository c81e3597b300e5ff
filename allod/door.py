"""The home's own chain, served on loopback by whichever long-lived process of the home finds it free."""

from __future__ import annotations

from contextlib import ExitStack

from allod.world import World
from core.errors import Busy
from core.settings import Settings


class ChainDoor:
    """Serves the home's own chain while no other process has it; nothing where a chain is reached over RPC."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = ExitStack()
        self._is_ours = False

    def look(self) -> None:
        """Take the chain over if it is free."""
        from consent.chain.embedded import EmbeddedChain
        from consent.chain.rpc import serving

        if self._is_ours or self._settings.rpc_url is not None:
            return
        try:
            if not (self._settings.home / "chain" / "deployment.json").exists():
                with World(self._settings) as world:
                    world.deployment  # noqa: B018 - so that whoever connects finds the contracts
            with ExitStack() as stack:
                chain = stack.enter_context(EmbeddedChain(self._settings.home / "chain"))
                stack.enter_context(serving(chain))
                self._open = stack.pop_all()
            self._is_ours = True
        except Busy:
            return

    def close(self) -> None:
        """Let the chain go."""
        self._open.close()
        self._is_ours = False
