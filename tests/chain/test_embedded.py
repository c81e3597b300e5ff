from __future__ import annotations

import ast
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import BLOCK_GAS_LIMIT, TIP, EmbeddedChain, developer
from consent.chain.joining import open_chain
from consent.chain.rpc import serving
from consent.chain.store import BlockStore, LogRow
from core.errors import Busy, Conflict, Corrupted, InvalidInput, NotFound, Refused, Unavailable
from core.ids import Address

PAYEE = Address(b"\xab" * 20)


def payment(nonce: int, value: int = 1) -> bytes:
    return developer().sign_transaction(
        chain_id=31337, nonce=nonce, max_priority_fee=TIP, max_fee=4 * TIP, gas=21_000, to=PAYEE, value=value, data=b""
    )


def in_a_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked process; its wait status (the signal that killed it in the low bits)."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(70)
    return os.waitpid(pid, 0)[1]


def test_a_chain_is_the_same_after_it_was_closed_and_opened(tmp_path: Path, diary: Any, dev: Account) -> None:
    with EmbeddedChain(tmp_path) as embedded:
        chain = Chain.embedded(embedded)
        book, _ = create(chain, dev, diary.abi, diary.bytecode)
        receipt = book.transact(dev, "write", 5)
        head, genesis, logs = chain.block(), chain.block(0), chain.logs()
    with EmbeddedChain(tmp_path) as embedded:
        chain = Chain.embedded(embedded)
        assert (chain.block(), chain.block(0), chain.logs()) == (head, genesis, logs)
        assert chain.receipt(receipt.tx_hash) == receipt
        book = Contract(chain, book.address, diary.abi)
        assert book.read("value") == 5
        assert book.read("value", block=receipt.block_number - 1) == 0
        assert book.transact(dev, "write", 6).block_number == head.number + 1


def test_two_worlds_never_share_a_genesis(tmp_path: Path) -> None:
    with EmbeddedChain(tmp_path / "a") as one, EmbeddedChain(tmp_path / "b") as other:
        assert one.header(0).hash != other.header(0).hash
        assert one.chain_id == other.chain_id == 31337


def test_genesis_names_its_chain_and_funds_the_developer_only(embedded: EmbeddedChain, dev: Account) -> None:
    genesis = embedded.header(0)
    assert b"31337" in genesis.extra_data
    assert b"prague" in genesis.extra_data
    assert embedded.balance(dev.address, genesis) == 10**27
    assert embedded.balance(PAYEE, genesis) == 0


def test_a_second_opener_is_told_who_holds_the_chain(tmp_path: Path) -> None:
    with EmbeddedChain(tmp_path):
        with pytest.raises(Busy, match=f"process {os.getpid()}") as caught:
            EmbeddedChain(tmp_path)
        assert caught.value.hint
        with pytest.raises(Busy):
            EmbeddedChain(tmp_path)  # a failed try frees nothing
    EmbeddedChain(tmp_path).close()


def test_another_process_is_told_who_holds_the_chain(tmp_path: Path) -> None:
    script = "import sys, pathlib; from consent.chain.joining import open_chain; open_chain(pathlib.Path(sys.argv[1]))"
    with EmbeddedChain(tmp_path / "chain"):
        done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"Busy: The development chain is in use by process {os.getpid()}" in done.stderr


