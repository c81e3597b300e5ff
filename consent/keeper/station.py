"""What a keeper works with: its keys, its memory, its sight of the chain, its seats in committees."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from consent.committee import Committee
from consent.keeper.facts import Facts
from consent.keeper.keys import KeeperKeys
from consent.keeper.limits import WRITE
from consent.keeper.sight import Sight
from consent.keeper.store import KeeperStore
from consent.order import Order
from consent.tree import SumTree
from core.errors import NotFound, Refused
from core.ids import Address, JobId
from core.limits import Buckets

_HELD_IN_MEMORY = 4


@dataclass(frozen=True)
class Seat:
    """This keeper's place in one committee."""

    committee: Committee
    index: int


@dataclass
class Station:
    """One keeper for one deployment: chain, ConsentToken and escrow. `clock` gives Unix seconds."""

    chain_id: int
    token: Address
    escrow: Address
    keys: KeeperKeys
    store: KeeperStore
    facts: Facts
    clock: Callable[[], float]
    signers: Buckets | None = None
    seats: dict[bytes, Seat] = field(default_factory=dict)
    _trees: OrderedDict[JobId, SumTree] = field(default_factory=OrderedDict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def now(self) -> int:
        """The clock in whole Unix seconds."""
        return int(self.clock())

    def admit(self, signer: Address, cost: float = WRITE) -> None:
        """Count what is about to be written against who signed for it; `Unavailable` if that is too much."""
        if self.signers is not None:
            self.signers.take(signer, cost)

    def times(self, sight: Sight) -> list[int]:
        """The times at which a consent must hold: by block and by clock; a development chain's blocks set the clock."""
        block = sight.latest.timestamp
        return [block, max(block, self.now) if self.facts.is_development else self.now]

    def require_place(self, order: Order) -> None:
        """`Refused` unless the order belongs to this keeper's chain and escrow, and to a committee it sits in."""
        if order.chain_id != self.chain_id:
            raise Refused("This keeper serves another chain.")
        if order.escrow != self.escrow:
            raise Refused("This keeper does not know the escrow that the order names.")
        if all(order.committee != seat.committee.hash for seat in self.seats.values()):
            raise Refused("The job names a committee that this keeper does not belong to.")

    def require_open(self, order: Order, sight: Sight, *, margin: int = 0) -> None:
        """`Refused` unless the job stands open on chain at both blocks, `margin` seconds before its start at least."""
        if self.facts.lane_word(order, sight.latest) != order.open_word:
            raise Refused("No open job on chain matches this order: it is not opened, or confirmed or settled.")
        if sight.safe != sight.latest and self.facts.lane_word(order, sight.safe) != order.open_word:
            raise Refused("The job stands in no safe block yet.", hint="Try again in a few minutes.")
        remaining = order.start - max(sight.latest.timestamp, self.now)
        if remaining <= 0:
            raise Refused("The job is over: its time to settle has passed.")
        if remaining < margin:
            raise Refused(f"The job ends in less than {margin // 60} minutes; nothing is released any more.")

    def tree(self, order: Order) -> SumTree:
        """The opening tree of a job, which this keeper must hold; `NotFound` if it does not."""
        job = order.job_id
        with self._guard:
            tree = self._trees.get(job)
        if tree is None:
            held = self.store.tree(job)
            if held is None:
                raise NotFound("This keeper does not hold the job's tree.", hint="Hand it in first.")
            tree = SumTree.decode(held[1])
            with self._guard:
                self._trees[job] = tree
                while len(self._trees) > _HELD_IN_MEMORY:
                    self._trees.popitem(last=False)
        if tree.root != order.root:
            raise Refused("The tree that this keeper holds is not the one that the order names.")
        return tree
