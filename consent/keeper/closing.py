"""What keepers said when they closed a job, and the smallest final tree that q of them will sign.

Nothing obliges a payer or a runner to believe every keeper: q signatures settle, so one keeper that claims more than
the others saw is left out. Owners lose nothing by it: q ≥ n − t + 1, so of a key that t keepers released one at least
is among any q.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, NamedTuple

from consent.fields import UINT64_MAX, exact_list, integer, octets
from consent.keeper.asking import Reasons
from consent.terms import Terms, price
from consent.tree import FEE, MAX_LEAVES, Leaf, SumTree
from core.errors import InvalidInput
from core.ids import ConsentId

_MOST_SUMS = 2_000_000  # so many are tried exactly; only a large committee with a liar asks for more


class Closed(NamedTuple):
    """One keeper's answer: consents of which it released a share, and the ledger totals it holds."""

    released: frozenset[ConsentId]
    ledgers: dict[ConsentId, int]


def read_closed(reply: Mapping[str, Any]) -> Closed:
    """The answer in a keeper's reply, else `InvalidInput`."""
    ids = exact_list(reply["released"], "The released consents", at_most=MAX_LEAVES)
    ledgers = {}
    for row in exact_list(reply["ledgers"], "The ledger totals", at_most=MAX_LEAVES):
        consent_id, total = exact_list(row, "A ledger total", at_least=2, at_most=2)
        ledgers[ConsentId(octets(consent_id, "A consent", 32))] = integer(total, "A total", at_most=UINT64_MAX)
    return Closed(frozenset(ConsentId(octets(item, "A consent", 32)) for item in ids), ledgers)


@dataclass(frozen=True)
class Closing:
    """What keepers said when they closed a job, by index: consents released, ledger totals held; and who did not.

    `q` is how many of them settle; 0 means all that answered.
    """

    released: Mapping[int, frozenset[ConsentId]]
    ledgers: Mapping[int, Mapping[ConsentId, int]]
    reasons: Reasons
    q: int = 0

    def lowest(self, opening: SumTree, terms: Mapping[ConsentId, Terms], *, keep_fee: bool | None) -> SumTree:
        """The smallest final tree that q of the keepers that answered will sign.

        A leaf falls to zero where none of them released a share; to its ledger total where every one that did released
        holds one (`terms` of those consents are needed). The fee falls if `keep_fee` is false, or, where it is None
        (the payer proposes), if none of them released anything.
        """
        chosen = self._cheapest(opening, terms, keep_fee)
        return opening.lowered({leaf.consent_id: self._owed(leaf, chosen, terms, keep_fee) for leaf in opening.leaves})

    def _cheapest(self, opening: SumTree, terms: Mapping[ConsentId, Terms], keep_fee: bool | None) -> tuple[int, ...]:
        """The q keepers whose demands add up to least; of equal ones the first."""
        keepers = tuple(sorted(self.released))
        if not 0 < self.q < len(keepers):
            return keepers
        demands: dict[tuple[int, ...], int] = {}
        for leaf in opening.leaves:
            row = tuple(self._owed(leaf, (keeper,), terms, keep_fee) for keeper in keepers)
            if len(set(row)) == 1:
                continue  # whoever is chosen demands the same
            least = max(row)
            shape = tuple(1 if amount == least else 0 for amount in row) if set(row) == {0, least} else row
            demands[shape] = demands.get(shape, 0) + (least if shape is not row else 1)
        rows = list(demands.items())
        places = range(len(keepers))

        def total(some: Sequence[int]) -> int:
            return sum(weight * max(shape[place] for place in some) for shape, weight in rows)

        if comb(len(keepers), self.q) * len(rows) <= _MOST_SUMS:
            best: Sequence[int] = min(combinations(places, self.q), key=total)
        else:
            best = list(places)
            while len(best) > self.q:
                best = min(([one for one in best if one != left] for left in best), key=total)
        return tuple(keepers[place] for place in best)

    def _owed(self, leaf: Leaf, keepers: Iterable[int], terms: Mapping[ConsentId, Terms], keep_fee: bool | None) -> int:
        """What these keepers together demand for a leaf."""
        if leaf.consent_id == FEE:
            kept = any(self.released[keeper] for keeper in keepers) if keep_fee is None else keep_fee
            return leaf.amount if kept else 0
        demands = [self._demand(leaf, keeper, terms) for keeper in keepers]
        return max(demands, default=0)

    def _demand(self, leaf: Leaf, keeper: int, terms: Mapping[ConsentId, Terms]) -> int:
        if leaf.consent_id not in self.released[keeper]:
            return 0
        total = self.ledgers[keeper].get(leaf.consent_id)
        if total is None or leaf.consent_id not in terms:
            return leaf.amount
        try:
            return min(leaf.amount, price(terms[leaf.consent_id], total))
        except InvalidInput:  # no keeper takes a total beyond its leaf: one that says so lies, and nobody loses by it
            return leaf.amount
