"""Follows the chain: events into the database, back from what the chain gave up, forward to its newest block.

Promises: after `follow` the rows are those that an index begun at the first block would have, whatever the chain did
since; a node that contradicts itself, or answers what was not asked for, is `Unavailable` and nothing is written. The
newest 64 blocks are read one by one, each by its hash and linked to its parent, so no reorganisation between two
requests, and no node behind a balancer that lags, can leave something out; older ones by ranges, whose ends and blocks
with events are asked for again afterwards. Memory is bounded by one range.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine

from consent.chain.client import Block, Chain
from consent.chain.contract import Event
from consent.chain.deployment import Deployment
from consent.index.layout import Found, Layouts
from consent.index.records import Head, IndexBook, Moved, Overtaken
from core.errors import NotFound, Unavailable

TAIL = 64  # blocks that are read one by one: more than chains reorganise
SPAN = 2_000  # blocks of the first range
FEW, MANY = 2_000, 20_000  # events of a range after which the next is longer, or shorter
ATTEMPTS = 8
AT_ONCE = 8  # headers that are asked for at the same time

Step = tuple[Head, dict[int, int], list[Found]]
"""Where the index gets to, the times of the blocks on the way, and the events in them."""


class Indexer:
    """The index of a deployment's events in a database; several may share it."""

    def __init__(self, chain: Chain, deployment: Deployment, engine: Engine) -> None:
        self._chain = chain
        self._layouts = Layouts(deployment)
        self._book = IndexBook(engine, deployment)
        self._span, self._longest = SPAN, 2**40

    @property
    def head(self) -> Head:
        """The newest block that the index knows."""
        return self._book.head()

    def events(self, contract: str, name: str, **wanted: Any) -> list[Event]:
        """Events of one contract (`registry`, `token`, `escrow`) with these arguments, oldest first."""
        return self._book.events(self._layouts.named(contract, name), wanted)

    def follow(self) -> Head:
        """Bring the index to the chain's newest block, which is returned."""
        failures = 0
        while failures < ATTEMPTS:
            newest = self._newest()
            try:
                head = self._round(newest)
            except Overtaken:
                continue
            except (Moved, NotFound):
                failures += 1
            except Unavailable:
                if self._newest() == newest:
                    raise
                failures += 1  # the block in question may be gone
            else:
                if head.hash == newest.hash or head == self._book.origin:
                    return head
                failures = 0
        raise Unavailable(
            "The chain's RPC endpoint says something else at every request, so its events are not read.",
            hint="Try again, or use another endpoint.",
        )

    def _newest(self) -> Block:
        try:
            return self._chain.block()
        except NotFound:
            raise _contradiction("it has no newest block") from None

    def _round(self, newest: Block) -> Head:
        """One step towards `newest`, in one transaction."""
        seen = self._book.head()
        if newest.hash == seen.hash:
            return seen
        fork = self._fork(seen, newest)
        step: Step
        if newest.number <= self._book.origin.number or newest.hash == fork.hash:  # the chain became shorter
            step = fork, {}, []
        elif newest.number - fork.number <= TAIL:
            step = self._near(fork, newest)
        else:
            step = self._far(fork, newest.number - TAIL)
        self._book.replace(seen, fork, *step)
        return step[0]

    # -- where the chain and the index part ---------------------------------------------------------------------------

    def _fork(self, seen: Head, newest: Block) -> Head:
        """The newest block with events that is still on the chain, or all that was seen."""
        if self._stands(seen, newest):
            return seen
        low, high = 0, self._book.count(newest.number)
        while low < high:  # the first `low` blocks stand, those from `high` on do not
            middle = (low + high) // 2
            if self._stands(self._book.block(middle), newest):
                low = middle + 1
            else:
                high = middle
        return self._book.block(low - 1) if low else self._book.origin

    def _stands(self, head: Head, newest: Block) -> bool:
        if head == self._book.origin:
            return True
        return head.number <= newest.number and self._chain.block(head.number).hash == head.hash

    # -- what is new --------------------------------------------------------------------------------------------------

    def _near(self, fork: Head, newest: Block) -> Step:
        """Everything above `fork`, block by block, each the parent of the one before."""
        blocks = [newest]
        while blocks[-1].number > fork.number + 1:
            parent = self._chain.block(blocks[-1].parent_hash)
            if parent.number != blocks[-1].number - 1:
                raise _contradiction("a block's parent is not the one before it")
            blocks.append(parent)
        if fork.hash and blocks[-1].parent_hash != fork.hash:
            raise Moved
        found: list[Found] = []
        for block in reversed(blocks):
            some = self._chain.scan(self._layouts.read, self._layouts.addresses, block.hash)
            if any((item.block, item.block_hash) != (block.number, block.hash) for item in some):
                raise _contradiction("logs of another block than that which was asked for")
            found += some
        return Head(newest.number, newest.hash), {block.number: block.timestamp for block in blocks}, found

    def _far(self, fork: Head, limit: int) -> Step:
        """A range above `fork` and up to `limit`, as long as the node allows."""
        first, last = fork.number + 1, min(fork.number + self._span, limit)
        end = self._chain.block(last)
        try:
            found = self._chain.scan(self._layouts.read, self._layouts.addresses, (first, last))
        except Unavailable as error:
            if not error.detail.get("too_much") or last == first:
                raise
            self._span = self._longest = (last - first + 1) // 2
            return self._far(fork, limit)
        if any(not first <= item.block <= last for item in found):
            raise _contradiction("logs of other blocks than those that were asked for")
        times = self._times(found)
        before = fork.number if fork.hash else None
        if self._chain.block(last) != end or (before is not None and self._chain.block(before).hash != fork.hash):
            raise Moved
        if len(found) < FEW:
            self._span = min(2 * self._span, self._longest)
        elif len(found) > MANY:
            self._span = max(1, self._span // 2)
        return Head(last, end.hash), times, found

    def _times(self, found: Sequence[Found]) -> dict[int, int]:
        """When the blocks of these events were; `Moved` if one is another block by now."""
        hashes = {(item.block, item.block_hash) for item in found}
        numbers = sorted({number for number, _ in hashes})
        if len(numbers) != len(hashes):
            raise _contradiction("one block with two hashes")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            blocks = list(pool.map(self._chain.block, numbers))
        if hashes != {(block.number, block.hash) for block in blocks}:
            raise Moved
        return {block.number: block.timestamp for block in blocks}


def _contradiction(what: str) -> Unavailable:
    return Unavailable(
        f"The chain's RPC endpoint contradicts itself: {what}.", hint="Try again, or use another endpoint."
    )
