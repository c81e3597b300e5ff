"""How much a stranger may ask of this server: sizes, times, rates, and how many streams may be open."""

from __future__ import annotations

from dataclasses import dataclass

from core.limits import Rate

SMALL_BODY = 128 << 10
MAX_HEAD = 16 << 10
BLOCKS_BODY = (16 << 20) + (64 << 10)  # one part of 16 MiB and its framing
CLIENT, SIGN_IN, ACCOUNT = Rate(100, 400), Rate(2, 60), Rate(50, 300)


@dataclass(frozen=True)
class Bounds:
    """Times in seconds; the rest are counts and rates.

    `body` bounds the arrival of a body, with a second more for each `slowest` bytes that it declares; `answer` the time
    until an answer begins, `write` the wait for a client to take its next piece. A stream ends after `stream_life`, and
    its client asks again. `parts` is how long /readyz waits for all parts together.
    """

    header: float = 10
    body: float = 30
    slowest: float = 64 << 10
    answer: float = 60
    write: float = 60
    idle: float = 30
    exchange: float = 1200
    connections: int = 512
    connections_of_one: int = 64
    streams: int = 128
    streams_of_one: int = 8
    stream_life: float = 600
    stream_look: float = 0.5
    heartbeat: float = 15
    parts: float = 5
    client: Rate = CLIENT
    sign_in: Rate = SIGN_IN
    account: Rate = ACCOUNT
