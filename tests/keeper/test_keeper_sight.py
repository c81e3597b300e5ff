"""A keeper decides by what the chain says now, and refuses when the chain stalls, lies, splits or is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from consent.chain.client import Block, Chain
from consent.keeper.client import read_log
from consent.keeper.node import Keeper
from core.errors import AllodError, Unavailable


class Endpoint(Chain):
    """An endpoint that behaves as told: each hook may replace one answer of the true chain."""

    def __init__(self, true: Chain, **hooks: Callable[..., Any]) -> None:
        super().__init__(true._provider)
        self._true = true
        self._hooks = hooks

    def block(self, which: Any = "latest") -> Block:
        hook = self._hooks.get("block")
        return hook(which) if hook else self._true.block(which)

    def call(self, to: Any, data: bytes, block: Any = "latest", **options: Any) -> bytes:
        hook = self._hooks.get("call")
        return hook(to, data, block) if hook else self._true.call(to, data, block, **options)

    def mine(self) -> Block:
        hook = self._hooks.get("mine")
        return hook() if hook else self._true.mine()


def see_through(world: Any, *chains: Chain) -> None:
    """Keeper 1 with other endpoints."""
    world.keepers[0].close()
    world.keepers[0] = Keeper(world.folder / "1", list(chains), world.place, clock=world.clock)


def refuses(world: Any, words: str) -> None:
    with pytest.raises(Unavailable) as caught:
        world.ask(world.request())
    assert words in caught.value.message
    assert not [entry for entry in read_log(world.ports[1]) if entry.kind == "release"]


def aged(world: Any, seconds: int) -> Callable[[Any], Block]:
    def block(which: Any) -> Block:
        true = world.chain.block(which)
        return replace(true, timestamp=true.timestamp - seconds)

    return block


def test_a_stalled_endpoint_is_no_sight(world: Any) -> None:
    see_through(world, Endpoint(world.chain, block=aged(world, 200)))
    refuses(world, "seconds old")


def test_a_development_chain_mines_before_it_is_called_stale(world: Any) -> None:
    asleep = [True]

    def block(which: Any) -> Block:
        return aged(world, 200)(which) if asleep[0] else world.chain.block(which)

    def mine() -> Block:
        asleep[0] = False
        return world.chain.mine()

    height = world.chain.block().number
    see_through(world, Endpoint(world.chain, block=block, mine=mine))
    assert world.ask(world.request())["shares"]
    assert world.chain.block().number == height + 1


def test_a_silent_endpoint_is_a_refusal(world: Any) -> None:
    def silent(*_: Any) -> Any:
        raise Unavailable("no answer")

    see_through(world, Endpoint(world.chain, block=silent))
    refuses(world, "does not answer this keeper")
    see_through(world, Endpoint(world.chain, call=silent))
    refuses(world, "does not answer this keeper")


def test_endpoints_that_answer_differently_are_a_refusal(world: Any) -> None:
    def lie(to: Any, data: bytes, block: Any) -> bytes:
        true = world.chain.call(to, data, block)
        return bytes(31) + b"\1" if true == bytes(32) else true

    see_through(world, world.chain, Endpoint(world.chain, call=lie))
    refuses(world, "views of the chain disagree")


def test_endpoints_on_two_forks_are_a_refusal(world: Any) -> None:
    def fork(which: Any) -> Block:
        return replace(world.chain.block(which), hash=bytes(32))

    see_through(world, world.chain, Endpoint(world.chain, block=fork))
    refuses(world, "views of the chain disagree")


def test_endpoints_one_block_apart_decide_by_the_block_both_have(world: Any) -> None:
    def behind(which: Any) -> Block:
        newest = world.chain.block()
        return world.chain.block(newest.number - 1) if which in ("latest", "safe") else world.chain.block(which)

    world.chain.mine()
    see_through(world, world.chain, Endpoint(world.chain, block=behind))
    reply = world.ask(world.request())
    assert reply["receipt"]["latest"] == world.chain.block(world.chain.block().number - 1).hash


def test_a_consent_that_is_revoked_at_latest_but_not_yet_at_safe_is_refused(world: Any) -> None:
    before = world.chain.block()

    def lagging(which: Any) -> Block:
        return before if which == "safe" else world.chain.block(which)

    see_through(world, Endpoint(world.chain, block=lagging))
    assert world.ask(world.request())["receipt"]["safe"] == before.hash
    ada = world.datasets["ada"]
    from consent.typed import revoke_all_digest

    digest = revoke_all_digest(world.place.chain_id, world.place.consent_token, ada.owner.address, 0)
    args = (ada.owner.address, 0, ada.owner.sign_hash(digest))
    world.transact(world.stranger, "consent_token", "revoke_all_by_sig", *args)
    with pytest.raises(AllodError, match="revoked all consents"):
        world.ask(world.request())


def test_a_job_or_consent_that_no_safe_block_has_is_refused(world: Any) -> None:
    early = world.chain.block()

    def lagging(which: Any) -> Block:
        return early if which == "safe" else world.chain.block(which)

    order = world.open_job(world.tree, lane=1)
    world.hand_in(order)
    see_through(world, Endpoint(world.chain, block=lagging))
    with pytest.raises(AllodError, match="in no safe block yet"):
        world.ask(world.request(order=order))


def test_an_endpoint_without_the_contracts_is_a_refusal(world: Any) -> None:
    see_through(world, Endpoint(world.chain, call=lambda *_: b""))
    refuses(world, "do not fit the contract's interface")


def counted(world: Any) -> tuple[list[bytes], list[Any]]:
    """Keeper 1 through an endpoint that notes the blocks of contract calls, and which blocks were asked for."""
    calls: list[bytes] = []
    looks: list[Any] = []

    def call(to: Any, data: bytes, block: Any) -> bytes:
        calls.append(block)
        return world.chain.call(to, data, block)  # type: ignore[no-any-return]

    def block(which: Any) -> Block:
        looks.append(which)
        return world.chain.block(which)  # type: ignore[no-any-return]

    see_through(world, Endpoint(world.chain, call=call, block=block))
    return calls, looks


def test_what_is_known_of_a_block_is_not_asked_again_but_which_block_it_is_always_is(world: Any) -> None:
    calls, looks = counted(world)
    for _ in range(3):
        world.ask(world.request())
    assert looks == ["safe", "latest"] * 3
    assert len(calls) == len(set(calls)) * 2  # the lane and the token, once for each block
    first = world.chain.block().hash
    assert set(calls) == {first}
    world.ask(world.request("bob"))
    assert len(calls) == 3  # another token, the same lane


def test_a_new_block_is_asked_about_at_once(world: Any) -> None:
    calls, _ = counted(world)
    world.ask(world.request())
    world.transact(world.trainer, "consent_token", "surrender", [world.datasets["ada"].consent.as_tuple()])
    with pytest.raises(AllodError, match="gave it back"):
        world.ask(world.request())
    assert world.chain.block().hash in calls


def test_code_that_others_wrote_is_asked_every_time(world: Any) -> None:
    from consent.keeper.sight import Watch

    asked = []

    class Counting(Endpoint):
        def call(self, to: Any, data: bytes, block: Any = "latest", **options: Any) -> bytes:
            asked.append(options)
            return b""

    watch = Watch([Counting(world.chain)], world.clock)
    block = world.chain.block()
    for _ in range(2):
        watch.call(world.place.escrow, b"wallet", block, gas=1000)
        watch.call(world.place.escrow, b"ours", block)
        watch.call(world.place.escrow, bytes(5000), block)
    assert len(asked) == 2 + 1 + 2


def test_what_is_known_is_bounded(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from consent.keeper import sight

    monkeypatch.setattr(sight, "_MOST_KNOWN", 3)
    watch = sight.Watch([Endpoint(world.chain, call=lambda *_: b"")], world.clock)
    for number in range(9):
        watch.call(world.place.escrow, bytes([number]), world.chain.block())
    assert len(watch._known) == 3
