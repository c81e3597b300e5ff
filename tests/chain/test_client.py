from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from consent.chain.account import Account, sender_of
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import EmbeddedChain
from consent.chain.jsonrpc import Provider, RpcError
from core.encoding import to_hex
from core.errors import InvalidInput, NotFound, Refused, Unavailable
from core.ids import Address

NOBODY_KNOWN = Address(b"\xab" * 20)


def test_a_read_sees_the_state_of_the_block_it_is_pinned_to(book: Contract, dev: Account) -> None:
    before = book.chain.block()
    first = book.transact(dev, "write", 5)
    book.transact(dev, "write", 6)
    assert book.read("value") == 6
    assert book.read("value", block=first.block_hash) == 5
    assert book.read("value", block=before.hash) == 0
    assert book.read("value", block=before.number) == 0
    assert book.read("value", block="earliest" if before.number == 0 else before.number) == 0


def test_a_pinned_read_runs_at_that_blocks_time_and_number(book: Contract) -> None:
    pinned = book.chain.block()
    book.chain.advance(1_000)
    assert book.read("moment", block=pinned.hash) == (pinned.timestamp, pinned.number)
    later = book.chain.block()
    assert book.read("moment") == (later.timestamp, later.number)
    assert later.timestamp >= pinned.timestamp + 1_000


def test_a_hash_that_is_on_no_block_is_no_state_to_read_from(book: Contract) -> None:
    with pytest.raises(Unavailable):
        book.read("value", block=b"\x01" * 32)
    with pytest.raises(NotFound):
        book.chain.block(b"\x01" * 32)
    with pytest.raises(NotFound):
        book.chain.block(10_000)


def test_blocks_are_found_by_number_tag_and_hash(chain: Chain) -> None:
    genesis, block = chain.block(0), chain.mine()
    assert block.parent_hash == genesis.hash
    assert block.number == 1
    assert chain.block("earliest") == genesis
    for name in ("latest", 1, block.hash):
        assert chain.block(name) == block


def test_what_is_safe_or_final_is_for_the_node_to_say(chain: Chain, request: pytest.FixtureRequest) -> None:
    for _ in range(70):
        latest = chain.mine()
    behind = (32, 64) if "anvil" in request.node.callspec.id else (0, 0)
    assert [latest.number - chain.block(tag).number for tag in ("safe", "finalized")] == list(behind)


def test_events_come_back_as_they_were_written(book: Contract, dev: Account) -> None:
    receipts = [book.transact(dev, "write", number) for number in (5, 6)]
    events = book.events("Written")
    assert [event.args for event in events] == [
        {"author": dev.address, "value": number, "note": "dear diary"} for number in (5, 6)
    ]
    assert book.decode(receipts[0].logs) == [events[0]]
    assert (events[0].block_hash, events[0].tx_hash) == (receipts[0].block_hash, receipts[0].tx_hash)
    assert book.events("Written", author=dev.address) == events
    assert book.events("Written", author=[NOBODY_KNOWN, dev.address]) == events
    assert book.events("Written", author=NOBODY_KNOWN) == []
    assert book.events("Written", receipts[1].block_number) == [events[1]]
    assert book.events("Written", 0, receipts[0].block_number) == [events[0]]
    with pytest.raises(InvalidInput):
        book.events("Written", value=5)
    with pytest.raises(InvalidInput):
        book.events("Painted")


def test_logs_are_found_by_address_topic_and_block_hash(book: Contract, dev: Account) -> None:
    receipt = book.transact(dev, "write", 5)
    (log,) = receipt.logs
    chain = book.chain
    assert chain.logs([book.address]) == [log]
    assert chain.logs([], [log.topics[0]]) == [log]
    assert chain.logs([], [None, [log.topics[1], bytes(32)]]) == [log]
    assert chain.logs([], [bytes(32)]) == []
    assert chain.logs([NOBODY_KNOWN]) == []
    assert chain.logs([], [None, None, None]) == []  # this log has two topics
    assert chain.logs(block_hash=receipt.block_hash) == [log]
    assert chain.logs(block_hash=chain.block(0).hash) == []


