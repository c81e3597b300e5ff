from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import TIP, EmbeddedChain
from consent.chain.methods import Methods
from consent.chain.rpc import MAX_BATCH, MAX_BODY, MAX_CONNECTIONS, answer, serving
from core.errors import Busy, Refused

PAYEE = "0x" + "ab" * 20
JSON = {"content-type": "application/json"}


@pytest.fixture
def url(embedded: EmbeddedChain) -> Iterator[str]:
    with serving(embedded) as address:
        yield address


@pytest.fixture
def diarist(embedded: EmbeddedChain, dev: Account, diary: Any) -> Contract:
    return create(Chain.embedded(embedded), dev, diary.abi, diary.bytecode)[0]


def post(url: str, body: bytes, headers: dict[str, str] = JSON, method: str = "POST") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, "/", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ask(url: str, method: str, *params: object) -> Any:
    status, body = post(url, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
    document = json.loads(body)
    assert (status, document["jsonrpc"], document["id"]) == (200, "2.0", 1)
    return document["error"] if "error" in document else document["result"]


def test_every_method_answers_in_the_form_of_the_execution_api(
    url: str, embedded: EmbeddedChain, diarist: Contract, dev: Account
) -> None:
    receipt = diarist.transact(dev, "write", 5)
    me, book, tx = "0x" + dev.address.hex(), "0x" + diarist.address.hex(), "0x" + receipt.tx_hash.hex()
    write, value = "0x" + diarist.encode("write", 6).hex(), "0x" + diarist.encode("value").hex()
    pinned = {"blockHash": "0x" + receipt.block_hash.hex()}
    five = "0x" + (5).to_bytes(32, "big").hex()

    assert ask(url, "eth_chainId") == hex(31337)
    assert ask(url, "net_version") == "31337"
    assert ask(url, "web3_clientVersion").startswith("Allod/")
    assert ask(url, "eth_syncing") is False
    assert ask(url, "eth_accounts") == []
    assert ask(url, "eth_blockNumber") == "0x2"
    assert ask(url, "eth_getBalance", me, "latest") == hex(embedded.balance(dev.address, embedded.head))
    assert ask(url, "eth_getBalance", me, "earliest") == hex(10**27)
    assert ask(url, "eth_getTransactionCount", me, "pending") == "0x2"
    assert ask(url, "eth_getTransactionCount", me, "0x1") == "0x1"
    assert len(ask(url, "eth_getCode", book, pinned)) > 200
    assert ask(url, "eth_getCode", book, "0x0") == "0x"
    assert ask(url, "eth_getStorageAt", book, "0x0", "latest") == five
    assert ask(url, "eth_call", {"to": book, "data": value}, "latest") == five
    assert ask(url, "eth_call", {"to": book, "input": value}, {**pinned, "requireCanonical": True}) == five
    assert ask(url, "eth_call", {"to": book, "data": value}, {"blockNumber": "0x1"}) == "0x" + "0" * 64
    assert int(ask(url, "eth_estimateGas", {"from": me, "to": book, "data": write}), 16) > 21_000
    assert ask(url, "eth_maxPriorityFeePerGas") == hex(TIP)
    assert int(ask(url, "eth_gasPrice"), 16) >= TIP
    assert ask(url, "eth_getTransactionReceipt", tx)["status"] == "0x1"
    assert ask(url, "eth_getTransactionByHash", tx)["input"] == "0x" + diarist.encode("write", 5).hex()
    assert ask(url, "eth_getTransactionReceipt", "0x" + "11" * 32) is None
    assert ask(url, "eth_getTransactionByHash", "0x" + "11" * 32) is None
    block = ask(url, "eth_getBlockByHash", pinned["blockHash"], True)
    assert block["transactions"][0]["hash"] == tx
    for name in ("latest", "safe", "finalized", "0x2"):
        assert ask(url, "eth_getBlockByNumber", name, False) == {**block, "transactions": [tx]}
    assert ask(url, "eth_getBlockByNumber", "0x3", False) is None
    assert ask(url, "eth_getBlockByHash", "0x" + "11" * 32, False) is None
    (log,) = ask(url, "eth_getLogs", {"address": book, "fromBlock": "0x0"})
    assert ask(url, "eth_getLogs", pinned) == [log] == ask(url, "eth_getTransactionReceipt", tx)["logs"]
    assert ask(url, "eth_getLogs", {"fromBlock": "0x3", "toBlock": "0x9"}) == []
    history = ask(url, "eth_feeHistory", "0x2", "latest", [50])
    assert history["oldestBlock"] == "0x1"
    assert len(history["baseFeePerGas"]) == 3
    assert history["reward"] == [[hex(TIP)], [hex(TIP)]]
    assert len(ask(url, "eth_feeHistory", 1, "0x0", [])["baseFeePerGas"]) == 2
    raw = Chain.embedded(embedded).prepare(dev, dev.address, value=1).raw
    sent = ask(url, "eth_sendRawTransaction", "0x" + raw.hex())
    assert ask(url, "eth_getTransactionReceipt", sent)["gasUsed"] == hex(21_000)
    before = int(ask(url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert ask(url, "evm_increaseTime", 1_000) >= 1_000
    assert ask(url, "evm_mine") == "0x0"
    assert int(ask(url, "eth_getBlockByNumber", "latest", False)["timestamp"], 16) >= before + 1_000


def test_an_independent_client_understands_every_answer(url: str, diarist: Contract, dev: Account, diary: Any) -> None:
    import requests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # web3 7 imports the old half of websockets
        from web3 import HTTPProvider, Web3
        from web3.exceptions import ContractLogicError

    session = requests.Session()
    web3 = Web3(HTTPProvider(url, session=session))
    book = web3.eth.contract(address=Web3.to_checksum_address(diarist.address), abi=diary.abi)
    call = book.functions.write(5).build_transaction({"from": Web3.to_checksum_address(dev.address), "nonce": 1})
    signed = web3.eth.account.sign_transaction(call, dev._key.secret)
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(signed.raw_transaction), timeout=10)
    assert receipt["status"] == 1
    (event,) = book.events.Written().process_receipt(receipt)
    assert (event["args"]["value"], event["args"]["note"]) == (5, "dear diary")
    assert book.events.Written.get_logs(from_block=0)[0]["args"] == event["args"]
    assert book.functions.value().call(block_identifier=receipt["blockHash"]) == 5
    assert (
        web3.eth.get_block("finalized", full_transactions=True)["transactions"][0]["hash"] == receipt["transactionHash"]
    )
    with pytest.raises(ContractLogicError, match="seven is refused"):
        book.functions.write(7).call()
    assert web3.eth.fee_history(1, "latest", [10])["oldestBlock"] == 2
    session.close()


def test_a_revert_is_error_3_with_its_data(url: str, diarist: Contract) -> None:
    for method in ("eth_call", "eth_estimateGas"):
        call = {"to": "0x" + diarist.address.hex(), "data": "0x" + diarist.encode("write", 7).hex()}
        error = ask(url, method, call)
        assert (error["code"], error["message"]) == (3, "execution reverted: seven is refused")
        assert error["data"].startswith("0x08c379a0")
    assert ask(url, "eth_call", {"to": call["to"], "data": "0x" + diarist.encode("broken").hex()}) == {
        "code": 3,
        "message": "execution reverted: error 0x12345678 with 5 bytes",
        "data": "0x123456789a",
    }


def test_a_batch_is_answered_in_order_and_notifications_not_at_all(url: str) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": 7, "method": "eth_chainId"},
        {"jsonrpc": "2.0", "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": "x", "method": "eth_nothing", "params": []},
        5,
        {"jsonrpc": "2.0", "id": None, "method": "net_version", "params": []},
    ]
    status, body = post(url, json.dumps(calls).encode())
    answers = json.loads(body)
    assert status == 200
    assert [answer["id"] for answer in answers] == [7, "x", None, None]
    assert answers[0]["result"] == "0x7a69"
    assert answers[1]["error"]["code"] == -32601
    assert answers[2]["error"]["code"] == -32600
    assert answers[3]["result"] == "31337"
    assert post(url, json.dumps([calls[1]]).encode()) == (204, b"")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 9_000, -32700),
        (b"[" * 100_000, -32600),
        (b'{"a":' * 100_000, -32600),
        (b"[]", -32600),
        (b"5", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":["eth_chainId"]}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"__class__"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{"a":1}}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[1]}', -32602),
        (json.dumps([{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}] * (MAX_BATCH + 1)).encode(), -32600),
    ],
)
def test_a_malformed_request_gets_its_error_code(url: str, body: bytes, code: int) -> None:
    status, answer = post(url, body)
    assert status == 200
    assert json.loads(answer)["error"]["code"] == code


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBalance", []),
        ("eth_getBalance", [5]),
        ("eth_getBalance", ["0xab"]),
        ("eth_getBalance", [PAYEE, "soon"]),
        ("eth_getBalance", [PAYEE, "0x01"]),
        ("eth_getBalance", [PAYEE, -1]),
        ("eth_getBalance", [PAYEE, True]),
        ("eth_getBalance", [PAYEE, {}]),
        ("eth_getBalance", [PAYEE, {"blockHash": "0x11"}]),
        ("eth_getBlockByHash", ["0x1"]),
        ("eth_call", ["0x"]),
        ("eth_call", [{"to": PAYEE, "data": "0x1"}]),
        ("eth_call", [{"to": PAYEE, "data": "0x11", "input": "0x22"}]),
        ("eth_call", [{"to": PAYEE, "value": "lots"}]),
        ("eth_getLogs", [{"topics": [["0x11"]]}]),
        ("eth_getLogs", [{"topics": [None] * 5}]),
        ("eth_getLogs", [{"address": [PAYEE] * 1_001}]),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32, "fromBlock": "0x0"}]),
        ("eth_getLogs", [5]),
        ("eth_sendRawTransaction", ["0x1234"]),
        ("eth_sendRawTransaction", [None]),
        ("eth_feeHistory", ["x", "latest"]),
        ("evm_increaseTime", [-5]),
        ("evm_increaseTime", ["0x" + "f" * 64]),
        ("evm_mine", ["0x5"]),
    ],
)
def test_wrong_parameters_are_named_and_change_nothing(
    url: str, embedded: EmbeddedChain, method: str, params: list[object]
) -> None:
    error = ask(url, method, *params)
    assert error["code"] == -32602
    assert embedded.head.block_number == 0
    assert embedded.clock_offset == 0


