"""Several endpoints count as one only while they agree; one that is away costs time, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account
from consent.chain.agreeing import AgreeingProvider
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import EmbeddedChain
from consent.chain.joining import open_chain
from consent.chain.jsonrpc import SERVER_ERROR, EmbeddedProvider, HttpProvider, RpcError
from consent.chain.rpc import serving
from consent.keeper.sight import Watch
from core.errors import NotFound, Refused, Unavailable
from core.ids import Address
from tests.chain.conftest import Compiled
from tests.real import running_anvil

PAYEE = Address(b"\xab" * 20)

Rule = Callable[[str, Any, Callable[[], Any]], Any]


class Endpoint:
    """One endpoint over a chain; `rule` answers in its place."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._true = EmbeddedProvider(chain, owned=False)
        self.rule: Rule = lambda method, params, ask: ask()
        self.asked: list[tuple[str, Any]] = []

    def request(self, method: str, params: Any) -> Any:
        self.asked.append((method, params))
        return self.rule(method, params, lambda: self._true.request(method, params))

    def close(self) -> None:
        pass


@pytest.fixture
def two(embedded: EmbeddedChain) -> list[Endpoint]:
    return [Endpoint(embedded), Endpoint(embedded)]


@pytest.fixture
def both(two: list[Endpoint]) -> Chain:
    return Chain(AgreeingProvider([("first:1", two[0]), ("second:2", two[1])]))


@pytest.fixture
def diaries(both: Chain, dev: Account, diary: Compiled) -> Contract:
    return create(both, dev, diary.abi, diary.bytecode)[0]


def change(method: str, answer: Callable[[Any], Any]) -> Rule:
    def rule(asked: str, params: Any, ask: Callable[[], Any]) -> Any:
        return answer(ask()) if asked == method else ask()

    return rule


def test_endpoints_that_agree_are_one_chain(diaries: Contract, two: list[Endpoint], dev: Account) -> None:
    both = diaries.chain
    receipt = diaries.transact(dev, "write", 5)
    assert diaries.read("value") == 5
    assert diaries.read("value", block=receipt.block_number - 1) == 0
    assert both.receipt(receipt.tx_hash) == receipt
    assert [event.args["value"] for event in diaries.events("Written")] == [5]
    assert both.block("safe") == both.block(receipt.block_hash)
    with pytest.raises(Refused, match="seven is refused"):
        diaries.transact(dev, "write", 7)
    with pytest.raises(NotFound):
        both.block(99)
    for endpoint in two:
        assert [params for method, params in endpoint.asked if method == "eth_sendRawTransaction"]


@pytest.mark.parametrize(
    ("method", "answer", "question"),
    [
        ("eth_call", lambda true: "0x" + "00" * 31 + "09", lambda book: book.read("value")),
        ("eth_getCode", lambda true: "0x", lambda book: book.chain.code(book.address)),
        ("eth_getLogs", lambda true: [], lambda book: book.events("Written")),
        ("eth_getBalance", lambda true: "0x0", lambda book: book.chain.balance(book.address)),
        ("eth_chainId", lambda true: "0x1", lambda book: book.chain.check_chain_id()),
        (
            "eth_getTransactionReceipt",
            lambda true: true and {**true, "status": "0x0"},
            lambda book: book.chain.receipt(book.events("Written")[0].tx_hash),
        ),
        (
            "eth_getBlockByNumber",
            lambda true: {**true, "hash": "0x" + "11" * 32},
            lambda book: book.chain.block(),
        ),
        (
            "eth_getBlockByNumber",
            lambda true: {**true, "baseFeePerGas": "0xffffffffff"},
            lambda book: book.chain.pricing(),
        ),
    ],
)
def test_two_that_disagree_are_named_and_nothing_is_decided(
    diaries: Contract, two: list[Endpoint], dev: Account, method: str, answer: Any, question: Any
) -> None:
    diaries.transact(dev, "write", 5)
    if method == "eth_getBalance":
        diaries.chain.send(dev, PAYEE, value=3)
        question = lambda book: book.chain.balance(PAYEE)  # noqa: E731
    question(diaries)
    two[1].rule = change(method, answer)
    with pytest.raises(Unavailable, match="first:1 and second:2 disagree") as caught:
        question(diaries)
    assert "ALLOD_RPC_URL" in caught.value.hint