@pytest.mark.parametrize("gas", [None, 100_000])
@pytest.mark.parametrize(("number", "reason"), [(7, "seven is refused"), (8, "no reason given")])
def test_a_contracts_refusal_carries_its_reason(
    book: Contract, dev: Account, number: int, reason: str, gas: int | None
) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        book.transact(dev, "write", number, gas=gas)
    assert caught.value.detail["reason"] == reason
    assert book.read("value") == 0


def test_a_refused_view_carries_its_data(book: Contract) -> None:
    with pytest.raises(Refused, match="0x12345678") as caught:
        book.read("broken")
    assert caught.value.detail["data"] == "0x123456789a"
    with pytest.raises(Refused, match="invalid opcode"):
        book.read("impossible")


def test_a_failed_trial_costs_nothing_and_a_failed_transaction_its_fee(book: Contract, dev: Account) -> None:
    chain = book.chain
    before = chain.balance(dev.address), chain.nonce(dev.address)
    with pytest.raises(Refused):
        book.transact(dev, "write", 7)
    assert (chain.balance(dev.address), chain.nonce(dev.address)) == before
    with pytest.raises(Refused) as caught:
        book.transact(dev, "write", 7, gas=100_000)
    receipt = chain.receipt(bytes.fromhex(caught.value.detail["tx_hash"][2:]))
    assert receipt is not None
    assert not receipt.success
    assert chain.balance(dev.address) == before[0] - receipt.gas_used * receipt.effective_gas_price
    assert chain.nonce(dev.address) == before[1] + 1


def test_native_money_moves_with_its_fee(chain: Chain, dev: Account) -> None:
    before = chain.balance(dev.address)
    receipt = chain.send(dev, NOBODY_KNOWN, value=123)
    assert receipt.gas_used == 21_000
    assert (receipt.sender, receipt.to, receipt.contract_address) == (dev.address, NOBODY_KNOWN, None)
    assert chain.balance(NOBODY_KNOWN) == 123
    assert chain.balance(NOBODY_KNOWN, receipt.block_number - 1) == 0
    assert chain.balance(dev.address) == before - 123 - receipt.gas_used * receipt.effective_gas_price


def test_structs_go_in_by_name_or_order_and_come_back_as_tuples(book: Contract, dev: Account) -> None:
    answer = (dev.address, (NOBODY_KNOWN, 9))
    assert book.read("page", {"number": 9, "author": NOBODY_KNOWN}, sender=dev.address) == answer
    assert book.read("page", (NOBODY_KNOWN, 9), sender=dev.address) == answer
    for wrong in ({"author": NOBODY_KNOWN}, (NOBODY_KNOWN,), (NOBODY_KNOWN, 2**96), (b"short", 9), (NOBODY_KNOWN, "9")):
        with pytest.raises(InvalidInput):
            book.read("page", wrong)
    with pytest.raises(InvalidInput):
        book.read("page")
    with pytest.raises(InvalidInput):
        book.encode("nothing")


def test_an_address_without_code_is_no_contract(book: Contract) -> None:
    stranger = Contract(book.chain, NOBODY_KNOWN, book.interface._entries)
    with pytest.raises(Unavailable, match="no contract"):
        stranger.read("value")
    assert book.chain.code(NOBODY_KNOWN) == b""
    assert len(book.chain.code(book.address)) > 100


def test_an_account_without_money_is_told_so(chain: Chain) -> None:
    with pytest.raises(Refused, match="cannot pay") as caught:
        chain.send(Account(b"\x05" * 32), NOBODY_KNOWN, b"", gas=21_000)
    assert "faucet" in caught.value.hint


def test_a_transaction_sent_twice_happens_once(chain: Chain, dev: Account) -> None:
    prepared = chain.prepare(dev, NOBODY_KNOWN, value=5)
    assert chain.receipt(prepared.tx_hash) is None
    first = chain.submit(prepared)
    assert chain.submit(prepared) == first
    assert chain.balance(NOBODY_KNOWN) == 5


