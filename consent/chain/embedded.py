"""The development chain: a Prague EVM (py-evm) in this process, kept on disk, one block per transaction.

Promises: an acknowledged transaction survives SIGKILL and power loss, and the chain on disk always ends at a whole
block; opening reads the stored head and costs the same at any length; one process owns a chain at a time. Blocks carry
the wall clock (plus what `advance` added), always later than their parent. It is play money: the developer's key is
published, and nothing here is a peer-to-peer network.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, cast

import rlp  # type: ignore[import-untyped,unused-ignore]

from consent.chain.account import Account
from consent.chain.evm import (
    BLANK_ROOT_HASH,
    POST_MERGE_DIFFICULTY,
    POST_MERGE_NONCE,
    BlockHeaderAPI,
    ChainContext,
    HeaderNotFound,
    MiningChain,
    PragueTransactionExecutor,
    PragueVM,
    Revert,
    SpoofTransaction,
    TransactionNotFound,
    ValidationError,
    VMError,
)
from consent.chain.reverts import ExecutionReverted
from consent.chain.store import BlockStore, LogRow
from core.errors import Conflict, InvalidInput, NotFound, Refused
from core.files import Lock
from core.ids import NOBODY, Address

CHAIN_ID = 31337
BLOCK_GAS_LIMIT = 30_000_000
CALL_GAS_LIMIT = 50_000_000
TIP = 10**9  # wei per gas that the chain suggests; nobody competes for its blocks
DEVELOPER_KEY = b"allod development key: play coin"  # 32 bytes that anyone may know
DEVELOPER_BALANCE = 10**9 * 10**18

_FORMAT = b"allod/chain/v1 prague 31337"
_FORMAT_KEY = b"allod:format"
_OFFSET_KEY = b"allod:clock-offset"
_TOO_DEEP = "execution failed: calls nested deeper than this chain carries"


def developer() -> Account:
    """The account that genesis funds: it deploys, relays and runs the faucet of every development chain."""
    return Account(DEVELOPER_KEY)


class _Prague(MiningChain):  # type: ignore[misc]  # py-evm is untyped here
    chain_id = CHAIN_ID
    vm_configuration = ((0, PragueVM),)

    def create_header_from_parent(self, parent_header: Any, **fields: Any) -> Any:
        return super().create_header_from_parent(parent_header, **{**fields, "gas_limit": parent_header.gas_limit})


class Call(NamedTuple):
    """What a call or an estimate executes; `to` None creates a contract, `gas` None means as much as allowed."""

    sender: Address = NOBODY
    to: Address | None = None
    data: bytes = b""
    value: int = 0
    gas: int | None = None


class Mined(NamedTuple):
    """A transaction with its block header, position and receipt (py-evm objects), and the sum of gas before it."""

    header: BlockHeaderAPI
    position: int
    transaction: Any
    receipt: Any
    gas_before: int
    logs_before: int


class EmbeddedChain:
    """The chain in `folder` (`home/chain`), created when absent; `folder` None keeps it in memory.

    Raises `Busy` while another process has it open. Every method may be called from any thread.
    """

    chain_id = CHAIN_ID

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._guard = threading.RLock()
        self._lock = Lock(folder / "LOCK", what="The development chain") if folder else None
        if self._lock:
            self._lock.acquire()
        try:
            self._store = BlockStore(folder / "chain.sqlite" if folder else None)
            self._chain = self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> Any:
        store = self._store
        if _FORMAT_KEY not in store:
            with store.atomic_batch():
                genesis = {
                    "coinbase": NOBODY,
                    "difficulty": POST_MERGE_DIFFICULTY,
                    "nonce": POST_MERGE_NONCE,
                    "extra_data": _FORMAT,
                    "gas_limit": BLOCK_GAS_LIMIT,
                    "mix_hash": os.urandom(32),  # no two worlds share a genesis hash
                    "receipt_root": BLANK_ROOT_HASH,
                    "transaction_root": BLANK_ROOT_HASH,
                    "timestamp": int(time.time()),
                }
                funds = {developer().address: {"balance": DEVELOPER_BALANCE, "nonce": 0, "code": b"", "storage": {}}}
                _Prague.from_genesis(store, genesis, funds)
                store[_OFFSET_KEY] = b"\0"
                store[_FORMAT_KEY] = _FORMAT
        elif store[_FORMAT_KEY] != _FORMAT:
            raise Conflict(
                "The development chain on disk was made by another version of Allod.",
                hint="Use the version that made it, or start a new home directory.",
            )
        return _Prague(store)

    def close(self) -> None:
        """Close the files and free the lock; doing it twice is harmless."""
        with self._guard:
            with suppress(AttributeError):
                self._store.close()
            if self._lock:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def duplicate(self) -> EmbeddedChain:
        """A copy in memory that goes its own way from here."""
        with self._guard:
            twin = EmbeddedChain(None)
            self._store.copy_to(twin._store)
            twin._chain = _Prague(twin._store)
            return twin

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def head(self) -> BlockHeaderAPI:
        """The newest block's header."""
        with self._guard:
            return self._chain.get_canonical_head()

    def header(self, which: int | bytes) -> BlockHeaderAPI:
        """The header of a block number or 32-byte hash; `NotFound` if there is none."""
        with self._guard:
            try:
                if isinstance(which, bytes):
                    return self._chain.get_block_header_by_hash(which)
                return self._chain.get_canonical_block_header_by_number(which)
            except (HeaderNotFound, ValidationError):
                name = f"0x{which.hex()}" if isinstance(which, bytes) else str(which)
                raise NotFound(f"Block {name} is not on this chain.") from None

    def transactions(self, header: BlockHeaderAPI) -> tuple[Any, ...]:
        """The transactions of a block, as py-evm objects."""
        with self._guard:
            builder = PragueVM.get_transaction_builder()
            return cast("tuple[Any, ...]", self._chain.chaindb.get_block_transactions(header, builder))

    def size(self, header: BlockHeaderAPI) -> int:
        """The bytes of the block's RLP form."""
        with self._guard:
            return len(rlp.encode(self._chain.get_block_by_header(header)))

    def mined(self, tx_hash: bytes) -> Mined | None:
        """The transaction of that hash with its receipt, or None when the chain does not have it."""
        with self._guard:
            try:
                number, index = self._chain.chaindb.get_transaction_index(tx_hash)
            except TransactionNotFound:
                return None
            header = self.header(number)
            receipts = self._chain.chaindb.get_receipts(header, PragueVM.get_receipt_builder())
            return Mined(
                header=header,
                position=index,
                transaction=self.transactions(header)[index],
                receipt=receipts[index],
                gas_before=receipts[index - 1].gas_used if index else 0,
                logs_before=sum(len(receipt.logs) for receipt in receipts[:index]),
            )

    def logs(
        self, first: int, last: int, addresses: list[bytes], topics: list[list[bytes] | None], limit: int
    ) -> list[LogRow]:
        """The first `limit` logs of blocks `first` … `last` that match (the rule of `eth_getLogs`), oldest first."""
        with self._guard:
            return self._store.find_logs(first, last, addresses, topics, limit)

    def balance(self, address: Address, header: BlockHeaderAPI) -> int:
        """Wei of `address` after the block."""
        with self._guard:
            return cast(int, self._state(header).get_balance(address))

    def nonce(self, address: Address, header: BlockHeaderAPI) -> int:
        """Transactions that `address` had sent after the block."""
        with self._guard:
            return cast(int, self._state(header).get_nonce(address))

    def code(self, address: Address, header: BlockHeaderAPI) -> bytes:
        """Runtime code of `address` after the block; empty for a plain account."""
        with self._guard:
            return cast(bytes, self._state(header).get_code(address))

    def storage(self, address: Address, slot: int, header: BlockHeaderAPI) -> int:
        """The 256-bit word in a storage slot after the block."""
        with self._guard:
            return cast(int, self._state(header).get_storage(address, slot))

    def _state(self, header: BlockHeaderAPI) -> Any:
        """The state after `header`, in the context (number, time) of that very block, with gas for free."""
        free = header.copy(base_fee_per_gas=0)
        hashes = PragueVM.get_prev_hashes(header.parent_hash, self._chain.chaindb)
        return PragueVM.build_state(self._store, free, ChainContext(CHAIN_ID), hashes)

    def next_header(self) -> BlockHeaderAPI:
        """The header that a block mined now would start from: state of the head, number and time of the next."""
        with self._guard:
            parent = self._chain.get_canonical_head()
            now = int(time.time()) + self.clock_offset
            return self._chain.create_header_from_parent(parent, timestamp=max(parent.timestamp + 1, now))

    # -- executing ----------------------------------------------------------------------------------------------------

    def call(self, call: Call, header: BlockHeaderAPI) -> bytes:
        """Execute without a trace on the state after `header`; returns what the contract returns.

        Raises `ExecutionReverted` with the contract's data, `Refused` for any other failure of the execution.
        """
        with self._guard:
            return cast(bytes, self._execute(call, header, call.gas or CALL_GAS_LIMIT).output)

    def estimate(self, call: Call) -> int:
        """A gas limit with which the call succeeds in the next block, at most a little more than it needs."""
        with self._guard:
            header = self.next_header()
            limit = min(call.gas or BLOCK_GAS_LIMIT, BLOCK_GAS_LIMIT)
            computation = self._execute(call, header, limit)
            zeros = call.data.count(0)
            floor = 21_000 + 10 * (zeros + 4 * (len(call.data) - zeros))  # EIP-7623
            spent = limit - computation.get_gas_remaining()
            # What it spent is exact unless a refund came at the end or a nested call kept back 1/64 (EIP-150).
            low, high = max(spent, floor) - 1, limit
            guesses = [low + 1, min(limit, (spent + 2_300) * 64 // 63)]
            while low + 1 < high and high > low + 1 + spent // 50:
                guess = guesses.pop(0) if guesses else (low + high) // 2
                if not low < guess < high:
                    continue
                try:
                    self._execute(call, header, guess)
                    high = guess
                except (ExecutionReverted, Refused):
                    low = guess
            return high

    def _execute(self, call: Call, header: BlockHeaderAPI, gas: int) -> Any:
        state = self._state(header)
        unsigned = PragueVM.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
            chain_id=CHAIN_ID,
            nonce=state.get_nonce(call.sender),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=min(gas, CALL_GAS_LIMIT),
            to=call.to or b"",
            value=call.value,
            data=call.data,
            access_list=(),
        )
        transaction = SpoofTransaction(unsigned, from_=call.sender)
        if unsigned.gas < transaction.intrinsic_gas:
            raise Refused(f"intrinsic gas too low: have {unsigned.gas}, want {transaction.intrinsic_gas}")
        if state.get_balance(call.sender) < call.value:
            raise Refused("insufficient funds for the value sent")
        try:
            computation = state.apply_transaction(transaction)
        except ValidationError as error:
            raise Refused(f"invalid call: {error}") from None
        except RecursionError:
            raise Refused(_TOO_DEEP) from None
        if computation.is_error:
            raise _failure(computation.error)
        return computation

    # -- writing ------------------------------------------------------------------------------------------------------

    def submit(self, raw: bytes) -> bytes:
        """Execute a signed raw transaction in a block of its own and return its hash; a known one changes nothing.

        It is durable when this returns. What no block could hold (nonce, funds, fee, chain id) is `Refused`.
        """
        with self._guard:
            builder = PragueVM.get_transaction_builder()
            try:
                transaction = builder.decode(raw)
                transaction.validate()
                sender = Address(transaction.sender)
            except Exception:
                raise InvalidInput("These bytes are not a signed transaction.") from None
            if self.mined(transaction.hash) is None:
                header = self.next_header()
                self._check(transaction, sender, header)
                try:
                    self._mine(header, [transaction])
                except RecursionError:
                    raise Refused(_TOO_DEEP) from None
            return cast(bytes, transaction.hash)

    def _check(self, transaction: Any, sender: Address, header: BlockHeaderAPI) -> None:
        if transaction.type_id == 3:
            raise Refused("transaction type not supported: this chain carries no blobs")
        if transaction.chain_id != CHAIN_ID:
            raise Refused(f"invalid chain id for signer: have {transaction.chain_id}, want {CHAIN_ID}")
        nonce = self.nonce(sender, self.head)
        if transaction.nonce != nonce:
            word = "low" if transaction.nonce < nonce else "high"
            raise Refused(f"nonce too {word}: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.max_fee_per_gas < header.base_fee_per_gas:
            raise Refused("max fee per gas less than block base fee")
        if transaction.gas > header.gas_limit:
            raise Refused(f"exceeds block gas limit of {header.gas_limit}")
        needed = max(transaction.intrinsic_gas, _floor_gas(transaction))
        if transaction.gas < needed:
            raise Refused(f"intrinsic gas too low: have {transaction.gas}, want {needed}")
        if self.balance(sender, self.head) < transaction.gas * transaction.max_fee_per_gas + transaction.value:
            raise Refused("insufficient funds for gas * price + value")

    def mine(self) -> BlockHeaderAPI:
        """Add an empty block that carries the present time."""
        with self._guard:
            self._mine(self.next_header(), [])
            return self.head

    def advance(self, seconds: int) -> int:
        """Set the clock forward for good: the next block is at least `seconds` later than the head and than now.

        Returns the whole offset from the wall clock, in seconds.
        """
        if not 0 <= seconds <= 100 * 365 * 86_400:
            raise InvalidInput("The clock moves forward only, and a hundred years at most.")
        with self._guard, self._store.atomic_batch():
            ahead = int(self.head.timestamp) - int(time.time())  # blocks in quick succession run ahead of the clock
            total: int = max(self.clock_offset, ahead) + seconds
            self._store[_OFFSET_KEY] = total.to_bytes(8, "big")
            return total

    @property
    def clock_offset(self) -> int:
        """Seconds by which this chain's clock runs ahead of the wall clock."""
        with self._guard:
            return int.from_bytes(self._store[_OFFSET_KEY], "big")

    def _mine(self, header: BlockHeaderAPI, transactions: list[Any]) -> None:
        chain = self._chain
        with self._block():
            chain.header = header
            result, receipts, _ = chain.mine_all(transactions, mix_hash=os.urandom(32))
            block, position = result.imported_block, 0
            for index, (transaction, receipt) in enumerate(zip(transactions, receipts, strict=True)):
                for log in receipt.logs:
                    topics = tuple(topic.to_bytes(32, "big") for topic in log.topics)
                    where = (block.number, position, block.hash, transaction.hash, index)
                    self._store.add_log(LogRow(*where, log.address, topics, log.data))
                    position += 1

    @contextmanager
    def _block(self) -> Iterator[None]:
        """One atomic batch; whatever breaks it leaves the chain, in memory too, at the block before."""
        try:
            with self._store.atomic_batch():
                yield
        except BaseException:
            self._chain = _Prague(self._store)
            raise


def _floor_gas(transaction: Any) -> int:
    return 21_000 + cast(int, PragueTransactionExecutor.calc_data_floor_gas(transaction, 21_000, 0))


def _failure(error: VMError) -> Exception:
    if isinstance(error, Revert):
        data = error.args[0] if error.args and isinstance(error.args[0], bytes) else b""
        return ExecutionReverted(data)
    words = {"OutOfGas": "out of gas", "InvalidInstruction": "invalid opcode", "InvalidJumpDestination": "invalid jump"}
    return Refused(words.get(type(error).__name__, f"execution failed: {type(error).__name__} {error}"))
