"""A payer's lanes as the escrow's events tell them: what each holds, until when it is claimed, which one is free.

A lane's word commits to (times, root, order) of its last job; whoever reuses or reclaims it must present those three.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.chain.client import BlockId
from consent.chain.contract import Event
from consent.market.place import Market
from consent.order import CLAIM_TIME
from consent.tree import sum_of
from consent.typed import address_word, keccak, uint_word
from core.errors import Corrupted
from core.ids import Address, JobId


@dataclass(frozen=True)
class Opening:
    """One Opened event with what follows from it."""

    job_id: JobId
    payer: Address
    lane: int
    opened: int
    stop: int
    runner: Address
    root: int
    order_hash: bytes
    block_number: int
    log_index: int
    tx_hash: bytes

    @classmethod
    def of(cls, market: Market, event: Event) -> Opening:
        """Read an Opened event of this market's escrow."""
        args = event.args
        opened, stop = args["times"] >> 40, args["times"] & (2**40 - 1)
        order_hash = keccak(address_word(args["runner"]) + args["spec"] + args["counted"])
        packed = (
            uint_word(market.chain_id)
            + address_word(market.escrow.address)
            + address_word(args["payer"])
            + uint_word(args["lane"])
            + uint_word(opened)
            + uint_word(args["root"])
            + order_hash
        )
        return cls(
            JobId(keccak(packed)),
            args["payer"],
            args["lane"],
            opened,
            stop,
            args["runner"],
            args["root"],
            order_hash,
            event.block_number,
            event.log_index,
            event.tx_hash,
        )


@dataclass(frozen=True)
class Course:
    """A job from its opening to where it stands: `start` and `root` as the last confirmation or settlement left them.

    `statement` is what that posted, None while the opening stands; `current` says that the lane still is this job's.
    """

    opening: Opening
    start: int
    root: int
    statement: bytes | None
    settled_tx: bytes | None
    current: bool

    @property
    def times(self) -> int:
        """opened << 40 | start, as the lane's word holds it."""
        return self.opening.opened << 40 | self.start

    @property
    def preimage(self) -> list[int]:
        """(times, root, order), as `open` and `reclaim` want them."""
        return [self.times, self.root, int.from_bytes(self.opening.order_hash, "big")]

    @property
    def claims_end(self) -> int:
        """Unix seconds; afterwards the payer may take back what nobody claimed."""
        return self.start + CLAIM_TIME

    def word(self, remaining: int) -> int:
        """The lane's word while the lane is this job's."""
        packed = b"".join(uint_word(number) for number in self.preimage)
        return int.from_bytes(keccak(packed), "big") >> 64 << 64 | remaining


def courses(market: Market, payer: Address | None = None) -> list[Course]:
    """Every job ever opened, oldest first; of one payer if given."""
    whose = {} if payer is None else {"payer": payer}
    openings = [Opening.of(market, event) for event in market.events("escrow", "Opened", **whose)]
    settled: dict[tuple[Address, int, int], Event] = {}
    for event in market.events("escrow", "Settled", **whose):
        settled[event.args["payer"], event.args["lane"], event.args["times"] >> 40] = event
    newest = {(opening.payer, opening.lane): opening.job_id for opening in openings}
    out = []
    for opening in openings:
        end = settled.get((opening.payer, opening.lane, opening.opened))
        out.append(
            Course(
                opening,
                opening.stop if end is None else end.args["times"] & (2**40 - 1),
                opening.root if end is None else end.args["root"],
                None if end is None else end.args["statement"],
                None if end is None else end.tx_hash,
                newest[opening.payer, opening.lane] == opening.job_id,
            )
        )
    return out


def remaining(market: Market, course: Course, block: BlockId = "latest") -> int:
    """UNITs that the lane still holds for this job; 0 once the lane serves another.

    A lane whose word is not what its events tell is `Corrupted`: the endpoint contradicts itself.
    """
    if not course.current:
        return 0
    word = int(market.escrow.read("lanes", course.opening.payer, course.opening.lane, block=block))
    if word != course.word(sum_of(word)):
        raise Corrupted(
            "The escrow's lane and its events do not agree.", hint="The RPC endpoint may lag; try again or another."
        )
    return sum_of(word)


def free_lane(market: Market, payer: Address) -> tuple[int, list[int]]:
    """A lane that `open` accepts now and its former job's preimage (zeros for a new lane).

    A used lane is free once its job is paid out or its claims have ended; reusing it costs the least gas.
    """
    now = market.chain.block().timestamp
    current = [course for course in courses(market, payer) if course.current]
    for course in sorted(current, key=lambda item: item.opening.lane):
        # A job that pays nothing has an empty lane from the start, but it is open until its claims begin.
        if now >= course.start and (remaining(market, course) == 0 or now > course.claims_end):
            return course.opening.lane, course.preimage
    return max((course.opening.lane + 1 for course in current), default=0), [0, 0, 0]