class Deadly:
    """A database connection that kills its own process just before its Nth statement."""

    def __init__(self, real: sqlite3.Connection, survive: int) -> None:
        self._real = real
        self._left = survive

    def _step(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def execute(self, text: str, *values: Any) -> Any:
        if not text.startswith("SELECT"):
            self._step()
        return self._real.execute(text, *values)

    def executemany(self, text: str, rows: Any) -> Any:
        self._step()
        return self._real.executemany(text, rows)


@pytest.mark.parametrize("statement", range(6))
def test_sigkill_inside_a_block_leaves_the_block_before_or_the_whole_block(tmp_path: Path, statement: int) -> None:
    with EmbeddedChain(tmp_path) as chain:
        chain.submit(payment(0))

    def work() -> None:
        chain = EmbeddedChain(tmp_path)
        chain._store._db = Deadly(chain._store._db, statement)  # type: ignore[assignment]
        chain.submit(payment(1))
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(work) == signal.SIGKILL
    with EmbeddedChain(tmp_path) as chain:
        committed = statement >= 5  # BEGIN, three writes and COMMIT come first
        assert chain.head.block_number == chain.balance(PAYEE, chain.head) == (2 if committed else 1)
        chain.submit(payment(chain.nonce(developer().address, chain.head)))
        assert chain.balance(PAYEE, chain.head) == chain.head.block_number


def test_sigkill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    EmbeddedChain(tmp_path).close()
    for delay in (0.02, 0.033, 0.051):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                chain = EmbeddedChain(tmp_path)
                os.write(writing, b"r" * 32)
                while True:
                    nonce = chain.nonce(developer().address, chain.head)
                    os.write(writing, chain.submit(payment(nonce)))
            finally:
                os._exit(70)
        os.close(writing)
        assert os.read(reading, 32) == b"r" * 32
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        acknowledged = b""
        while part := os.read(reading, 1 << 16):
            acknowledged += part
        os.close(reading)
        with EmbeddedChain(tmp_path) as chain:
            for at in range(0, len(acknowledged), 32):
                assert chain.mined(acknowledged[at : at + 32]) is not None
            assert chain.balance(PAYEE, chain.head) == chain.head.block_number
            for number in range(1, chain.head.block_number + 1):
                assert chain.header(number).parent_hash == chain.header(number - 1).hash
    assert chain.folder == tmp_path


def test_a_block_that_fails_halfway_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedChain(tmp_path) as chain:
        chain.submit(payment(0))
        before = chain.head.hash, chain.balance(PAYEE, chain.head)
        with monkeypatch.context() as patch:
            patch.setattr(chain._store, "_commit", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                chain.submit(payment(1))
        assert (chain.head.hash, chain.balance(PAYEE, chain.head)) == before
        assert chain.mined(chain.submit(payment(1))) is not None
    with EmbeddedChain(tmp_path) as chain:
        assert chain.head.block_number == chain.balance(PAYEE, chain.head) == 2


def test_a_full_disk_refuses_the_block_and_the_chain_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with EmbeddedChain(tmp_path) as chain:
        database = chain._store._db
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")

        def fill() -> None:
            for nonce in range(200):
                chain.submit(payment(nonce))

        with pytest.raises(Unavailable, match="full"):
            fill()
        stopped = chain.head.block_number
        assert chain.balance(PAYEE, chain.head) == stopped
        database.execute("PRAGMA max_page_count = 1000000")
        chain.submit(payment(stopped))
        assert chain.head.block_number == stopped + 1


def test_opening_reads_the_same_at_any_length(tmp_path: Path) -> None:
    def count(folder: Path) -> int:
        reads: list[str] = []
        real = sqlite3.connect

        def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection = real(*args, **kwargs)
            connection.set_trace_callback(lambda text: reads.append(text) if text.startswith("SELECT") else None)
            return connection

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", connect)
            EmbeddedChain(folder).close()
        return len(reads)

    with EmbeddedChain(tmp_path / "short") as chain:
        chain.mine()
    with EmbeddedChain(None) as long, EmbeddedChain(tmp_path / "long") as disk:
        for _ in range(2_000):
            long.mine()
        long._store.copy_to(disk._store)
    assert count(tmp_path / "long") == count(tmp_path / "short") < 10
    begin = time.process_time()
    with EmbeddedChain(tmp_path / "long") as chain:
        assert chain.head.block_number == 2_000
    assert time.process_time() - begin < 2


def test_blocks_carry_the_wall_clock_and_time_never_stands_still(embedded: EmbeddedChain) -> None:
    begin = int(time.time())
    stamps = [embedded.mine().timestamp for _ in range(3)]
    assert stamps == sorted(set(stamps))
    assert begin <= stamps[0]
    assert stamps[-1] <= max(int(time.time()), embedded.header(0).timestamp + 3)


def test_a_clock_set_forward_stays_forward(tmp_path: Path) -> None:
    with EmbeddedChain(tmp_path) as chain:
        before = chain.head.timestamp
        chain.advance(86_400)
        assert chain.head.timestamp == before  # a block's time never changes; the next one's does
        assert chain.mine().timestamp >= before + 86_400
        for seconds in (-1, 10**12):
            with pytest.raises(InvalidInput):
                chain.advance(seconds)
    with EmbeddedChain(tmp_path) as chain:
        assert chain.mine().timestamp >= int(time.time()) + 86_400


def test_time_moves_by_what_was_asked_even_after_a_burst_of_blocks(embedded: EmbeddedChain) -> None:
    for _ in range(50):
        embedded.mine()
    before = embedded.head.timestamp
    embedded.advance(100)
    assert embedded.mine().timestamp >= before + 100


def test_a_duplicate_goes_its_own_way(embedded: EmbeddedChain) -> None:
    embedded.submit(payment(0))
    with embedded.duplicate() as twin:
        assert twin.head.hash == embedded.head.hash
        twin.submit(payment(1))
        assert twin.balance(PAYEE, twin.head) == 2
    assert embedded.balance(PAYEE, embedded.head) == 1


def test_what_no_block_could_hold_is_refused(embedded: EmbeddedChain) -> None:
    poor = Account(b"\x07" * 32)
    good = {
        "chain_id": 31337,
        "nonce": 0,
        "max_priority_fee": TIP,
        "max_fee": 4 * TIP,
        "gas": 21_000,
        "to": PAYEE,
        "value": 1,
        "data": b"",
    }
    refused: list[tuple[str, Account, dict[str, object]]] = [
        ("chain id", developer(), {"chain_id": 1}),
        ("nonce too high", developer(), {"nonce": 1}),
        ("insufficient funds", poor, {}),
        ("insufficient funds", developer(), {"value": 10**28}),
        ("base fee", developer(), {"max_fee": 1, "max_priority_fee": 1}),
        ("intrinsic gas", developer(), {"gas": 20_999}),
        ("intrinsic gas", developer(), {"gas": 25_000, "data": b"\1" * 200}),
        ("block gas limit", developer(), {"gas": BLOCK_GAS_LIMIT + 1}),
    ]
    for words, account, change in refused:
        with pytest.raises(Refused, match=words):
            embedded.submit(account.sign_transaction(**{**good, **change}))  # type: ignore[arg-type]
    assert embedded.head.block_number == 0
    embedded.submit(payment(0))
    with pytest.raises(Refused, match="nonce too low"):
        embedded.submit(payment(0, value=2))
    for junk in (b"", b"\x02", b"\x02\xc0", b"\x7f" * 100, payment(1)[:-1], payment(1) + b"\0", bytes(100)):
        with pytest.raises(InvalidInput):
            embedded.submit(junk)
    assert embedded.head.block_number == 1


def test_transactions_of_the_older_forms_are_carried_too(embedded: EmbeddedChain, dev: Account) -> None:
    from eth_account import Account as Signer

    common = {"gas": 30_000, "to": PAYEE, "value": 1, "gasPrice": 4 * TIP, "chainId": 31337}
    legacy = Signer.sign_transaction({**common, "nonce": 0}, dev._key.secret)
    listed = Signer.sign_transaction(
        {**common, "nonce": 1, "type": 1, "accessList": [{"address": PAYEE, "storageKeys": []}]}, dev._key.secret
    )
    chain = Chain.embedded(embedded)
    for signed, kind in ((legacy, "0x0"), (listed, "0x1")):
        tx_hash = embedded.submit(bytes(signed.raw_transaction))
        assert tx_hash == bytes(signed.hash)
        assert chain.request("eth_getTransactionByHash", "0x" + tx_hash.hex())["type"] == kind
        receipt = chain.receipt(tx_hash)
        assert receipt is not None
        assert receipt.effective_gas_price == 4 * TIP
    unprotected = {name: value for name, value in common.items() if name != "chainId"}
    with pytest.raises(Refused, match="chain id"):
        embedded.submit(bytes(Signer.sign_transaction({**unprotected, "nonce": 2}, dev._key.secret).raw_transaction))


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "chain.sqlite").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Corrupted, match=r"chain\.sqlite"):
        EmbeddedChain(tmp_path)
    with EmbeddedChain(tmp_path / "other") as chain, chain._store.atomic_batch():
        chain._store[b"allod:format"] = b"allod/chain/v9"
    with pytest.raises(Conflict, match="another version"):
        EmbeddedChain(tmp_path / "other")
    with EmbeddedChain(None) as closed:
        pass
    with pytest.raises(Unavailable):
        _ = closed.head


