"""`cached_property` for objects that threads share: one thread makes the value, the others wait for it.

That of functools has no lock since Python 3.12. Here the object brings an RLock, `_opening`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property(functools.cached_property):  # noqa: N801
        """A value that is made at its first use and kept."""

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            """The value."""
            if instance is None:
                return self
            with instance._opening:
                return super().__get__(instance, owner)


__all__ = ["cached_property"]