def test_unknown_blocks_and_hopeless_calls_are_server_errors(url: str, diarist: Contract) -> None:
    book = "0x" + diarist.address.hex()
    value, impossible = ("0x" + diarist.encode(name).hex() for name in ("value", "impossible"))
    for call, block, words in (
        ({"to": book, "data": value}, "0x99", "not on this chain"),
        ({"to": book, "data": value}, {"blockHash": "0x" + "11" * 32}, "not on this chain"),
        ({"to": book, "data": impossible}, "latest", "invalid opcode"),
        ({"to": book, "data": value, "gas": hex(21_070)}, "latest", "gas"),
        ({"to": book, "data": value, "gas": "0x10"}, "latest", "intrinsic gas"),
        ({"to": PAYEE, "from": PAYEE, "value": "0x1"}, "latest", "insufficient funds"),
    ):
        error = ask(url, "eth_call", call, block)
        assert error["code"] == -32000
        assert words in error["message"]


def test_a_web_page_cannot_use_the_chain(url: str) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"evm_mine"}'
    port = urlsplit(url).port
    for headers, status in (
        ({**JSON, "origin": "https://evil.example"}, 403),
        ({**JSON, "origin": "null"}, 403),
        ({**JSON, "host": f"evil.example:{port}"}, 403),
        ({**JSON, "host": "127.0.0.1.evil.example"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
    ):
        assert post(url, body, headers)[0] == status
    assert ask(url, "eth_blockNumber") == "0x0"
    for headers in ({**JSON, "origin": "http://localhost:3000"}, {**JSON, "host": f"localhost:{port}"}):
        assert post(url, body, headers)[0] == 200
    for method in ("GET", "OPTIONS", "PUT"):
        assert post(url, b"", JSON, method)[0] == 501


def test_a_body_without_or_beyond_its_bounds_is_refused_unread(url: str) -> None:
    for length, status in ((str(MAX_BODY + 1), 413), ("-5", 411), ("1e3", 411), ("9" * 30, 413)):
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=10) as wire:
            head = f"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}"
            wire.sendall(f"{head}\r\n\r\n".encode())
            assert wire.recv(64).startswith(f"HTTP/1.1 {status}".encode())


def test_more_connections_than_allowed_are_turned_away_and_the_rest_still_served(url: str) -> None:
    port = urlsplit(url).port or 0
    held = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(MAX_CONNECTIONS)]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as extra:
            assert extra.recv(1) == b""
    finally:
        for wire in held:
            wire.close()


