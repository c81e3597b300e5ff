"""How much a stranger may ask of a keeper: rates by path and by signer, and the bounds of one exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.limits import Rate

WRITE = 50  # what storing a message costs a signer, where a release costs 1


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