def test_a_refusal_that_only_one_sees_is_a_disagreement(diaries: Contract, two: list[Endpoint]) -> None:
    def refuse(true: Any) -> Any:
        raise RpcError(3, "execution reverted", "0x")

    two[0].rule = change("eth_call", refuse)
    with pytest.raises(Unavailable, match="disagree about eth_call"):
        diaries.read("value")


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_is_down_is_a_no(diaries: Contract, two: list[Endpoint], which: int) -> None:
    def down(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        raise Unavailable("The chain's RPC endpoint at second:2 does not answer.")

    two[which].rule = down
    for question in (
        lambda: diaries.read("value"),
        diaries.chain.block,
        lambda: diaries.chain.receipt(bytes(32)),
        diaries.chain.check_chain_id,
    ):
        with pytest.raises(Unavailable, match="second:2 does not answer") as caught:
            question()
        assert "repair this one, or take it out" in caught.value.hint


def test_what_one_does_not_know_yet_is_not_known(diaries: Contract, two: list[Endpoint], dev: Account) -> None:
    both = diaries.chain
    old = both.block()
    receipt = diaries.transact(dev, "write", 5)

    def lagging(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        if method == "eth_getBlockByNumber":
            if params[0] in ("latest", "safe"):
                params[0] = hex(old.number)
                return two[0]._true.request(method, params)
            return ask() if int(params[0], 16) <= old.number else None
        if method in ("eth_getBlockByHash", "eth_getTransactionReceipt"):
            return None
        return ask()

    two[1].rule = lagging
    assert both.block() == both.block("safe") == old
    assert both.receipt(receipt.tx_hash) is None
    assert diaries.read("value") == 0  # at the head that both have
    assert diaries.events("Written") == []
    with pytest.raises(NotFound):
        both.block(receipt.block_number)


def test_a_transaction_that_one_takes_is_sent(both: Chain, two: list[Endpoint], dev: Account) -> None:
    def full(method: str, params: Any, ask: Callable[[], Any]) -> Any:
        if method == "eth_sendRawTransaction":
            raise RpcError(SERVER_ERROR, "txpool is full")
        return ask()

    two[0].rule = full
    both.send(dev, PAYEE, value=5)
    assert both.balance(PAYEE) == 5
    two[1].rule = full
    with pytest.raises(Unavailable, match="txpool is full"):
        both.send(dev, PAYEE, value=5)


def test_a_keeper_decides_by_blocks_that_both_endpoints_answer_for(
    diaries: Contract, two: list[Endpoint], dev: Account
) -> None:
    """The two blocks of one decision are pinned by hash at every endpoint."""
    diaries.transact(dev, "write", 5)
    chain = diaries.chain

    def new_watch() -> Watch:
        """One that knows no answer yet."""
        return Watch([chain], clock=lambda: chain.block().timestamp)

    sight = new_watch().look()
    for block in (sight.safe, sight.latest):
        for endpoint in two:
            endpoint.asked.clear()
        assert new_watch().call(diaries.address, diaries.encode("value"), block) == bytes(31) + b"\5"
        for endpoint in two:
            ((method, params),) = endpoint.asked
            assert (method, params[1]) == (
                "eth_call",
                {"blockHash": "0x" + block.hash.hex(), "requireCanonical": True},
            )
    two[1].rule = change("eth_call", lambda true: "0x" + "00" * 32)
    with pytest.raises(Unavailable):
        new_watch().call(diaries.address, diaries.encode("value"), sight.latest)


def test_endpoints_come_from_one_setting(embedded: EmbeddedChain, tmp_path: Path, dev: Account) -> None:
    with serving(embedded) as url, open_chain(tmp_path, f"{url}, {url}") as chain:
        chain.send(dev, PAYEE, value=5)
        assert chain.balance(PAYEE) == 5
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
            open_chain(tmp_path, f"{url},http://127.0.0.1:9")


def test_another_chain_than_expected_is_refused_at_the_start(embedded: EmbeddedChain, tmp_path: Path) -> None:
    with serving(embedded) as url:
        with pytest.raises(Refused, match=r"chain 31337; this is set up for chain 5"):
            open_chain(tmp_path, url, chain_id=5)
        with open_chain(tmp_path, url, chain_id=31337) as chain:
            assert chain.is_development


@pytest.mark.needs_nodes
def test_two_anvils_are_no_chain_and_one_seen_twice_is(tmp_path: Path, dev: Account) -> None:
    with running_anvil(tmp_path / "a") as one, running_anvil(tmp_path / "b", "--timestamp", "1700000000") as other:
        with Chain.http(f"{one.url},{other.url}") as chain, pytest.raises(Unavailable, match="disagree"):
            chain.send(dev, PAYEE, value=5)
        with Chain.http(f"{one.url},{one.url}/") as chain:
            chain.send(dev, PAYEE, value=5)
            assert chain.balance(PAYEE) == 5


# -- patience ----------------------------------------------------------------------------------------------------------


class Proxy:
    """A port that says 503, as a proxy does while its node is away, until it is told to answer."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.away = 3
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                proxy.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                gone = len(proxy.bodies) <= proxy.away
                number = proxy.bodies[-1].partition(b'"id": ')[2].partition(b",")[0]
                body = b"away" if gone else b'{"jsonrpc": "2.0", "id": ' + number + b', "result": "0x7a69"}'
                self.send_response(503 if gone else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield proxy
    proxy.server.shutdown()
    thread.join()
    proxy.server.server_close()


def test_an_endpoint_that_is_away_is_waited_for(proxy: Proxy) -> None:
    with Chain.http(proxy.url, patience=60) as chain:
        assert chain.chain_id == 31337
        assert len(proxy.bodies) == 4


def test_without_patience_one_failure_is_enough(proxy: Proxy) -> None:
    with Chain.http(proxy.url) as chain, pytest.raises(Unavailable, match="503"):
        _ = chain.chain_id
    assert len(proxy.bodies) == 1


def test_what_moves_a_development_chain_is_not_repeated_where_it_may_have_been_heard(proxy: Proxy) -> None:
    provider = HttpProvider(proxy.url, timeout=30, patience=60)
    with pytest.raises(Unavailable):
        provider.request("evm_increaseTime", [60])
    provider.close()
    assert len(proxy.bodies) == 1


@pytest.mark.needs_nodes
def test_a_node_that_is_restarted_costs_its_absence_and_no_more(tmp_path: Path, dev: Account) -> None:
    with running_anvil(tmp_path / "anvil") as node, Chain.http(node.url, patience=60) as chain:
        chain.send(dev, PAYEE, value=5)
        node.stop()
        found: list[int] = []
        asking = threading.Thread(target=lambda: found.append(chain.send(dev, PAYEE, value=6) and chain.balance(PAYEE)))
        asking.start()
        node.start()
        asking.join(60)
        assert found == [11]
