"""How much a stranger may ask of a service: token buckets by whatever names the stranger, a client address above all.

Promises: memory is bounded whatever the keys are; a refusal says after how many seconds it is worth asking again.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from core.errors import Unavailable

MAX_KEYS = 65_536  # buckets in memory; beyond, the one that was used longest ago is forgotten


class Rate(NamedTuple):
    """So many a second, and so many at once after a rest."""

    per_second: float
    burst: float


class Buckets:
    """One bucket for each key; safe to share between threads. `clock` gives seconds that never go back."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic, size: int = MAX_KEYS) -> None:
        self._rate = rate
        self._clock = clock
        self._size = size
        self._levels: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._guard = threading.Lock()

    def take(self, key: bytes, cost: float = 1) -> None:
        """Take `cost` out of the key's bucket, or `Unavailable` with the seconds to wait as detail `retry_after`."""
        with self._guard:
            now = self._clock()
            level, since = self._levels.pop(key, (self._rate.burst, now))
            level = min(self._rate.burst, level + (now - since) * self._rate.per_second)
            lacking = cost - level
            self._levels[key] = (level if lacking > 0 else level - cost, now)
            if len(self._levels) > self._size:
                self._levels.popitem(last=False)
        if lacking > 0:
            raise too_many(lacking / self._rate.per_second)


def too_many(seconds: float) -> Unavailable:
    """The refusal of what came too fast."""
    wait = max(1, min(3600, int(seconds) + 1))
    return Unavailable("From there it was asked too often.", hint=f"Ask again in {wait} seconds.", retry_after=wait)


def key_of(address: str) -> bytes:
    """A client address as a bucket's key: all of a /64 of IPv6 is one client, as one subscriber has it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return b"unknown"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.packed if found.version == 4 else found.packed[:8]