class Lagging:
    """A node that shows a transaction in no block for the first `asks` questions about it, but knows its nonce used."""

    def __init__(self, provider: Provider, tx_hash: bytes, asks: int) -> None:
        self._provider, self._hash, self.asks = provider, to_hex(tx_hash), asks

    def request(self, method: str, params: Sequence[Any]) -> Any:
        if self.asks and method == "eth_sendRawTransaction":
            raise RpcError(-32000, "nonce too low: next nonce 1, tx nonce 0")
        result = self._provider.request(method, params)
        if not self.asks:
            return result
        if method in ("eth_getTransactionReceipt", "eth_getTransactionByHash") and params[0] == self._hash:
            self.asks -= 1
            return None
        if method == "eth_getBlockByNumber" and params[1]:
            return {**result, "transactions": [tx for tx in result["transactions"] if tx["hash"] != self._hash]}
        return result

    def close(self) -> None:
        pass


def test_a_node_that_lags_does_not_make_a_mined_transaction_look_lost(chain: Chain, dev: Account) -> None:
    prepared = chain.prepare(dev, NOBODY_KNOWN, value=5)
    receipt = chain.submit(prepared)
    node = Lagging(chain._provider, prepared.tx_hash, asks=9)
    assert Chain(node).submit(prepared) == receipt
    assert node.asks == 0
    with pytest.raises(Refused, match="nonce"):  # after all its time it is believed
        Chain(Lagging(chain._provider, prepared.tx_hash, asks=10**6)).submit(prepared, timeout=0.1)


def test_a_prepared_transaction_whose_nonce_another_took_is_refused_at_once(chain: Chain, dev: Account) -> None:
    prepared = chain.prepare(dev, NOBODY_KNOWN, value=5)
    assert sender_of(prepared.raw) == dev.address
    chain.submit(chain.prepare(dev, NOBODY_KNOWN, value=6))
    with pytest.raises(Refused, match="nonce"):
        chain.submit(prepared, timeout=10**6)
    assert chain.balance(NOBODY_KNOWN) == 6


def test_a_nonce_that_another_program_used_is_replaced(chain: Chain, dev: Account) -> None:
    other, next_nonce, turns = Chain(chain._provider), chain.sending.next_nonce, []

    def outrun(sender: Address) -> int:
        nonce = next_nonce(sender)
        if len(turns) < 2:
            turns.append(other.send(dev, Address(b"\xcd" * 20), value=1))
        return nonce

    chain.sending.next_nonce = outrun  # type: ignore[method-assign]
    chain.send(dev, NOBODY_KNOWN, value=7)
    assert len(turns) == 2
    assert chain.balance(NOBODY_KNOWN) == 7
    assert chain.nonce(dev.address) == 3


def test_many_threads_send_for_one_account(chain: Chain, dev: Account) -> None:
    failures: list[Exception] = []

    def pay() -> None:
        try:
            chain.send(dev, NOBODY_KNOWN, value=1)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=pay) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert chain.balance(NOBODY_KNOWN) == 8


def test_a_client_for_another_chain_sends_nothing(chain: Chain, dev: Account) -> None:
    elsewhere = Chain(chain._provider, chain_id=1)
    with pytest.raises(Refused, match=r"chain 31337; .* chain 1\."):
        elsewhere.send(dev, NOBODY_KNOWN, value=1)
    assert chain.nonce(dev.address) == 0
    for step in (elsewhere.mine, lambda: elsewhere.advance(10)):
        with pytest.raises(Refused, match="not a development chain"):
            step()


def test_an_endpoint_that_changes_its_chain_is_noticed_before_signing(embedded: EmbeddedChain, dev: Account) -> None:
    chain = Chain.embedded(embedded)
    assert chain.chain_id == 31337
    honest = chain._provider.request
    chain._provider.request = lambda method, params: (  # type: ignore[method-assign]
        "0x1" if method == "eth_chainId" else honest(method, params)
    )
    with pytest.raises(Refused):
        chain.send(dev, NOBODY_KNOWN, value=1)


