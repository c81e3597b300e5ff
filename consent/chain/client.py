"""The chain client: the only thing in Allod that talks to an EVM, over HTTP or in this process alike.

Thin on purpose: JSON-RPC requests, strictly read answers, transactions signed here. A contract's refusal is `Refused`
with its reason; a node that fails, or answers nonsense, is `Unavailable`, which every caller treats as a no.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from eth_hash.auto import keccak

from consent.chain.account import Account, Transaction
from consent.chain.agreeing import AgreeingProvider
from consent.chain.answers import (
    Block,
    Log,
    Receipt,
    meaning_of,
    read_address,
    read_block,
    read_logs,
    read_number,
    read_receipt,
)
from consent.chain.jsonrpc import METHOD_NOT_FOUND, EmbeddedProvider, HttpProvider, Provider, RpcError
from consent.chain.sending import OnKept, Sending
from core.encoding import from_hex, to_hex
from core.errors import AllodError, NotFound, Refused, Unavailable
from core.ids import Address

if TYPE_CHECKING:
    from consent.chain.embedded import EmbeddedChain

__all__ = ["Block", "BlockId", "Chain", "Log", "Prepared", "Receipt"]

DEVELOPMENT_CHAIN_ID = 31337
DEFAULT_TIP = 10**9  # wei per gas, where a node does not suggest one

BlockId = int | str | bytes
"""A number, a tag (latest, safe, finalized, earliest, pending) or a 32-byte hash."""

Value = TypeVar("Value")


class Prepared(NamedTuple):
    """A signed transaction that was not sent yet: whoever stores it can send it again without doing it twice."""

    raw: bytes
    tx_hash: bytes


class Chain:
    """A chain behind a provider. `chain_id`, if given, is the only one accepted."""

    def __init__(self, provider: Provider, *, chain_id: int | None = None) -> None:
        self._provider = provider
        self._expected = chain_id
        self.sending = Sending(self)

    @classmethod
    def http(cls, url: str, *, chain_id: int | None = None, timeout: float = 30.0, patience: float = 0.0) -> Chain:
        """The chain behind a JSON-RPC endpoint, or behind several, separated by commas, all of which must agree.

        `timeout` in seconds for one request; an endpoint that is away is waited for `patience` seconds.
        """
        places = [part.strip() for part in url.split(",") if part.strip()] or [url]
        providers = [HttpProvider(place, timeout=timeout, patience=patience) for place in places]
        if len(providers) == 1:
            return cls(providers[0], chain_id=chain_id)
        return cls(AgreeingProvider([(one.name, one) for one in providers]), chain_id=chain_id)

    @classmethod
    def embedded(cls, chain: EmbeddedChain, *, owned: bool = False) -> Chain:
        """The development chain in this process; `owned` closes it together with this client."""
        return cls(EmbeddedProvider(chain, owned=owned))

    def close(self) -> None:
        """Let go of connections and files."""
        self._provider.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- requests -----------------------------------------------------------------------------------------------------

    def request(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call, its result as decoded JSON. A revert is `Refused`, any other failure `Unavailable`."""
        try:
            return self._provider.request(method, params)
        except RpcError as error:
            raise meaning_of(method, error) from None

    def _read(self, parse: Callable[[Any], Value], method: str, *params: Any) -> Value:
        result = self.request(method, *params)
        try:
            return parse(result)
        except (AllodError, TypeError, KeyError, ValueError, AttributeError):
            raise Unavailable(
                f"The chain's RPC endpoint answered {method} with something malformed.",
                hint="Use another endpoint.",
            ) from None

    @property
    def chain_id(self) -> int:
        """The chain id (EIP-155): the one this client was made for, else what the endpoint said first."""
        if self._expected is None:
            self._expected = self._read(read_number, "eth_chainId")
        return self._expected

    def check_chain_id(self) -> int:
        """Ask the endpoint again: `Refused` when it serves another chain than this client was made for."""
        found = self._read(read_number, "eth_chainId")
        if found != self.chain_id:
            raise Refused(
                f"The endpoint serves chain {found}; this is set up for chain {self.chain_id}.",
                hint="Point it to an endpoint of the right chain.",
                of_sender=True,
            )
        return found

    # -- reading ------------------------------------------------------------------------------------------------------

    def block(self, which: BlockId = "latest") -> Block:
        """The block of a number, tag or hash; `NotFound` if the chain has none."""
        if isinstance(which, bytes):
            block = self._read(read_block, "eth_getBlockByHash", to_hex(which), False)
        else:
            block = self._read(read_block, "eth_getBlockByNumber", _tag(which), False)
        if block is None:
            raise NotFound(f"Block {to_hex(which) if isinstance(which, bytes) else which} is not on this chain.")
        if (isinstance(which, bytes) and block.hash != which) or (isinstance(which, int) and block.number != which):
            raise _beside_the_question("eth_getBlock")
        return block

    def call(
        self,
        to: Address,
        data: bytes,
        block: BlockId = "latest",
        *,
        sender: Address | None = None,
        gas: int | None = None,
    ) -> bytes:
        """Execute a read at a block; a hash pins it (EIP-1898), so that several reads see one state."""
        fields = {"to": to_hex(to), "data": to_hex(data)}
        if sender is not None:
            fields["from"] = to_hex(sender)
        if gas is not None:
            fields["gas"] = hex(gas)
        return self._read(from_hex, "eth_call", fields, _at(block))

    def logs(
        self,
        addresses: Sequence[Address] = (),
        topics: Sequence[bytes | Sequence[bytes] | None] = (),
        from_block: int | str = "earliest",
        to_block: int | str = "latest",
        *,
        block_hash: bytes | None = None,
    ) -> list[Log]:
        """Logs that match, oldest first. A topic is a word, several of which one must match, or None for any.

        No `addresses` means all. A node that answers with other logs than those asked for is `Unavailable`.
        `block_hash` asks for one block instead of a range. A node that refuses a long range is asked in halves.
        """
        query: dict[str, Any] = {"address": [to_hex(item) for item in addresses]} if addresses else {}
        query["topics"] = [
            None if item is None else to_hex(item) if isinstance(item, bytes) else [to_hex(word) for word in item]
            for item in topics
        ]
        if block_hash is not None:
            found = self._read(read_logs, "eth_getLogs", {**query, "blockHash": to_hex(block_hash)})
            return _only_matching(found, addresses, topics, block_hash)
        try:
            wanted = {**query, "fromBlock": _tag(from_block), "toBlock": _tag(to_block)}
            return _only_matching(self._read(read_logs, "eth_getLogs", wanted), addresses, topics, None)
        except Unavailable as error:
            if not error.detail.get("too_much"):
                raise
            first, last = self.block(from_block).number, self.block(to_block).number
            if first >= last:
                raise
        middle = (first + last) // 2
        return self.logs(addresses, topics, first, middle) + self.logs(addresses, topics, middle + 1, last)

    def scan(
        self, parse: Callable[[Any], Value], addresses: Sequence[Address], blocks: bytes | tuple[int, int]
    ) -> Value:
        """All logs of these contracts in one block (its hash) or from a first to a last, in one request.

        `parse` reads the node's own JSON, for who has many logs to read; what it raises is `Unavailable`, and a refusal
        of too much has `too_much` in its detail.
        """
        query: dict[str, Any] = {"address": [to_hex(item) for item in addresses]}
        if isinstance(blocks, bytes):
            query["blockHash"] = to_hex(blocks)
        else:
            query |= {"fromBlock": hex(blocks[0]), "toBlock": hex(blocks[1])}
        return self._read(parse, "eth_getLogs", query)

    def balance(self, address: Address, block: BlockId = "latest") -> int:
        """Native money of `address`, in wei."""
        return self._read(read_number, "eth_getBalance", to_hex(address), _at(block))

    def code(self, address: Address, block: BlockId = "latest") -> bytes:
        """Runtime code at `address`; empty for a plain account."""
        return self._read(from_hex, "eth_getCode", to_hex(address), _at(block))

    def nonce(self, address: Address, block: BlockId = "pending") -> int:
        """The nonce of the next transaction of `address`."""
        return self._read(read_number, "eth_getTransactionCount", to_hex(address), _at(block))

    def receipt(self, tx_hash: bytes) -> Receipt | None:
        """The receipt of a transaction, or None while no block has it."""
        return self._read(read_receipt, "eth_getTransactionReceipt", to_hex(tx_hash))

    # -- writing ------------------------------------------------------------------------------------------------------

    def estimate(self, sender: Address, to: Address | None, data: bytes, value: int) -> int:
        """A gas limit for this call, an eighth above what a trial takes; a call that would fail is `Refused`."""
        fields = {"from": to_hex(sender), "data": to_hex(data), "value": hex(value)}
        needed = self._read(read_number, "eth_estimateGas", fields if to is None else {**fields, "to": to_hex(to)})
        return needed + needed // 8

    def pricing(self) -> tuple[int, int, int]:
        """The newest block's number and base fee, and the tip that the node suggests, in wei per gas."""

        def read(block: Any) -> tuple[int, int]:
            return read_number(block["number"]), read_number(block["baseFeePerGas"])

        return *self._read(read, "eth_getBlockByNumber", "latest", False), self._suggested_tip()

    def _suggested_tip(self) -> int:
        try:
            return self._read(read_number, "eth_maxPriorityFeePerGas")
        except Unavailable as error:
            if error.detail.get("code") != METHOD_NOT_FOUND:
                raise
            return DEFAULT_TIP

    def prepare(
        self,
        account: Account,
        to: Address | None,
        data: bytes = b"",
        *,
        value: int = 0,
        gas: int | None = None,
        nonce: int | None = None,
    ) -> Prepared:
        """Sign an EIP-1559 transaction without sending it; `to` None creates a contract, `value` is in wei.

        Without `gas` the call is tried first, so that what the contract would refuse costs nothing: `Refused`.
        """
        wanted = self.draft(account.address, to, data, value=value, gas=gas, nonce=nonce)
        raw = account.sign_transaction(**wanted._asdict())
        return Prepared(raw, keccak(raw))

    def draft(
        self,
        sender: Address,
        to: Address | None,
        data: bytes = b"",
        *,
        value: int = 0,
        gas: int | None = None,
        nonce: int | None = None,
    ) -> Transaction:
        """What `prepare` signs, for a sender who signs somewhere else."""
        chain_id = self.check_chain_id()
        if gas is None:
            gas = self.estimate(sender, to, data, value)
        _, base, tip = self.pricing()
        if nonce is None:
            nonce = self.sending.next_nonce(sender)
        return Transaction(chain_id, nonce, tip, 2 * base + tip, gas, to, value, data)

    def submit(self, prepared: Prepared, *, timeout: float = 180.0) -> Receipt:
        """Send a prepared transaction and wait until a block has it; sending one twice does it once.

        A node that forgets it is sent it again. One that its contract reverted is `Refused`; one whose nonce was taken
        is so once a block shows by what: until then it may be by this one, in a block that the node does not show yet.
        None within `timeout` seconds is `Unavailable`.
        """
        deadline, pause, known = time.monotonic() + timeout, 0.02, False
        stale: AllodError | None = None
        while (receipt := self.receipt(prepared.tx_hash)) is None:
            if not known and not self.knows(prepared.tx_hash):
                stale = self._offer(prepared)
                known = True
                continue
            if time.monotonic() > deadline:
                if stale is not None:
                    raise stale
                raise Unavailable(
                    f"Transaction {to_hex(prepared.tx_hash)} is sent, but no block has it after {timeout:.0f} s.",
                    hint="Send the same transaction again later; it cannot happen twice.",
                )
            time.sleep(pause)
            pause, known = min(1.0, pause * 1.5), False
        if not receipt.success:
            raise self.reverted(receipt)
        return receipt

    def _offer(self, prepared: Prepared) -> AllodError | None:
        """Send it; what a node says against it that may only be lagging behind, if it says so."""
        try:
            self.submit_raw(prepared.raw)
        except AllodError as error:
            if self.receipt(prepared.tx_hash) is None and not self.knows(prepared.tx_hash):
                if error.detail.get("stale_nonce") and not self.sending.is_taken(prepared):
                    return error
                raise
        return None

    def send(
        self,
        account: Account,
        to: Address | None,
        data: bytes = b"",
        *,
        value: int = 0,
        gas: int | None = None,
        key: str | None = None,
        on_kept: OnKept | None = None,
    ) -> Receipt:
        """Sign, keep, send and wait for inclusion. What the contract refuses is `Refused`, with its reason.

        `key` names the effect: what was sent under it before is not sent again, and its receipt is the answer. See
        `consent.chain.sending` for what is promised. `on_kept` hears the transaction's hash before a block has it.
        """
        return self.sending.send(account, to, data, value=value, gas=gas, key=key, on_kept=on_kept)

    def submit_raw(self, raw: bytes) -> None:
        """Hand a signed transaction to the node, which may have it already (and then says so by an error)."""
        self.request("eth_sendRawTransaction", to_hex(raw))

    def knows(self, tx_hash: bytes) -> bool:
        """Whether the node has this transaction, in a block or waiting."""
        return self.request("eth_getTransactionByHash", to_hex(tx_hash)) is not None

    def transactions(self, number: int) -> list[tuple[Address, int, bytes]]:
        """Sender, nonce and hash of every transaction in a block; none where there is no such block."""

        def read(block: Any) -> list[tuple[Address, int, bytes]]:
            found = [] if block is None else block["transactions"]
            return [(read_address(tx["from"]), read_number(tx["nonce"]), from_hex(tx["hash"], 32)) for tx in found]

        return self._read(read, "eth_getBlockByNumber", hex(number), True)

    def reverted(self, receipt: Receipt) -> Refused:
        """The refusal in a mined transaction: its call, repeated on the state before its block, names the reason."""
        found = self.request("eth_getTransactionByHash", to_hex(receipt.tx_hash))
        reason, data = "no reason given", "0x"
        try:
            fields = {name: found[name] for name in ("from", "to", "gas", "value") if found[name] is not None}
            self.request("eth_call", {**fields, "data": found["input"]}, hex(receipt.block_number - 1))
        except Refused as error:
            reason, data = error.detail.get("reason", error.message), error.detail.get("data", "0x")
        except (Unavailable, KeyError, TypeError):
            pass
        return Refused(
            f"The contract refused: {reason}.",
            hint="Nothing changed on chain except the fee.",
            reason=reason,
            data=data,
            tx_hash=to_hex(receipt.tx_hash),
        )

    # -- development chains -------------------------------------------------------------------------------------------

    @property
    def is_development(self) -> bool:
        """Whether this is a development chain, by its id (31337, which anvil and hardhat share)."""
        return self.chain_id == DEVELOPMENT_CHAIN_ID

    def mine(self) -> Block:
        """Add an empty block that carries the present time; development chains only, elsewhere `Refused`."""
        self._require_development()
        self.request("evm_mine")
        return self.block()

    def advance(self, seconds: int) -> Block:
        """Move the chain's clock forward and mine; development chains only, elsewhere `Refused`."""
        self._require_development()
        self.request("evm_increaseTime", seconds)
        return self.mine()

    def _require_development(self) -> None:
        if not self.is_development:
            raise Refused(
                f"Chain {self.chain_id} is not a development chain: nobody here makes its blocks or its time.",
                hint="Wait for its next block.",
            )


