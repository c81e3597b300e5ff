"""How much a stranger may ask of a keeper: token buckets by client address and by signer, and bounds of one exchange.

Promises: memory is bounded whatever the keys are; a refusal says after how many seconds it is worth asking again.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from core.errors import Unavailable

MAX_KEYS = 65_536  # buckets in memory; beyond, the one that was used longest ago is forgotten
WRITE = 50  # what storing a message costs a signer, where a release costs 1


class Rate(NamedTuple):
    """So many a second, and so many at once after a rest."""

    per_second: float
    burst: float


RATES: Mapping[str, Rate] = {
    "release": Rate(200, 400),
    "revoke": Rate(2, 128),
    "tree": Rate(20, 400),
    "ledger": Rate(10, 200),
    "settlement": Rate(5, 100),
    "log": Rate(10, 200),
    "service": Rate(10, 100),
}
"""Requests of one client address at each path."""
SIGNERS = Rate(200, 128 * WRITE)
"""What one signer may have done, whatever addresses it comes from."""


@dataclass(frozen=True)
class Limits:
    """The bounds of a keeper's HTTP service. Times in seconds; the rest are counts and bytes.

    `working` requests at most, and `working_of_one` of one client address, are worked on or wait for one of `threads`;
    revocations have as many of their own.
    """

    header: float = 10
    body: float = 30
    idle: float = 30
    exchange: float = 120
    connections: int = 256
    connections_of_one: int = 32
    buffered: int = 128 << 20
    working: int = 32
    working_of_one: int = 16
    threads: int = 8
    rates: Mapping[str, Rate] = field(default_factory=lambda: RATES)


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
    return Unavailable(
        "This keeper was asked too often from there.", hint=f"Ask again in {wait} seconds.", retry_after=wait
    )


def key_of(address: str) -> bytes:
    """A client address as a bucket's key: all of a /64 of IPv6 is one client, as one subscriber has it."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return b"unknown"
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.packed if found.version == 4 else found.packed[:8]