def test_leaving_ends_idle_connections_too(embedded: EmbeddedChain) -> None:
    before = threading.active_count()
    with serving(embedded) as url, Chain.http(url) as chain:
        assert chain.chain_id == 31337
        port = urlsplit(url).port or 0
        with serving(embedded) as second:
            assert ask(second, "eth_chainId") == "0x7a69"
        with pytest.raises(Busy, match=str(port)), serving(embedded, port=port):
            pass
        idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        idle.request("POST", "/", b"{}", JSON)
        idle.getresponse().read()
    assert idle.sock.recv(1) == b""
    idle.close()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_two_clients_see_one_chain(url: str, embedded: EmbeddedChain, dev: Account) -> None:
    with Chain.http(url) as one, Chain.http(url) as other:
        receipt = one.send(dev, dev.address, value=1)
        assert other.receipt(receipt.tx_hash) == Chain.embedded(embedded).receipt(receipt.tx_hash) == receipt


def test_a_fault_of_ours_is_an_internal_error_and_tells_nothing(
    url: str, embedded: EmbeddedChain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> int:
        raise MemoryError("with a secret in it")

    monkeypatch.setattr(embedded, "balance", fail)
    assert ask(url, "eth_getBalance", PAYEE) == {"code": -32603, "message": "internal error"}
    assert "eth_getBalance" in caplog.text


def test_the_recursion_limit_is_as_low_as_it_was(embedded: EmbeddedChain) -> None:
    """Importing an EVM raises it to where a nested document from anybody overflows the stack."""
    script = "import sys; before = sys.getrecursionlimit(); import consent.chain.rpc, consent.chain.embedded as e; "
    script += "e.EmbeddedChain(None).mine(); sys.exit(sys.getrecursionlimit() != before)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_calls_nested_too_deep_are_refused_and_the_chain_lives(url: str, diarist: Contract, dev: Account) -> None:
    before, limit = diarist.chain.block(), sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)
    try:
        assert diarist.read("dive", 50) == 51
        with pytest.raises(Refused, match="nested deeper"):
            diarist.read("dive", 400)
        with pytest.raises(Refused, match="nested deeper"):
            diarist.transact(dev, "dive", 400, gas=20_000_000)
    finally:
        sys.setrecursionlimit(limit)
    assert diarist.chain.block() == before
    assert diarist.transact(dev, "write", 5).success