def test_a_transaction_of_another_chain_is_refused_by_this_one(chain: Chain, dev: Account) -> None:
    fields = {"nonce": 0, "max_priority_fee": 10**9, "max_fee": 10**10, "gas": 21_000, "value": 1, "data": b""}
    raw = dev.sign_transaction(chain_id=1, to=NOBODY_KNOWN, **fields)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="another chain"):
        chain.request("eth_sendRawTransaction", "0x" + raw.hex())
    assert chain.balance(NOBODY_KNOWN) == 0


def test_estimates_are_enough_and_not_much_more(book: Contract, dev: Account) -> None:
    chain = book.chain

    def estimate(data: bytes, to: Address | None = book.address) -> int:
        where = {} if to is None else {"to": "0x" + to.hex()}
        return int(
            chain.request("eth_estimateGas", {"from": "0x" + dev.address.hex(), "data": "0x" + data.hex(), **where}), 16
        )

    for data in (book.encode("write", 5), book.encode("erase"), book.encode("write", 6)):
        needed = estimate(data)
        used = chain.send(dev, book.address, data, gas=needed).gas_used
        assert used <= needed <= used * 1.35  # clearing a slot refunds a fifth at most (EIP-3529)
    padding = b"\1" * 5_000  # calldata's floor price (EIP-7623), not execution, decides here
    needed = estimate(padding, NOBODY_KNOWN)
    assert chain.send(dev, NOBODY_KNOWN, padding, gas=needed).gas_used == needed


