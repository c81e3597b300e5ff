"""The open offers of datasets. Nobody has to be signed in to look, so a look costs the chain little.

Promises. What the chain says of an owner is asked once for each block, and an offer that it said to be ended is never
asked about again (if a reorganisation undid that, its owner still wanted it): so a look costs as many questions as
offers are shown, however many ended ones lie above them. Those hide no older one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from consent.grant import Consent
from consent.records import ConsentRow
from core.ids import NOBODY

if TYPE_CHECKING:
    from allod.world import World

AT_ONCE = 8  # questions to the chain at the same time
_REMEMBERED = 100_000  # digests of ended offers


class Offers:
    """The offers in a world's database, as its chain has them. Safe to share between threads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._guard = threading.Lock()
        self._head = b""
        self._said: dict[tuple[Any, ...], int] = {}  # by what was asked, at that head
        self._ended: set[bytes] = set()

    def open(self, session: Session, asset: bytes, at_most: int) -> list[ConsentRow]:
        """The offers for a dataset that trainers can take now, newest first."""
        head, found = self._world.view.now().head, dict[bytes, ConsentRow]()
        query = select(ConsentRow).where(ConsentRow.asset == asset, ConsentRow.grantee == NOBODY)
        query = query.order_by(ConsentRow.signed.desc(), ConsentRow.digest.desc()).limit(at_most)
        for start in count(0, at_most):
            rows = session.scalars(query.offset(start)).all()
            found |= {row.digest: row for row in self._open(head, rows)}
            if len(rows) < at_most or len(found) >= at_most:
                break
        return list(found.values())[:at_most]

    def _open(self, head: bytes, rows: Sequence[ConsentRow]) -> list[ConsentRow]:
        """Those of these offers that are open at this head."""
        offers = [(row, Consent.decode(row.consent)) for row in rows if row.digest not in self._ended]
        if not offers:
            return []
        time = self._world.chain.block(head).timestamp
        epochs = self._ask(head, (("epochs", one.owner) for _, one in offers))
        ended = {row.digest for row, one in offers if one.expiry <= time or one.epoch != epochs["epochs", one.owner]}
        offers = [(row, one) for row, one in offers if row.digest not in ended]
        words = self._ask(head, (("revoked_words", one.owner, one.word) for _, one in offers))
        ended |= {row.digest for row, one in offers if words["revoked_words", one.owner, one.word] >> one.bit & 1}
        with self._guard:
            if len(self._ended) > _REMEMBERED:
                self._ended.clear()
            self._ended |= ended
        return [row for row, _ in offers if row.digest not in ended]

    def _ask(self, head: bytes, questions: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], int]:
        """What the ConsentToken says to each of these at this head, and to what was asked at it before."""
        with self._guard:
            if self._head != head:
                self._head, self._said = head, {}
            said = self._said
        new = [question for question in dict.fromkeys(questions) if question not in said]
        if new:
            token = self._world.market.token
            with ThreadPoolExecutor(AT_ONCE) as pool:
                answers = pool.map(lambda question: int(token.read(*question, block=head)), new)
                said.update(zip(new, answers, strict=True))
        return said
