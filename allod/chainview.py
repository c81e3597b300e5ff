"""What the API asks of the chain again and again, worked out once for each block.

A `Snapshot` holds every job's course, the trees that are known, and who holds which consent tokens, at one head of the
index. Promises: amounts and states come from the chain alone, a tree counts only under the root that is on chain; a
reorganisation is another head, so nothing of what it undid stays.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from allod.trees import PointerBook, ask_keepers
from consent.market.earnings import Earning, EarningState, earnings
from consent.market.lanes import Course, courses
from consent.tree import SumTree
from consent.typed import keccak
from core.errors import Conflict, NotFound
from core.ids import NOBODY, Address, ConsentId, JobId

if TYPE_CHECKING:
    from allod.world import World

LEAVES = 1_000_000  # of all trees that are kept in memory
ASK_AGAIN = 30.0  # seconds until a tree that nobody had is looked for again
ASKED_AT_ONCE = 4  # trees that keepers are asked for in one look: whoever waits, waits for them


@lru_cache(maxsize=1 << 17)
def token_id(digest: bytes, holder: Address) -> ConsentId:
    """The token of a consent's digest in a holder's hands (`Consent.id`)."""
    return ConsentId(keccak(digest + holder))


class Snapshot:
    """The state of the contracts at one head."""

    def __init__(self, head: bytes, everything: Sequence[Course], trees: dict[JobId, SumTree]) -> None:
        self.head = head
        self.courses = everything
        self.trees = trees
        self.by_id = {course.opening.job_id: course for course in everything}
        self.by_consent: dict[bytes, list[Course]] = defaultdict(list)
        self.by_payee: dict[bytes, set[JobId]] = defaultdict(set)
        self.minted: dict[bytes, set[bytes]] = defaultdict(set)
        self.earnings: dict[bytes, list[Earning]] = {}
        for course in everything:
            tree = trees.get(course.opening.job_id)
            for leaf in tree.leaves if tree is not None else ():
                self.by_consent[leaf.consent_id].append(course)
                if leaf.amount:
                    self.by_payee[leaf.payee].add(course.opening.job_id)


class ChainView:
    """Reads a world's contracts for many accounts. Safe to share between threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._guard = threading.RLock()
        self._search = threading.Lock()  # who holds it looks for trees, and changes `_pointers`
        self._snapshot: Snapshot | None = None
        self._trees: dict[int, SumTree] = {}
        self._pointers: PointerBook | None = None
        self._missing: dict[int, float] = {}

    def now(self) -> Snapshot:
        """The newest snapshot; read again only where the chain has another head.

        Trees that are not known yet are looked for by one caller at a time; the others go on without them.
        """
        with self._guard:
            head = self._world.index.follow().hash
            if self._snapshot is None or self._snapshot.head != head:
                self._snapshot = self._of(head, courses(self._world.market))
            newest = self._snapshot
            due = self._due(newest.courses)
        if not due or not self._search.acquire(blocking=False):
            return newest
        try:
            found = self._find(due)
            with self._guard:
                self._note(due, found)
                newest = self._snapshot
                if found:
                    newest = self._snapshot = self._of(newest.head, newest.courses)
                return newest
        finally:
            self._search.release()

    def _of(self, head: bytes, everything: Sequence[Course]) -> Snapshot:
        """The snapshot of a head, with the trees that are known."""
        kept = {course.opening.job_id: self._trees.get(course.root) for course in everything}
        snapshot = Snapshot(head, everything, {job_id: tree for job_id, tree in kept.items() if tree is not None})
        for event in self._world.market.events("token", "Transfer"):
            if event.args["sender"] == NOBODY:
                snapshot.minted[event.args["receiver"]].add(event.args["token_id"].to_bytes(32, "big"))
        return snapshot

    def earnings(self, payee: Address) -> list[Earning]:
        """Every leaf that pays this account, oldest job first."""
        snapshot = self.now()
        found = snapshot.earnings.get(payee)
        if found is None:
            mine = snapshot.by_payee.get(payee, set())
            look = {job_id: snapshot.trees[job_id] for job_id in mine}
            found = earnings(self._world.market, payee, lambda job_id, _: look.get(job_id), snapshot.courses)
            snapshot.earnings[payee] = found
        return found

    def leaves(self, places: Sequence[tuple[JobId, int]]) -> list[Earning]:
        """The leaves at these places of their jobs' trees in force, as claimable.

        `NotFound` where a tree is not known now, `Conflict` where the chain has no such job, or its tree no such leaf.
        """
        snapshot, out = self.now(), []
        for job_id, index in places:
            course, tree = snapshot.by_id.get(job_id), snapshot.trees.get(job_id)
            if course is not None and tree is None:
                raise NotFound("The tree of a job whose payment was to be claimed is not known.")
            if course is None or tree is None or index >= len(tree.leaves):
                raise Conflict("A job whose payment was to be claimed is not on the chain any more.")
            out.append(Earning(course, tree, index, EarningState.CLAIMABLE, None))
        return out

    # -- trees --------------------------------------------------------------------------------------------------------

    def _due(self, everything: Sequence[Course]) -> dict[int, Course]:
        """By root, the jobs whose trees are not known and were not looked for since a while."""
        at = time.monotonic()
        wanted = {course.root: course for course in everything if course.root not in self._trees}
        self._missing = {root: when for root, when in self._missing.items() if root in wanted}
        return {root: course for root, course in wanted.items() if self._missing.get(root, 0.0) <= at}

    def _find(self, due: dict[int, Course]) -> dict[int, SumTree]:
        """Look for these trees among the blocks, then at the keepers."""
        if self._pointers is None:
            self._pointers = PointerBook(self._world.blocks)
        else:
            self._pointers.look()
        found, asked = dict[int, SumTree](), 0
        for root, course in due.items():
            tree = self._pointers.tree(root)
            if tree is None and course.current and asked < ASKED_AT_ONCE:
                asked += 1
                tree = ask_keepers(self._world, course.opening.job_id, root)
            if tree is not None:
                found[root] = tree
        return found

    def _note(self, due: dict[int, Course], found: dict[int, SumTree]) -> None:
        """Remember what was found, and when to look again for what was not."""
        for root in due:
            self._missing[root] = time.monotonic() + ASK_AGAIN
        for root, tree in found.items():
            self._missing.pop(root)
            self._keep(root, tree)

    def _keep(self, root: int, tree: SumTree) -> None:
        count = sum(len(kept.leaves) for kept in self._trees.values())
        while self._trees and count + len(tree.leaves) > LEAVES:
            oldest = next(iter(self._trees))
            count -= len(self._trees.pop(oldest).leaves)
            self._missing[oldest] = time.monotonic() + ASK_AGAIN
        self._trees[root] = tree