def test_a_query_for_too_many_logs_is_refused_not_cut(
    url: str, diarist: Contract, dev: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        diarist.transact(dev, "write", number)
    monkeypatch.setattr("consent.chain.methods.MAX_LOGS", 2)
    assert ask(url, "eth_getLogs", {"fromBlock": "earliest"})["code"] == -32005
    with Chain.http(url) as chain:
        assert len(chain.logs()) == 3  # asked in halves


QUANTITIES = st.sampled_from(["0x0", "0x1", "0x5", "latest", "pending", "earliest", "", "0x", 0, 2, -1, 2**300])
WORDS = st.sampled_from([PAYEE, "0x" + "11" * 32, "0x" + "00" * 32, "0x6000", "0x5b600056"])
NAMES = st.sampled_from(["to", "from", "data", "input", "gas", "value", "address", "topics", "fromBlock", "blockHash"])
VALUES = st.recursive(
    QUANTITIES | WORDS | st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_is_asked_gets_an_answer_and_never_an_internal_error(
    embedded: EmbeddedChain, data: st.DataObject
) -> None:
    methods = Methods(embedded)
    method = data.draw(st.sampled_from(sorted(methods._names)))
    params = data.draw(st.lists(VALUES, max_size=3))
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    document = json.loads(answer(methods, body) or b"")
    assert document.get("error", {}).get("code") != -32603, (method, params)
