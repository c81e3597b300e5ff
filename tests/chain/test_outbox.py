"""Both outboxes keep what they are given, once per key and nonce, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from allod import schema
from consent.chain.account import Account, read_transaction
from consent.chain.outbox import ALIVE, Attempt, Fate, MemoryOutbox, Outbox, Outgoing
from consent.chain.records import DurableOutbox
from core.database import open_engine
from core.errors import InvalidInput
from core.ids import Address

CHAIN, OTHER_CHAIN = b"\1" * 32, b"\2" * 32
SENDER = Account(b"\7" * 32)


@pytest.fixture(params=["memory", "database"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    if request.param == "memory":
        yield MemoryOutbox()
        return
    engine = open_engine(f"sqlite:///{tmp_path / 'allod.db'}")
    schema.upgrade(engine)
    yield DurableOutbox(engine)
    engine.dispose()


def signed(nonce: int, value: int = 1) -> Attempt:
    fields = {"chain_id": 1, "max_priority_fee": 1, "max_fee": 9, "gas": 21_000, "data": b"", "to": Address(bytes(20))}
    return Attempt(SENDER.sign_transaction(nonce=nonce, value=value, **fields), 1_700_000_000.25 + nonce)  # type: ignore[arg-type]


def outgoing(nonce: int, key: str | None = None, chain: bytes = CHAIN) -> Outgoing:
    return Outgoing(chain, SENDER.address, nonce, key, 5, (signed(nonce),))


def test_what_is_kept_comes_back_as_it_was(outbox: Outbox) -> None:
    kept = outbox.add(outgoing(3, "confirm"))
    assert kept is not None
    assert replace(kept, number=0) == outgoing(3, "confirm")
    assert outbox.get(kept.number) == kept
    assert outbox.find(CHAIN, "confirm") == kept
    assert kept.newest.transaction.nonce == 3
    assert (outbox.find(CHAIN, "settle"), outbox.find(OTHER_CHAIN, "confirm")) == (None, None)


def test_a_key_and_a_nonce_are_taken_once_per_chain(outbox: Outbox) -> None:
    assert outbox.add(outgoing(3, "confirm")) is not None
    assert outbox.add(outgoing(4, "confirm")) is None
    assert outbox.add(outgoing(3, "settle")) is None
    assert outbox.add(outgoing(3, "confirm", OTHER_CHAIN)) is not None  # the same bytes, on another development chain
    assert outbox.add(outgoing(4)) is not None
    assert outbox.add(outgoing(5)) is not None
    other = replace(outgoing(3), sender=Address(b"\x09" * 20))
    assert outbox.add(other) is not None
    assert [one.nonce for one in outbox.between(CHAIN, SENDER.address, 4, 9)] == [4, 5]
    assert outbox.last_nonce(CHAIN, SENDER.address) == 5
    assert outbox.last_nonce(OTHER_CHAIN, Address(b"\x09" * 20)) is None


def test_a_replacement_keeps_what_it_replaces(outbox: Outbox) -> None:
    kept = outbox.add(outgoing(3))
    assert kept is not None
    for _ in range(2):
        outbox.attempt(kept.number, signed(3, value=2))
    found = outbox.get(kept.number)
    assert found is not None
    assert found.attempts == (signed(3), signed(3, value=2))


def test_moving_is_for_whoever_is_first(outbox: Outbox) -> None:
    kept, blocking = outbox.add(outgoing(3, "confirm")), outbox.add(outgoing(4))
    assert kept is not None
    assert blocking is not None
    assert not outbox.move(kept.number, 3, 4, signed(4, value=2))
    assert outbox.move(kept.number, 3, 5, signed(5))
    assert not outbox.move(kept.number, 3, 6, signed(6))
    found = outbox.find(CHAIN, "confirm")
    assert found is not None
    assert (found.nonce, found.hashes) == (5, [signed(3).tx_hash, signed(5).tx_hash])


@pytest.mark.parametrize("fate", list(Fate))
def test_only_what_did_not_come_to_be_gives_its_key_back(outbox: Outbox, fate: Fate) -> None:
    kept = outbox.add(outgoing(3, "confirm"))
    assert kept is not None
    assert not outbox.mark(kept.number, 4, fate)  # of a nonce that it has no more
    assert outbox.mark(kept.number, 3, fate)
    found = outbox.find(CHAIN, "confirm")
    if fate in ALIVE:
        assert found == replace(kept, fate=fate)
    else:
        assert found is None
        assert not outbox.mark(kept.number, 3, Fate.SENT)  # the dead stay dead
        assert not outbox.move(kept.number, 3, 7, signed(7))
        assert outbox.add(outgoing(4, "confirm")) is not None
    assert outbox.add(outgoing(3)) is None  # its nonce stays its own


def test_what_was_never_taken_leaves_no_trace(outbox: Outbox) -> None:
    kept = outbox.add(outgoing(3, "confirm"))
    assert kept is not None
    outbox.remove(kept.number)
    assert outbox.get(kept.number) is None
    assert outbox.add(outgoing(3, "confirm")) is not None


def test_many_threads_share_out_the_nonces(outbox: Outbox) -> None:
    won: list[int] = []

    def take(mark: Callable[[int], None]) -> None:
        nonce = 0
        while outbox.add(outgoing(nonce)) is None:
            nonce += 1
        mark(nonce)

    threads = [threading.Thread(target=take, args=(won.append,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(8))


def test_other_bytes_are_no_transaction() -> None:
    raw = signed(3).raw
    assert read_transaction(raw).value == 1
    for broken in (b"", b"\2", raw[1:], raw[:-1], raw + b"\0", b"\1" + raw[1:], b"\2\xc0"):
        with pytest.raises(InvalidInput):
            read_transaction(broken)
