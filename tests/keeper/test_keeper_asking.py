"""Several keepers are asked at once: slow ones are hedged, those away are waited for, and the cheapest q settle."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from consent.keeper.asking import Patience, ask_all, ask_some
from consent.keeper.client import (
    NO_STATEMENT,
    Closing,
    close_job,
    collect_settlement,
    deposit_tree,
    release,
    revoke_everywhere,
)
from consent.keeper.revocation import RevokeAll
from consent.market.paying import settle
from consent.market.place import Market, Relayer
from consent.tree import FEE, Leaf, SumTree
from core.encoding import decode_cbor, encode_cbor
from core.errors import Refused, Unavailable
from core.ids import Address, ConsentId

LONG = 60.0
QUICK = Patience(hedge=0.05, answer=LONG)


class Stalled:
    """A port that answers nothing until it is let go."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.go_on = threading.Event()
        self.asked = threading.Event()

    def call(self, path: str, body: bytes) -> bytes:
        self.asked.set()
        assert self.go_on.wait(LONG)
        return bytes(self._port.call(path, body))


class Away:
    """A port that leads nowhere the first `times` times."""

    def __init__(self, port: Any, times: int) -> None:
        self._port, self.left = port, times

    def call(self, path: str, body: bytes) -> bytes:
        if self.left:
            self.left -= 1
            raise Unavailable("The keeper does not answer.")
        return bytes(self._port.call(path, body))


def ask(world: Any, ports: Any, patience: Patience = QUICK) -> Any:
    token = world.place.consent_token
    return release(ports, world.committee, token, world.request(), world.runner, world.check(), patience=patience)


def test_a_slow_keeper_gets_a_stand_in_and_is_neither_waited_for_nor_a_liar(world: Any) -> None:
    stalled = Stalled(world.ports[1])
    found = ask(world, {**world.ports, 1: stalled})
    assert [receipt.keeper for receipt in found.receipts] == [2, 3]
    assert (found.liars, found.missing) == (set(), [])
    assert all([keeper for keeper, _ in shares] == [2, 3] for shares in found.shares.values())
    stalled.go_on.set()


def test_all_keepers_are_asked_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def question(index: int, port: Any) -> int:
        meeting.wait(LONG)
        return index

    ports: Any = dict.fromkeys((1, 2, 3))
    assert ask_all(ports, question, enough=3, patience=Patience()).given == {1: 1, 2: 2, 3: 3}


def test_no_more_than_enough_are_asked_where_none_is_slow() -> None:
    asked = []

    def question(index: int, port: Any) -> int:
        asked.append(index)
        return index

    ports: Any = dict.fromkeys((1, 2, 3, 4, 5))
    found = ask_some(ports, [5, 1, 2, 3, 4], question, enough=3, patience=Patience(hedge=LONG))
    assert sorted(asked) == sorted(found.given) == [1, 2, 5]


def test_each_failure_brings_in_the_next(world: Any) -> None:
    def question(index: int, port: Any) -> int:
        if index < 4:
            raise Refused(f"no {index}")
        return index

    ports: Any = dict.fromkeys(range(1, 6))
    found = ask_some(ports, sorted(ports), question, enough=2, patience=Patience(hedge=LONG))
    assert sorted(found.given) == [4, 5]
    assert found.reasons == {1: "no 1", 2: "no 2", 3: "no 3"}


def test_one_that_never_answers_counts_as_silent() -> None:
    go_on = threading.Event()

    def question(index: int, port: Any) -> int:
        assert index != 2 or go_on.wait(LONG)
        return index

    ports: Any = dict.fromkeys((1, 2))
    found = ask_all(ports, question, enough=2, patience=Patience(hedge=0.05, answer=3))
    assert sorted(found.given) == [1]
    assert "did not answer within 3 seconds" in found.reasons[2]
    found = ask_some(ports, [1, 2], question, enough=2, patience=Patience(hedge=0.05, answer=3))
    assert (sorted(found.given), sorted(found.errors)) == ([1], [2])
    go_on.set()


def test_once_enough_have_answered_the_others_get_a_moment_only() -> None:
    go_on = threading.Event()

    def question(index: int, port: Any) -> int:
        assert index != 2 or go_on.wait(LONG)
        return index

    ports: Any = dict.fromkeys((1, 2, 3))
    start = time.monotonic()
    found = ask_all(ports, question, enough=2, patience=Patience(hedge=0.05, answer=LONG))
    assert (sorted(found.given), sorted(found.errors)) == ([1, 3], [2])
    assert time.monotonic() - start < LONG
    go_on.set()