def _beside_the_question(method: str) -> Unavailable:
    return Unavailable(
        f"The chain's RPC endpoint answered {method} with something that was not asked for.",
        hint="Use another endpoint.",
    )


def _only_matching(
    logs: list[Log],
    addresses: Sequence[Address],
    topics: Sequence[bytes | Sequence[bytes] | None],
    block_hash: bytes | None,
) -> list[Log]:
    """`logs`, each of which is of the addresses, topics and block that were asked for.

    A log with too few topics does not match one that may be anything (as anvil has it): it is left out.
    """
    logs = [log for log in logs if len(log.topics) >= len(topics) or any(topics[len(log.topics) :])]
    for log in logs:
        fits = (not addresses or log.address in addresses) and len(log.topics) >= len(topics)
        fits = fits and (block_hash is None or log.block_hash == block_hash)
        for topic, wanted in zip(log.topics, topics, strict=False):
            fits = fits and (not wanted or topic in ([wanted] if isinstance(wanted, bytes) else wanted))
        if not fits:
            raise _beside_the_question("eth_getLogs")
    return logs


def _tag(block: int | str) -> str:
    return hex(block) if isinstance(block, int) else block


def _at(block: BlockId) -> str | dict[str, Any]:
    if isinstance(block, bytes):
        return {"blockHash": to_hex(block), "requireCanonical": True}
    return _tag(block)
