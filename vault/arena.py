"""Memory for segments that wait to be sent: sealed where they stay, and the same memory again for those that follow.

To get and to clear new pages costs the system as much as a quarter of sealing, a copy a tenth. What was taken once is
kept as long as the arena.
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
        """`data` itself where it lies in a place, which is the arena's from now on; else a copy."""
        view = memoryview(data).cast("B")
        if isinstance(view.obj, _Place):
            return view
        if not SEGMENT // 2 < len(view) <= SEGMENT:
            return bytes(view)
        place = self.room()[: len(view)]
        place[:] = view
        return place

    def reuse(self, kept: Iterable[Data]) -> None:
        """Take places back that nobody reads any more."""
        self._spare += [cast(_Place, data.obj) for data in kept if isinstance(data, memoryview)]