class Scripted:
    """A node that answers what the test says."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[tuple[str, object]] = []

    def request(self, method: str, params: object) -> object:
        self.asked.append((method, params))
        answer = self.answers[method]
        if callable(answer):
            answer = answer(*params)  # type: ignore[misc]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        pass


@pytest.mark.parametrize("nonsense", [None, 5, "5", "0x", "0xzz", [], {}, "latest"])
def test_a_node_that_answers_nonsense_is_unavailable(nonsense: object) -> None:
    chain = Chain(Scripted(eth_chainId=nonsense, eth_getBalance=nonsense, eth_getLogs=[nonsense]))
    with pytest.raises(Unavailable):
        _ = chain.chain_id
    with pytest.raises(Unavailable):
        chain.balance(NOBODY_KNOWN)
    with pytest.raises(Unavailable):
        chain.logs()


def test_short_hashes_from_a_node_are_no_block() -> None:
    whole = {"number": "0x1", "hash": "0x" + "11" * 32, "timestamp": "0x2", "parentHash": "0x" + "22" * 32}
    assert Chain(Scripted(eth_getBlockByNumber=whole)).block().number == 1
    for name in whole:
        for broken in ({**whole, name: "0x11zz"}, {key: value for key, value in whole.items() if key != name}):
            with pytest.raises(Unavailable):
                Chain(Scripted(eth_getBlockByNumber=broken)).block()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RpcError(3, "execution reverted: no", "0x"), Refused),
        (RpcError(-32000, "execution reverted"), Refused),
        (RpcError(-32000, "VM Exception while processing transaction: reverted with reason string 'no'"), Refused),
        (RpcError(-32000, "out of gas"), Refused),
        (RpcError(-32000, "header not found"), Unavailable),
        (RpcError(-32603, "internal error"), Unavailable),
        (RpcError(429, "rate limited"), Unavailable),
    ],
)
def test_what_a_nodes_error_means(error: RpcError, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        Chain(Scripted(eth_call=error)).call(NOBODY_KNOWN, b"")
    assert type(caught.value) is kind


def test_a_range_of_logs_that_is_too_long_is_asked_in_halves() -> None:
    def block(tag: str, full: bool) -> dict[str, str]:
        number = "0x9" if tag == "latest" else tag
        return {"number": number, "hash": "0x" + "11" * 32, "timestamp": "0x2", "parentHash": "0x" + "22" * 32}

    def logs(query: dict[str, str]) -> object:
        first, last = (int(query[name].replace("latest", "0x9"), 16) for name in ("fromBlock", "toBlock"))
        if last - first >= 3:
            return RpcError(-32005, "block range too long")
        return [
            {
                "address": "0x" + "ab" * 20,
                "topics": [],
                "data": "0x",
                "blockNumber": hex(number),
                "blockHash": "0x" + "11" * 32,
                "transactionHash": "0x" + "33" * 32,
                "logIndex": "0x0",
            }
            for number in range(first, last + 1)
        ]

    chain = Chain(Scripted(eth_getLogs=logs, eth_getBlockByNumber=block))
    assert [log.block_number for log in chain.logs(from_block=0)] == list(range(10))
    always = Chain(Scripted(eth_getLogs=RpcError(-32005, "no"), eth_getBlockByNumber=block))
    with pytest.raises(Unavailable):
        always.logs(from_block=0)


def test_an_endpoint_that_nobody_serves_is_unavailable_and_its_secret_stays_secret() -> None:
    with Chain.http("http://127.0.0.1:9/v1/secret-api-key") as chain, pytest.raises(Unavailable) as caught:
        chain.block()
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value.document())
    for address in ("nonsense", "ftp://host/", "http://[", "http://"):
        with pytest.raises(Unavailable):
            Chain.http(address).block()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"jsonrpc":"2.0","id":99,"result":"0x1"}', b'{"id":1,"error":5}']
)
def test_an_answer_that_is_not_json_rpc_is_unavailable(body: bytes) -> None:
    with Chain.http("http://node.invalid/") as chain:
        provider = chain._provider
        provider._client.close()  # type: ignore[attr-defined]
        provider._client = httpx.Client(  # type: ignore[attr-defined]
            transport=httpx.MockTransport(lambda request: httpx.Response(200, content=body))
        )
        with pytest.raises(Unavailable):
            _ = chain.chain_id


def test_a_deployment_that_its_constructor_refuses_is_refused(chain: Chain, dev: Account) -> None:
    with pytest.raises(Refused):
        create(chain, dev, [], bytes.fromhex("60006000fd"))
    with pytest.raises(InvalidInput):
        create(chain, dev, [], b"\x00", 5)


def test_an_answer_that_trickles_in_for_ever_is_given_up() -> None:
    def drip() -> Iterator[bytes]:
        while True:
            yield b" "

    with Chain.http("http://node.invalid/", timeout=0.05) as chain:
        provider = chain._provider
        provider._client.close()  # type: ignore[attr-defined]
        provider._client = httpx.Client(  # type: ignore[attr-defined]
            transport=httpx.MockTransport(lambda request: httpx.Response(200, content=drip()))
        )
        with pytest.raises(Unavailable, match="did not finish"):
            _ = chain.chain_id


def test_a_node_that_answers_beside_the_question_is_unavailable(book: Contract, dev: Account) -> None:
    receipt = book.transact(dev, "write", 5)
    other = book.transact(dev, "write", 6)
    honest = book.chain.request
    (log,) = receipt.logs
    stray = Scripted(
        eth_getLogs=honest("eth_getLogs", {"fromBlock": "0x0"}),
        eth_getBlockByHash=honest("eth_getBlockByHash", "0x" + receipt.block_hash.hex(), False),
        eth_getBlockByNumber=honest("eth_getBlockByNumber", hex(receipt.block_number), False),
    )
    chain = Chain(stray)
    assert chain.logs([log.address], [log.topics[0], [log.topics[1]]]) == [log, *other.logs]
    assert chain.logs([log.address], [None, None, None]) == []  # anvil returns logs of two topics here
    for question in (
        {"addresses": [NOBODY_KNOWN]},
        {"topics": [bytes(32)]},
        {"topics": [None, [bytes(32)]]},
        {"topics": [None, None, bytes(32)]},
        {"block_hash": other.block_hash},
    ):
        with pytest.raises(Unavailable, match="not asked for"):
            chain.logs(**question)  # type: ignore[arg-type]
    assert chain.block(receipt.block_hash) == chain.block(receipt.block_number)
    for which in (other.block_hash, other.block_number):
        with pytest.raises(Unavailable, match="not asked for"):
            chain.block(which)
