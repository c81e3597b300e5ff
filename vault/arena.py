"""Memory for segments that wait to be sent: sealed where they stay, and the same memory again for those that follow.

To get and to clear new pages costs the system as much as a quarter of sealing, a copy a tenth. What was taken once is
kept as long as the arena. A place holds at least half of what it takes: less is copied out of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from vault.blocks import Data
from vault.segments import SEGMENT


class _Place(bytearray):
    """What only an arena makes."""


class Arena:
    """Places of one segment each. Safe for several threads, as its list is."""

    def __init__(self) -> None:
        self._spare: list[_Place] = []

    def room(self) -> memoryview:
        """A place of `SEGMENT` bytes, the caller's until it is given to `keep`."""
        try:
            return memoryview(self._spare.pop())
        except IndexError:
            return memoryview(_Place(SEGMENT))

    def keep(self, data: Data) -> Data:
        """`data` itself where it fills most of a place, which is the arena's from now on; else a copy."""
        view = memoryview(data).cast("B")
        is_ours = isinstance(view.obj, _Place)
        if not SEGMENT // 2 < len(view) <= SEGMENT:
            copy = bytes(view)
            if is_ours:
                self.reuse([view])
            return copy
        if is_ours:
            return view
        place = self.room()[: len(view)]
        place[:] = view
        return place

    def reuse(self, kept: Iterable[Data]) -> None:
        """Take places back that nobody reads any more."""
        self._spare += [cast(_Place, data.obj) for data in kept if isinstance(data, memoryview)]
