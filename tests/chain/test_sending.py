"""One effect, whatever the node forgets, the process loses or the miners leave lying."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from allod import schema
from allod.nodes import AnvilNode
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import EmbeddedChain
from consent.chain.jsonrpc import SERVER_ERROR, EmbeddedProvider, Provider, RpcError
from consent.chain.outbox import Fate, MemoryOutbox, Outbox
from consent.chain.records import DurableOutbox
from consent.chain.sending import Sending
from core.database import open_engine
from core.errors import AllodError, Refused, Unavailable
from core.ids import Address
from tests.chain.conftest import Compiled
from tests.real import running_anvil

PAYEE, SINK = Address(b"\xab" * 20), Address(b"\xcd" * 20)


class Crash(BaseException):
    """The process dies here."""


class Faulty:
    """A provider in front of another; `rule(method, params, ask)` answers in its place."""

    def __init__(self, true: Provider) -> None:
        self._true = true
        self.rule: Callable[[str, Any, Callable[[], Any]], Any] = lambda method, params, ask: ask()
        self.sent: list[str] = []

    def request(self, method: str, params: Any) -> Any:
        if method == "eth_sendRawTransaction":
            self.sent.append(params[0])
        return self.rule(method, params, lambda: self._true.request(method, params))

    def close(self) -> None:
        self._true.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[DurableOutbox]:
    engine = open_engine(f"sqlite:///{tmp_path / 'allod.db'}")
    schema.upgrade(engine)
    yield DurableOutbox(engine)
    engine.dispose()


@pytest.fixture
def faulty(embedded: EmbeddedChain) -> Faulty:
    return Faulty(EmbeddedProvider(embedded, owned=False))


def process(provider: Provider, outbox: Outbox, **settings: float) -> Chain:
    """A client as a process of its own would have it."""
    chain = Chain(provider)
    chain.sending = Sending(chain, **{"stuck_after": 0.0, "timeout": 60.0, **settings})
    chain.sending.keep_in(lambda: outbox)
    return chain


def dying(when: str, method: str) -> Callable[[str, Any, Callable[[], Any]], Any]:
    def rule(asked: str, params: Any, ask: Callable[[], Any]) -> Any:
        if asked != method:
            return ask()
        if when == "after":
            ask()
        raise Crash

    return rule


@pytest.mark.parametrize(
    ("when", "method"),
    [
        ("before", "eth_sendRawTransaction"),
        ("after", "eth_sendRawTransaction"),
        ("before", "eth_getTransactionReceipt"),
    ],
)
def test_a_crash_anywhere_leaves_one_effect(
    faulty: Faulty, outbox: DurableOutbox, dev: Account, when: str, method: str
) -> None:
    faulty.rule = dying(when, method)
    with pytest.raises(Crash):
        process(faulty, outbox).send(dev, PAYEE, value=5, key="pay")
    del faulty.rule
    faulty.rule = lambda method, params, ask: ask()
    receipts = [process(faulty, outbox).send(dev, PAYEE, value=5, key="pay") for _ in range(3)]
    assert receipts == receipts[:1] * 3
    assert len(set(faulty.sent)) == 1
    assert process(faulty, outbox).balance(PAYEE) == 5


def test_two_keys_are_two_effects_and_no_key_is_always_a_new_one(chain: Chain, dev: Account) -> None:
    for key in ("a", "b", "a", None, None):
        chain.send(dev, PAYEE, value=1, key=key)
    assert chain.balance(PAYEE) == 4


def test_many_processes_and_one_key_are_one_effect(
    embedded: EmbeddedChain, outbox: DurableOutbox, dev: Account
) -> None:
    receipts, failures = [], []

    def send() -> None:
        try:
            one = process(EmbeddedProvider(embedded, owned=False), outbox)
            receipts.append(one.send(dev, PAYEE, value=5, key="pay"))
            one.send(dev, SINK, value=1)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({receipt.tx_hash for receipt in receipts}) == 1
    chain = Chain.embedded(embedded)
    assert (chain.balance(PAYEE), chain.balance(SINK)) == (5, 6)


def test_what_a_process_left_unsent_goes_out_before_the_next(
    faulty: Faulty, outbox: DurableOutbox, dev: Account
) -> None:
    faulty.rule = dying("before", "eth_sendRawTransaction")
    for key in ("one", "two"):
        with pytest.raises(Crash):
            process(faulty, outbox).send(dev, PAYEE, value=5, key=key)
    faulty.rule = lambda method, params, ask: ask()
    chain = process(faulty, outbox)
    chain.send(dev, SINK, value=1)
    assert (chain.balance(PAYEE), chain.balance(SINK), chain.nonce(dev.address)) == (10, 1, 3)


def test_a_clear_no_of_the_node_leaves_nothing_behind(faulty: Faulty, outbox: DurableOutbox, dev: Account) -> None:
    chain = process(faulty, outbox)
    with pytest.raises(Refused, match="cannot pay"):
        chain.send(Account(b"\5" * 32), PAYEE, gas=21_000, key="pay")
    assert outbox.find(chain.block(0).hash, "pay") is None

    def full(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        if method == "eth_sendRawTransaction":
            raise RpcError(SERVER_ERROR, "txpool is full")
        return ask()

    faulty.rule = full
    with pytest.raises(Unavailable, match="txpool is full"):
        chain.send(dev, PAYEE, value=5, key="pay")
    faulty.rule = lambda method, params, ask: ask()
    chain.send(dev, PAYEE, value=5, key="pay")
    assert chain.balance(PAYEE) == 5


@pytest.mark.parametrize("words", ["already known", "transaction already imported", "nonce too low", "internal error"])
def test_an_error_after_it_was_taken_is_no_failure(
    faulty: Faulty, outbox: DurableOutbox, dev: Account, words: str
) -> None:
    def rule(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        found = ask()
        if method == "eth_sendRawTransaction":
            raise RpcError(SERVER_ERROR, words)
        return found

    faulty.rule = rule
    chain = process(faulty, outbox)
    chain.send(dev, PAYEE, value=5)
    assert chain.balance(PAYEE) == 5
    assert len(faulty.sent) == 1


def test_a_node_that_lags_with_receipts_is_no_reason_to_send_again(
    faulty: Faulty, outbox: DurableOutbox, dev: Account
) -> None:
    asked: list[str] = []

    def rule(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        if method == "eth_getTransactionReceipt":
            asked.append(method)
            if len(asked) < 6:
                return None
        return ask()

    faulty.rule = rule
    chain = process(faulty, outbox)
    chain.send(dev, PAYEE, value=5)
    assert chain.balance(PAYEE) == 5
    assert len(faulty.sent) == 1


@pytest.mark.parametrize("moot", [False, True])
def test_what_another_account_left_with_a_lost_nonce_is_taken_over(
    faulty: Faulty, outbox: DurableOutbox, dev: Account, diary: Compiled, moot: bool
) -> None:
    """Two accounts and one key: the first dies before it sends and loses its nonce, the second does the work."""
    other = Account(b"\5" * 32)
    plain = process(faulty, MemoryOutbox())
    plain.send(dev, other.address, value=10**18)
    book = create(plain, dev, diary.abi, diary.bytecode)[0]
    faulty.rule = dying("before", "eth_sendRawTransaction")
    with pytest.raises(Crash):
        process(faulty, outbox).send(dev, book.address, book.encode("write", 5), gas=100_000, key="write")
    faulty.rule = lambda method, params, ask: ask()
    plain.send(dev, SINK, value=1)  # the nonce is gone
    if moot:
        with pytest.raises(Refused, match="seven is refused"):
            process(faulty, outbox).send(other, book.address, book.encode("write", 7), key="write")
    receipt = process(faulty, outbox).send(other, book.address, book.encode("write", 6), key="write")
    assert (receipt.sender, book.read("value")) == (other.address, 6)


def test_what_has_become_moot_is_given_up(faulty: Faulty, outbox: DurableOutbox, dev: Account, diary: Compiled) -> None:
    plain = process(faulty, MemoryOutbox())
    book = create(plain, dev, diary.abi, diary.bytecode)[0]
    faulty.rule = dying("before", "eth_sendRawTransaction")
    with pytest.raises(Crash):
        process(faulty, outbox).send(dev, book.address, book.encode("write", 7), gas=100_000, key="write")
    faulty.rule = lambda method, params, ask: ask()
    plain.send(dev, SINK, value=1)
    with pytest.raises(Refused, match="seven is refused"):
        process(faulty, outbox).send(dev, book.address, book.encode("write", 7), key="write")
    assert plain.nonce(dev.address) == 2
    process(faulty, outbox).send(dev, book.address, book.encode("write", 6), key="write")
    assert book.read("value") == 6


def test_a_reverted_transaction_gives_its_key_back(book: Contract, dev: Account) -> None:
    with pytest.raises(Refused, match="seven is refused"):
        book.transact(dev, "write", 7, gas=100_000, key="write")
    receipt = book.transact(dev, "write", 6, key="write")
    assert book.transact(dev, "write", 5, key="write") == receipt
    assert book.read("value") == 6


def test_an_endpoint_that_loses_the_connection_after_sending_costs_nothing(
    faulty: Faulty, outbox: DurableOutbox, dev: Account
) -> None:
    def rule(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        found = ask()
        if method == "eth_sendRawTransaction":
            faulty.rule = gone
            raise Unavailable("The connection is lost.")
        return found

    def gone(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        raise Unavailable("The connection is lost.")

    faulty.rule = rule
    chain = process(faulty, outbox)
    with pytest.raises(Unavailable) as caught:
        chain.send(dev, PAYEE, value=5, key="pay")
    assert "cannot happen twice" in caught.value.hint
    faulty.rule = lambda method, params, ask: ask()
    chain.send(dev, PAYEE, value=5, key="pay")
    assert chain.balance(PAYEE) == 5
    assert len(faulty.sent) == 1


# -- a node with a pool ------------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AnvilNode]:
    with running_anvil(tmp_path / "anvil") as node:
        yield node


class Background:
    """A send that waits in a thread, and what came of it."""

    def __init__(self, send: Callable[[], Any]) -> None:
        self.outcome: Any = None
        self._send = send
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._send()
        except AllodError as error:
            self.outcome = error

    def mined_on(self, chain: Chain) -> Any:
        """The same, with empty blocks until it comes."""
        until(lambda: bool(chain.mine()) and self.outcome is not None)
        return self.result()

    def result(self) -> Any:
        self._thread.join(120)
        assert not self._thread.is_alive(), "it waits for ever"
        return self.outcome


def until(seen: Callable[[], bool]) -> None:
    """Look again and again until it is so."""
    pause = threading.Event()
    for _ in range(6000):
        with suppress(Unavailable):
            if seen():
                return
        pause.wait(0.01)
    raise AssertionError("it never came to be")


def pooled(chain: Chain) -> int:
    status = chain.request("txpool_status")
    return int(status["pending"], 16) + int(status["queued"], 16)


@pytest.mark.needs_nodes
def test_a_restarted_node_that_forgot_its_pool_is_sent_everything_again(
    node: AnvilNode, outbox: DurableOutbox, dev: Account
) -> None:
    with Chain.http(node.url, patience=60) as base:
        base.request("evm_setAutomine", False)
        one, two = (process(base._provider, outbox, stuck_after=600) for _ in range(2))
        first = Background(lambda: one.send(dev, PAYEE, value=5, key="one"))
        until(lambda: pooled(base) == 1)
        second = Background(lambda: two.send(dev, PAYEE, value=7, key="two"))
        until(lambda: pooled(base) == 2)
        node.stop()
        node.start()  # its pool is empty, and it mines each transaction that comes
        assert (first.result().success, second.result().success) == (True, True)
        assert base.balance(PAYEE) == 12
        assert one.send(dev, PAYEE, value=5, key="one") == first.outcome


@pytest.mark.needs_nodes
@pytest.mark.parametrize("again", ["in the same process", "after a crash"])
def test_what_its_price_keeps_waiting_is_replaced(
    node: AnvilNode, outbox: DurableOutbox, dev: Account, again: str
) -> None:
    with Chain.http(node.url) as base:
        base.request("evm_setAutomine", False)
        chain = process(base._provider, outbox, stuck_after=0.3)
        genesis = base.block(0).hash
        if again == "after a crash":
            hasty = process(base._provider, outbox, stuck_after=600, timeout=0.1)
            with pytest.raises(Unavailable, match="no block has it yet"):
                hasty.send(dev, PAYEE, value=5, key="pay")
        sending = Background(lambda: chain.send(dev, PAYEE, value=5, key="pay"))
        until(lambda: pooled(base) == 1)
        (cheap,) = outbox.between(genesis, dev.address, 0, 9)
        base.request("anvil_setNextBlockBaseFeePerGas", hex(cheap.newest.transaction.max_fee * 3))
        base.mine()
        assert base.receipt(cheap.newest.tx_hash) is None  # it cannot pay for this block
        until(lambda: len(outbox.between(genesis, dev.address, 0, 9)[0].attempts) > 1)
        until(lambda: base.knows(outbox.between(genesis, dev.address, 0, 9)[0].newest.tx_hash))
        receipt = sending.mined_on(base)
        (dear,) = outbox.between(genesis, dev.address, 0, 9)
        assert (receipt.success, dear.fate, dear.attempts[0]) == (True, Fate.MINED, cheap.newest)
        assert receipt.tx_hash in dear.hashes[1:]
        for old, new in zip(dear.attempts, dear.attempts[1:], strict=False):
            assert new.transaction.nonce == old.transaction.nonce
            assert new.transaction.max_fee >= old.transaction.max_fee * 1.1
            assert new.transaction.max_priority_fee >= old.transaction.max_priority_fee * 1.1
        assert base.balance(PAYEE) == 5


@pytest.mark.needs_nodes
def test_a_price_that_is_good_is_not_raised_however_long_no_block_comes(
    node: AnvilNode, outbox: DurableOutbox, dev: Account
) -> None:
    with Chain.http(node.url) as base:
        base.request("evm_setAutomine", False)
        with pytest.raises(Unavailable, match="no block has it yet"):
            process(base._provider, outbox, timeout=2.5).send(dev, PAYEE, value=5, key="pay")
        (kept,) = outbox.between(base.block(0).hash, dev.address, 0, 9)
        assert len(kept.attempts) == 1
        base.mine()
        process(base._provider, outbox).send(dev, PAYEE, value=5, key="pay")
        assert base.balance(PAYEE) == 5


@pytest.mark.needs_nodes
def test_a_nonce_that_nobody_uses_any_more_is_filled(node: AnvilNode, outbox: DurableOutbox, dev: Account) -> None:
    with Chain.http(node.url) as base:
        base.request("evm_setAutomine", False)
        foreign = base.prepare(dev, SINK, value=99)
        base.submit_raw(foreign.raw)
        sending = Background(lambda: process(base._provider, outbox, stuck_after=0.3).send(dev, PAYEE, value=5))
        until(lambda: pooled(base) == 2)
        base.request("anvil_dropTransaction", "0x" + foreign.tx_hash.hex())
        base.request("evm_setAutomine", True)
        assert sending.mined_on(base).success
        assert (base.balance(PAYEE), base.balance(SINK), base.nonce(dev.address)) == (5, 0, 2)


@pytest.mark.needs_nodes
def test_a_nonce_that_another_program_wins_is_given_up_for_a_new_one(
    node: AnvilNode, outbox: DurableOutbox, dev: Account
) -> None:
    with Chain.http(node.url) as base:
        base.request("evm_setAutomine", False)
        sending = Background(lambda: process(base._provider, outbox).send(dev, PAYEE, value=5, key="pay"))
        until(lambda: pooled(base) == 1)
        (kept,) = outbox.between(base.block(0).hash, dev.address, 0, 9)
        base.request("anvil_dropTransaction", "0x" + kept.newest.tx_hash.hex())
        dearer = dev.sign_transaction(
            **kept.newest.transaction._replace(to=SINK, value=99, max_fee=10**12, max_priority_fee=10**11)._asdict()
        )
        with suppress(AllodError):  # our own may be back in the pool: it is outbid then
            base.submit_raw(dearer)
        base.request("evm_setAutomine", True)
        assert sending.mined_on(base).success
        assert (base.balance(PAYEE), base.balance(SINK), base.nonce(dev.address)) == (5, 99, 2)
        moved = outbox.find(base.block(0).hash, "pay")
        assert moved is not None
        assert moved.nonce == 1
        assert len(moved.attempts) >= 2


@pytest.mark.needs_nodes
def test_a_mined_transaction_that_a_reorganisation_undid_is_sent_again(
    node: AnvilNode, outbox: DurableOutbox, dev: Account
) -> None:
    with Chain.http(node.url) as base:
        chain = process(base._provider, outbox)
        before = base.request("evm_snapshot")
        first = [chain.send(dev, PAYEE, value=value, key=str(value)) for value in (5, 6)]
        assert base.request("evm_revert", before)
        assert base.balance(PAYEE) == 0
        again = chain.send(dev, PAYEE, value=6, key="6")  # and with it the one before it
        assert again.tx_hash == first[1].tx_hash
        assert base.balance(PAYEE) == 11
        head = base.block()
        base.request("anvil_reorg", 2, [])
        assert base.block(head.number).hash != head.hash
        assert base.balance(PAYEE) == 0
        chain.send(dev, SINK, value=1)
        assert (base.balance(PAYEE), base.balance(SINK), base.nonce(dev.address)) == (11, 1, 3)


@pytest.mark.needs_nodes
def test_what_was_refused_in_an_undone_block_is_not_tried_again(
    node: AnvilNode, outbox: DurableOutbox, dev: Account
) -> None:
    with Chain.http(node.url) as base:
        chain = process(base._provider, outbox, stuck_after=0.3)
        refusing = base.send(dev, None, bytes.fromhex("600580600b6000396000f360006000fd")).contract_address
        before = base.request("evm_snapshot")
        with pytest.raises(Refused):
            chain.send(dev, refusing, value=0, gas=100_000, key="no")
        assert base.request("evm_revert", before)
        chain.send(dev, PAYEE, value=5)
        assert base.balance(PAYEE) == 5
        kept = outbox.between(base.block(0).hash, dev.address, 1, 1)[0]
        assert kept.newest.transaction.to == dev.address  # its nonce went to nothing
        assert base.receipt(kept.attempts[0].tx_hash) is None


def test_an_outbox_in_memory_is_what_a_client_begins_with(chain: Chain, dev: Account) -> None:
    assert isinstance(chain.sending.outbox, MemoryOutbox)
    assert chain.send(dev, PAYEE, value=1, key="a") == chain.send(dev, PAYEE, value=1, key="a")
