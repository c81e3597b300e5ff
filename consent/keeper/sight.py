"""What a keeper sees of the chain: two blocks per decision, `safe` and `latest`, each pinned by its hash.

A block's hash fixes its state, so what a contract answered at a pinned block is kept and not asked again; which blocks
are `safe` and `latest` is asked anew for each decision. A keeper may be given several RPC endpoints. Promises: an
endpoint that fails, two that disagree, or a newest block older than 60 seconds is `Unavailable`, which is a refusal:
nothing is decided on a view that may be stale or split.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consent.chain.client import Block, Chain
from core.errors import AllodError, Refused, Unavailable
from core.ids import Address

MAX_AGE = 60  # seconds
_MOST_KNOWN = 4096  # answers kept; the one that was used longest ago goes first
_LARGEST_KNOWN = 4096  # bytes of a question and its answer

T = TypeVar("T")

_AGAIN = "Nothing was released; try again in a minute, or ask another keeper."


@dataclass(frozen=True)
class Sight:
    """The two blocks of one decision."""

    safe: Block
    latest: Block


class Watch:
    """The chain through one or several endpoints, all of which must agree. `clock` gives Unix seconds."""

    def __init__(self, chains: Sequence[Chain], clock: Callable[[], float]) -> None:
        if not chains:
            raise ValueError("a keeper sees a chain through at least one endpoint")
        self._chains = list(chains)
        self._clock = clock
        self._known: OrderedDict[tuple[bytes, Address, bytes], bytes] = OrderedDict()
        self._guard = threading.Lock()

    def look(self) -> Sight:
        """The blocks to decide by; on a development chain whose newest is stale, an empty one is mined first."""
        sight = self._see()
        if self._age(sight.latest) > MAX_AGE and all(_ask(self._chains, lambda chain: chain.is_development)):
            _ask(self._chains[:1], lambda chain: chain.mine())
            sight = self._see()
        age = self._age(sight.latest)
        if age > MAX_AGE:
            raise Unavailable(f"The newest block this keeper sees is {age:.0f} seconds old; it refuses.", hint=_AGAIN)
        return sight

    def call(self, to: Address, data: bytes, block: Block, *, gas: int | None = None) -> bytes:
        """A view's answer at a pinned block, the same from every endpoint; one that reverts is `Refused`.

        Calls with a bound on `gas` reach code that others wrote; they are asked every time.
        """
        question = (block.hash, to, data)
        if gas is None:
            with self._guard:
                known = self._known.get(question)
                if known is not None:
                    self._known.move_to_end(question)
                    return known
        answer = _agreed(_ask(self._chains, lambda chain: chain.call(to, data, block.hash, gas=gas)))
        if gas is None and len(data) + len(answer) <= _LARGEST_KNOWN:
            with self._guard:
                self._known[question] = answer
                if len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
        return answer

    def code(self, address: Address, block: Block) -> bytes:
        """The code at an address at a pinned block."""
        return _agreed(_ask(self._chains, lambda chain: chain.code(address, block.hash)))

    def block(self, number: int) -> Block:
        """The block of a number."""
        return _agreed(_ask(self._chains, lambda chain: chain.block(number)))

    def _age(self, block: Block) -> float:
        return self._clock() - block.timestamp

    def _see(self) -> Sight:
        return Sight(safe=self._common("safe"), latest=self._common("latest"))

    def _common(self, tag: str) -> Block:
        """The block under `tag` that every endpoint has: the lowest of their answers, which the others must share."""
        answers = _ask(self._chains, lambda chain: chain.block(tag))
        lowest = min(answers, key=lambda block: block.number)
        if all(block == lowest for block in answers):
            return lowest
        return self.block(lowest.number)


def _ask(chains: Sequence[Chain], question: Callable[[Chain], T]) -> list[T]:
    try:
        return [question(chain) for chain in chains]
    except Refused:  # the contract's answer, not the endpoint's failure
        raise
    except AllodError:
        raise Unavailable("The chain does not answer this keeper, so it refuses.", hint=_AGAIN) from None


def _agreed(answers: list[T]) -> T:
    if any(answer != answers[0] for answer in answers[1:]):
        raise Unavailable("This keeper's views of the chain disagree, so it refuses.", hint=_AGAIN)
    return answers[0]
