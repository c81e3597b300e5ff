"""The block lists that a kubo node pins for us: which there are, how they grow, shrink and are cleared away.

Promises. A list is pinned only when every block that it names was seen to be on the node and kept from its garbage
collection ever since: by the list that it continues, and by announcements that were pinned before the blocks were sent.
Pins are added before others are taken away. A writer that dies leaves announcements behind; the next one that writes
takes them away when they are old, and what they kept falls to the node's garbage collection.

All methods but `announce` are called by one thread at a time.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Set

from core.errors import Corrupted, InvalidInput, Unavailable
from vault.blocklist import FULL, decode_announcement, decode_list, encode_announcement, encode_list, raw
from vault.blocks import verify_block
from vault.cid import RAW, Cid
from vault.ipfs import Kubo
from vault.wire import KuboError

_OLD = 86_400  # seconds after which whoever announced blocks is not sending them any more
_TRIES = 3
_REMOVALS = 64  # blocks in one request
_FEW = 4  # announcements, which are small; more of them are not worth the time
_LOOKS = 500_000  # entries of lists; for each block that it removes, kubo may look through all of them

_LOG = logging.getLogger(__name__)


class PinnedLists:
    """The lists on one node."""

    def __init__(self, kubo: Kubo) -> None:
        self._kubo = kubo
        self.lists: dict[Cid, Set[Cid]] = {}
        self.where: dict[Cid, Cid] = {}  # a block's list
        self._foreign: set[Cid] = set()  # pinned, but nothing of ours
        self._open: Cid | None = None  # the list that grows
        self._mine: set[Cid] = set()  # announcements of this store that may be pinned
        self._others: dict[Cid, int] = {}  # those of others, and when they were made
        self._unlisted: set[Cid] = set()  # blocks to be removed
        self._replaced: set[Cid] = set()  # lists to be removed
        self._done_with: set[Cid] = set()  # announcements whose blocks are on a list
        self._spent: set[Cid] = set()  # those that are not pinned any more, to be removed

    def look(self) -> None:
        """Take notice of what is pinned now, by whomever."""
        pinned = self._kubo.pins()
        for gone in self.lists.keys() - pinned:
            self._forget(gone)
        self._others = {root: made for root, made in self._others.items() if root in pinned}
        for root in pinned - self.lists.keys() - self._foreign - self._others.keys() - self._mine:
            with contextlib.suppress(KuboError):  # unpinned meanwhile, or damaged
                try:
                    block = self._kubo.block(root)
                    verify_block(root, block)
                    self._take(root, block)
                except Corrupted:
                    _LOG.warning("kubo pins %s, and what it gives out for it is something else.", root)

    def begin(self) -> None:
        """Choose the list that grows, and take away announcements behind which nobody is. Nothing may be under way."""
        smallest = min(self.lists, key=lambda root: (len(self.lists[root]), root), default=None)
        self._open = smallest if smallest is not None and len(self.lists[smallest]) < FULL else None
        now = time.time()
        old = {root for root, made in self._others.items() if abs(now - made) > _OLD}
        if stale := self._mine | old:
            self._drop(stale)

    def announce(self, cids: Iterable[Cid]) -> Cid:
        """Have the node keep these blocks from now on, whether or not it has them yet; in any thread."""
        root, data = encode_announcement(cids)
        self._mine.add(root)
        self._kubo.pin_new(root, data)
        return root

    def enlist(self, cids: Set[Cid], announced: Collection[Cid]) -> None:
        """Put blocks on a list that are on the node; `announced` is what kept them there, and does until the next
        call of this, of `begin` or of `sweep`."""
        self._drop(self._done_with)
        before = self._open if self._open in self.lists else None
        if before is not None and len(self.lists[before] | cids) > FULL:
            before = None
        if before is None or not self._exchange(before, self.lists[before] | cids, announced):
            self._exchange(None, cids, announced)
            if before is not None:
                self.look()  # somebody else changed it

    def strike(self, doomed: Set[Cid]) -> None:
        """Take blocks off all lists."""
        for _ in range(_TRIES):
            touched = {root: entries for root, entries in self.lists.items() if not doomed.isdisjoint(entries)}
            if not touched:
                break
            if not all(self._exchange(root, entries - doomed, ()) for root, entries in touched.items()):
                self.look()
        else:
            raise Unavailable("Somebody else changes kubo's pins all the time.", hint="Do it again later.")
        self._unlisted |= doomed

    def leave(self, cid: Cid) -> None:
        """Note that nobody needs a block that was sent; it is removed in `sweep` unless a list holds it."""
        self._unlisted.add(cid)

    def read_back(self) -> None:
        """Ask again for the list that grew last."""
        if self._open is not None:
            read_back(self._kubo, self._open)

    def sweep(self) -> None:
        """Let go of announcements, and remove from the node's disk what no list holds any more. What fails here is left
        to the next writer and the node's garbage collector."""
        self._drop(self._done_with)
        unlisted, replaced, spent = self._unlisted, self._replaced - self.lists.keys(), self._spent
        self._unlisted, self._replaced, self._spent = set(), set(), set()
        blocks = []
        if unlisted:
            held = {raw(cid) for cid in self.where}
            blocks = [cid for cid in unlisted if raw(cid) not in held]
        allowed = _LOOKS // (sum(map(len, self.lists.values())) or 1)
        # Lists hold blocks under raw CIDs, others may under their own; lists are pinned under their own alone.
        dead = [raw(cid) for cid in blocks[:allowed] if cid.codec == RAW or not self._kubo.is_pinned(cid)]
        dead = [*dead, *replaced, *(spent if len(spent) <= _FEW else ())][:allowed]
        for start in range(0, len(dead), _REMOVALS):
            self._kubo.remove(dead[start : start + _REMOVALS])

    def _exchange(self, before: Cid | None, entries: Set[Cid], announced: Collection[Cid]) -> bool:
        """Pin a list of `entries` in place of `before`; nothing is done, and False returned, if that is not pinned.

        First they are announced together. Where all that kept them until now is pinned still, they are all there.
        """
        root, data = encode_list(entries)
        keeper = self.announce(entries)
        pinned = self._kubo.pins()
        if before is not None and before not in pinned:
            self._drop([keeper])
            return False
        if not pinned.issuperset(announced):
            self._kubo.pin(keeper)  # somebody took them away: the node looks for every block
        if entries and root != before:
            self._kubo.pin_new(root, data)
            self._learn(root, frozenset(entries))
        if before is not None and root != before:
            self._kubo.unpin([before])
            self._forget(before)
            self._replaced.add(before)
        self._done_with.update([keeper, *announced])
        if entries and (before is None or self._open is None):
            self._open = root
        return True

    def _drop(self, announced: Collection[Cid]) -> None:
        if announced := set(announced):
            self._kubo.unpin(announced)
            self._mine -= announced
            self._done_with -= announced
            self._spent |= announced

    def _take(self, root: Cid, block: bytes) -> None:
        """Learn from a pinned block what it is."""
        try:
            self._learn(root, decode_list(block))
        except InvalidInput:
            try:
                self._others[root] = decode_announcement(block)
            except InvalidInput:
                self._foreign.add(root)

    def _learn(self, root: Cid, entries: Set[Cid]) -> None:
        self.lists[root] = entries
        for cid in entries:
            self.where[cid] = root

    def _forget(self, root: Cid) -> None:
        for cid in self.lists.pop(root):
            if self.where[cid] == root:
                other = next((other for other, entries in self.lists.items() if cid in entries), None)
                if other is None:
                    del self.where[cid]
                else:
                    self.where[cid] = other
        if self._open == root:
            self._open = None


def read_back(kubo: Kubo, cid: Cid) -> None:
    """Ask for a block that was acknowledged: a node that acknowledges and does not store is found out."""
    try:
        verify_block(cid, kubo.block(cid))
    except Corrupted:
        raise Unavailable(
            "kubo acknowledged blocks and gives out others.", hint="Check the node's disk; nothing was flushed."
        ) from None
