"""Trying again what failed because something is away: a chain, a keeper, a block store, a disk, a trainer child.

What is away for a minute costs a minute. `Unavailable` and `Busy` are tried again, after one second, then two, four and
so on up to a minute, for as long as it takes. `Refused`, `InvalidInput` and every other error are answers: nothing is
tried again. A trainer child that dies by itself again and again without getting any further is not waited for either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from core.errors import AllodError, Busy, Unavailable

Result = TypeVar("Result")
FIRST, LONGEST = 1.0, 60.0  # seconds
DEATHS = 5  # of a trainer child in a row without one more step


class Patience:
    """How long to wait. `wait(seconds)` pauses, and may raise to end it; `told(error, seconds)` hears of each pause."""

    def __init__(
        self,
        wait: Callable[[float], None],
        told: Callable[[AllodError, float], None],
        *,
        first: float = FIRST,
        longest: float = LONGEST,
    ) -> None:
        self._wait = wait
        self._told = told
        self._first = first
        self._longest = longest

    def try_until_done(self, action: Callable[[], Result], reached: Callable[[], int] = lambda: 0) -> Result:
        """The result of `action`; `reached` is how far it came: what gets further begins with short pauses again."""
        failures = deaths = 0
        furthest = reached()
        while True:
            try:
                return action()
            except Exception as error:
                away = _away(error)
                if away is None:
                    raise
                if reached() > furthest:
                    furthest, failures, deaths = reached(), 0, 0
                deaths += "exit_status" in away.detail
                if deaths >= DEATHS:
                    raise
                pause = min(self._longest, self._first * 2**failures)
                failures = min(failures + 1, 32)
                self._told(away, pause)
                self._wait(pause)


def _away(error: Exception) -> AllodError | None:
    """The error as one that may pass by itself, or None."""
    if isinstance(error, Unavailable | Busy):
        return error
    if isinstance(error, OSError) and error.strerror:
        return Unavailable(f"The system says: {error.strerror}.", hint="Check the disk and its space.")
    databases = sys.modules.get("sqlalchemy.exc")
    if databases is not None and isinstance(error, databases.OperationalError):
        return Unavailable("The database does not answer.", hint="Check that it runs and has space.")
    return None