def test_the_store_writes_whole_batches_only(tmp_path: Path) -> None:
    store = BlockStore(tmp_path / "kv")
    with pytest.raises(RuntimeError):
        store[b"key"] = b"value"
    with store.atomic_batch():
        store[b"key"] = b"value"
        with store.atomic_batch() as inner:
            inner[b"inner"] = b"1"
        assert store[b"key"] == b"value"
        assert b"inner" in store

    def stumble() -> None:
        with store.atomic_batch():
            store[b"key"] = b"changed"
            del store[b"inner"]
            assert b"inner" not in store
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    assert (store[b"key"], store[b"inner"]) == (b"value", b"1")
    with store.atomic_batch():
        del store[b"inner"]
        with pytest.raises(KeyError):
            del store[b"absent"]
    with pytest.raises(KeyError):
        store[b"inner"]
    row = LogRow(1, 0, b"h" * 32, b"t" * 32, 0, b"a" * 20, (b"x" * 32,), b"data")
    with store.atomic_batch():
        store.add_log(row)
    assert store.find_logs(0, 9, [b"a" * 20], [[b"x" * 32]], 9) == [row]
    assert store.find_logs(2, 9, [], [], 9) == store.find_logs(0, 9, [], [None, None], 9) == []
    store.close()
    store.close()