def test_a_programming_error_is_not_taken_for_a_silent_keeper() -> None:
    def question(index: int, port: Any) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_all({1: None}, question, enough=1, patience=QUICK)  # type: ignore[dict-item]


def test_a_committee_that_is_away_for_a_while_is_waited_for(world: Any) -> None:
    patience = Patience(hedge=LONG, away=LONG, pause=0.01)
    ports = {index: Away(port, 3) for index, port in world.ports.items()}
    found = ask(world, ports, patience)
    assert len(found.receipts) == 2
    assert found.missing == []
    ports = {index: Away(port, 3) for index, port in world.ports.items()}
    assert deposit_tree(ports, world.order, world.tree, enough=3, patience=patience) == {}


def test_a_committee_that_stays_away_costs_no_more_than_the_patience(world: Any) -> None:
    ports = {index: Away(port, 10**9) for index, port in world.ports.items()}
    with pytest.raises(Unavailable, match="does not answer"):
        ask(world, ports, Patience(away=3, pause=0.01))
    assert all(port.left < 10**9 - 1 for port in list(ports.values())[:2])


def test_a_refusal_is_not_asked_for_again(world: Any) -> None:
    calls = []

    def question(index: int, port: Any) -> int:
        calls.append(index)
        raise Refused("no")

    ports: Any = dict.fromkeys((1, 2, 3))
    ask_all(ports, question, enough=3, patience=Patience(away=LONG, pause=0.01))
    assert sorted(calls) == [1, 2, 3]


def test_a_revocation_reaches_the_others_beside_one_that_stalls(world: Any) -> None:
    owner, place = world.datasets["ada"].owner, (world.place.chain_id, world.place.consent_token)
    message = RevokeAll(owner.address, 0)
    signature = owner.sign_hash(message.digest(*place))
    stalled = Stalled(world.ports[1])
    done = revoke_everywhere({**world.ports, 1: stalled}, world.committee, *place, message, signature, patience=QUICK)
    assert (done.stored, done.certain) == ((2, 3), True)
    assert stalled.asked.is_set()
    stalled.go_on.set()


# -- the cheapest q ---------------------------------------------------------------------------------------------------


def consent(number: int) -> ConsentId:
    return ConsentId(bytes([number]) * 32)


def closing(claims: dict[int, set[int]], q: int) -> Closing:
    released = {index: frozenset(map(consent, numbers)) for index, numbers in claims.items()}
    return Closing(released, {index: {} for index in claims}, {}, q)


OPENING = SumTree(
    [
        *(Leaf(consent(number), Address(bytes([number]) * 20), 100 * number) for number in (1, 2, 3)),
        Leaf(FEE, Address(b"\x09" * 20), 50),
    ]
)


def amounts(tree: SumTree) -> list[int]:
    return [leaf.amount for leaf in tree.leaves]


def test_one_keeper_that_claims_everything_keeps_no_refund_from_the_payer() -> None:
    said = {1: {1}, 2: {1}, 3: {1, 2, 3}, 4: {1}, 5: set[int]()}
    assert amounts(closing(said, 4).lowest(OPENING, {}, keep_fee=True)) == [100, 0, 0, 50]
    assert amounts(closing(said, 5).lowest(OPENING, {}, keep_fee=True)) == [100, 200, 300, 50]
    assert amounts(closing(said, 0).lowest(OPENING, {}, keep_fee=True)) == [100, 200, 300, 50]


def test_what_any_q_must_respect_stays() -> None:
    """Keys that t = 2 of 5 released: with q = 4 no choice leaves both out."""
    said = {1: {1, 2}, 2: {2}, 3: set[int](), 4: set[int](), 5: set[int]()}
    assert amounts(closing(said, 4).lowest(OPENING, {}, keep_fee=False)) == [0, 200, 0, 0]


def test_the_payers_fee_falls_only_if_none_of_the_chosen_released() -> None:
    nothing = {1: set[int](), 2: set[int](), 3: {1}}
    assert amounts(closing(nothing, 2).lowest(OPENING, {}, keep_fee=None)) == [0, 0, 0, 0]
    assert amounts(closing(nothing, 3).lowest(OPENING, {}, keep_fee=None)) == [100, 0, 0, 50]


