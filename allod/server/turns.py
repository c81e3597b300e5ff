"""Long work for accounts: a few at once, in threads of its own, so that the pool's stay free for everybody else.

Promises. Who waits takes no thread. Where too many wait, of one account or of all, the next is refused at once and told
when to come back; so is who waited `PATIENCE` for nothing. Work that began is worked to its end, whoever still listens,
and counts until then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

import anyio
import anyio.to_thread

from core.errors import Unavailable
from core.ids import Address

AT_ONCE = 4  # worked on at once
ROOM = 32  # worked on or waiting, of all accounts together
OF_ONE = 4  # likewise, of one account
PATIENCE = 20.0  # seconds that one waits for its turn

_Result = TypeVar("_Result")


class Turns:
    """One kind of long work on one server. To be used from its event loop alone."""

    def __init__(self, what: str) -> None:
        """`what` is its name, in the plural, as a refusal says it."""
        self._what = what
        self._of: Counter[Address] = Counter()
        self._free = anyio.Semaphore(AT_ONCE, fast_acquire=True)
        self._threads = anyio.CapacityLimiter(AT_ONCE)

    async def take(self, account: Address, act: Callable[[], _Result]) -> _Result:
        """`act` in its turn. `Unavailable` where too many are before it."""
        if self._of.total() >= ROOM or self._of[account] >= OF_ONE:
            raise self._too_many()
        with ExitStack() as place:
            self._of[account] += 1
            place.callback(self._leave, account)
            with anyio.move_on_after(PATIENCE) as waiting:
                await self._free.acquire()
            if waiting.cancelled_caught:
                raise self._too_many()
            place.callback(self._free.release)
            work = asyncio.create_task(self._work(act, place.pop_all()))
        return await asyncio.shield(work)

    async def _work(self, act: Callable[[], _Result], place: ExitStack) -> _Result:
        """A task of its own: no thread can be stopped, so its place is free when it ends, and no sooner."""
        with place:
            return await anyio.to_thread.run_sync(act, limiter=self._threads)

    def _leave(self, account: Address) -> None:
        self._of[account] -= 1
        self._of += Counter()  # forgets those at zero

    def _too_many(self) -> Unavailable:
        return Unavailable(f"Too many {self._what} at once.", hint="Try again in a moment.", retry_after=3)