def test_headers_that_do_not_exist_are_not_found(embedded: EmbeddedChain) -> None:
    for which in (1, -1, 2**300, b"\0" * 32, b"short"):
        with pytest.raises(NotFound):
            embedded.header(which)


def test_a_home_is_opened_here_or_reached_where_it_is_served(tmp_path: Path, dev: Account) -> None:
    with open_chain(tmp_path) as mine:
        mine.send(dev, PAYEE, value=5)
        genesis = mine.block(0)
        with pytest.raises(Busy):
            open_chain(tmp_path)
    with EmbeddedChain(tmp_path / "chain") as embedded:
        with serving(embedded) as url:
            with open_chain(tmp_path) as reached, open_chain(tmp_path / "elsewhere", url) as named:
                assert reached.block(0) == named.block(0) == genesis
                assert reached.balance(PAYEE) == 5
            assert not (tmp_path / "elsewhere").exists()
        assert not (tmp_path / "chain" / "endpoint.json").exists()
        with pytest.raises(Busy):
            open_chain(tmp_path)


def test_an_old_endpoint_note_never_leads_into_another_world(tmp_path: Path) -> None:
    with EmbeddedChain(tmp_path / "chain") as mine, EmbeddedChain(tmp_path / "other") as other:
        note = tmp_path / "chain" / "endpoint.json"
        with serving(mine):
            old = note.read_text()
        with serving(other) as url:
            import json

            for text in (
                json.dumps({**json.loads(old), "url": url}),
                old,
                "{}",
                "nonsense",
                '{"url": 5, "genesis": "0x"}',
            ):
                note.write_text(text)
                with pytest.raises(Busy):
                    open_chain(tmp_path)


def test_py_evm_is_imported_in_one_place_only() -> None:
    root = Path(__file__).resolve().parents[2]
    found = set()
    for package in ("allod", "core", "vault", "consent", "finetune"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if {name.split(".")[0] for name in names} & {"eth", "eth_tester", "py_ecc"}:
                    found.add(path.relative_to(root).as_posix())
    assert found == {"consent/chain/evm.py"}