def test_the_choice_is_the_smallest_of_all_by_trying_them_all() -> None:
    import random
    from itertools import combinations

    dice = random.Random(5)
    for _ in range(100):
        n = dice.randint(1, 6)
        said = {index: {number for number in (1, 2, 3) if dice.random() < 0.5} for index in range(1, n + 1)}
        q = dice.randint(1, n)
        fee = dice.choice([True, False, None])
        chosen = closing(said, q).lowest(OPENING, {}, keep_fee=fee)
        every = [
            closing({index: said[index] for index in some}, 0).lowest(OPENING, {}, keep_fee=fee).total
            for some in combinations(said, q)
        ]
        assert chosen.total == min(every)


def test_ledger_totals_count_in_the_choice(world: Any) -> None:
    terms = {world.consent_id(): world.datasets["ada"].terms}
    ada = frozenset([world.consent_id()])
    released = dict.fromkeys((1, 2, 3, 4), ada)
    totals = {1: {world.consent_id(): 40}, 2: {world.consent_id(): 40}, 3: {}, 4: {world.consent_id(): 2**63}}
    low = Closing(released, totals, {}, 2).lowest(world.tree, terms, keep_fee=True)
    assert amounts(low) == [1_200, 0, 0, 250]
    assert amounts(Closing(released, totals, {}, 3).lowest(world.tree, terms, keep_fee=True))[0] == 1_600


def test_a_large_committee_with_a_liar_is_chosen_from_in_a_blink() -> None:
    leaves = [
        Leaf(ConsentId(number.to_bytes(32, "big")), Address(b"\x01" * 20), 1 + number) for number in range(1, 3000)
    ]
    opening = SumTree(leaves)
    said = {index: frozenset({leaves[0].consent_id}) for index in range(1, 17)}
    said[16] = frozenset(leaf.consent_id for leaf in leaves)
    said[15] = frozenset(leaf.consent_id for leaf in leaves[::2])
    start = time.monotonic()
    tree = Closing(said, {index: {} for index in said}, {}, 9).lowest(opening, {}, keep_fee=False)
    assert tree.total == leaves[0].amount
    assert time.monotonic() - start < LONG


def test_the_chain_takes_the_refund_that_one_liar_would_have_kept(world: Any) -> None:
    """2 of 3 with q = 2: keeper 3 claims that it released everything, and will not sign; the others do."""
    from dataclasses import replace

    from consent.keeper.founding import sign_committee
    from consent.keeper.keys import KeeperKeys

    keys = [KeeperKeys.open(world.folder / str(index)) for index in (1, 2, 3)]
    loose = replace(world.committee, q=2, signatures=())
    loose = loose.signed([sign_committee(key, loose) for key in keys])
    for keeper in world.keepers:
        keeper.join(loose)
    order = world.open_job(world.tree, lane=1, q=2)
    for keeper in world.keepers:
        keeper_port_deposit(keeper, order, world.tree)

    class Liar:
        def call(self, path: str, body: bytes) -> bytes:
            reply = decode_cbor(world.ports[3].call(path, body))
            if "released" in reply:
                reply["released"] = sorted(world.consent_id(name) for name in world.datasets)
            else:
                raise Unavailable("I sign nothing.")
            return encode_cbor(reply)

    ports = {**world.ports, 3: Liar()}
    said = close_job(ports, order, world.trainer)
    final = said.lowest(world.tree, {}, keep_fee=None)
    assert final.total == 0
    signatures = collect_settlement(ports, loose, order, final, NO_STATEMENT, world.trainer)
    market = Market(world.chain, world.place)
    by_address = {loose.addresses[index - 1]: signature for index, signature in signatures.items()}
    before = market.escrow.read("deposits", world.trainer.address)
    settle(market, Relayer(world.chain, world.stranger), order, final.root, NO_STATEMENT, by_address)
    assert market.escrow.read("deposits", world.trainer.address) - before == world.tree.total


def keeper_port_deposit(keeper: Any, order: Any, tree: SumTree) -> None:
    from consent.keeper.trees import write_deposit
    from consent.keeper.wire import read_reply

    read_reply(keeper.handle("tree", write_deposit(order, tree)), ("job",), "The reply")
