"""What a node answers, as values: blocks, logs, receipts, and the meaning of its errors.

Reading is strict: hex of the right length, or an exception that the client turns into `Unavailable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from consent.chain.jsonrpc import REVERTED, TOO_MUCH, RpcError
from consent.chain.reverts import revert_reason
from core.encoding import from_hex
from core.errors import AllodError, InvalidInput, Refused, Unavailable
from core.ids import Address

_EXECUTION_ERRORS = (
    "out of gas",
    "invalid opcode",
    "invalid jump",
    "stack underflow",
    "execution failed",
    "intrinsic gas",
)
_TOO_MUCH = ("block range", "too many", "more than", "too large", "exceed")


_HALTS = {  # in anvil's words
    "evm error outofgas": "out of gas",
    "evm error memoryoog": "out of gas",
    "evm error reentrancysentryoog": "out of gas",
    "evm error invalidfeopcode": "invalid opcode",
    "evm error opcodenotfound": "invalid opcode",
    "evm error invalidjump": "invalid jump",
    "evm error stackunderflow": "stack underflow",
}


@dataclass(frozen=True)
class Block:
    """A block header's identity; `timestamp` in seconds since 1970."""

    number: int
    hash: bytes
    timestamp: int
    parent_hash: bytes


@dataclass(frozen=True)
class Log:
    """One log and where it stands; `log_index` counts within the block."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int


@dataclass(frozen=True)
class Receipt:
    """What became of a transaction; `effective_gas_price` in wei per gas."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    success: bool
    gas_used: int
    effective_gas_price: int
    sender: Address
    to: Address | None
    contract_address: Address | None
    logs: tuple[Log, ...]


def read_number(value: Any) -> int:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise InvalidInput("Expected a quantity.")
    return int(value, 16)


def read_block(value: Any) -> Block | None:
    if value is None:
        return None
    return Block(
        number=read_number(value["number"]),
        hash=from_hex(value["hash"], 32),
        timestamp=read_number(value["timestamp"]),
        parent_hash=from_hex(value["parentHash"], 32),
    )


def read_address(value: Any) -> Address:
    return Address(from_hex(value, 20))


def read_logs(value: Any) -> list[Log]:
    return [
        Log(
            address=read_address(item["address"]),
            topics=tuple(from_hex(topic, 32) for topic in item["topics"]),
            data=from_hex(item["data"]),
            block_number=read_number(item["blockNumber"]),
            block_hash=from_hex(item["blockHash"], 32),
            tx_hash=from_hex(item["transactionHash"], 32),
            log_index=read_number(item["logIndex"]),
        )
        for item in value
        if not item.get("removed")
    ]


def read_receipt(value: Any) -> Receipt | None:
    if value is None or value["blockHash"] is None:
        return None
    return Receipt(
        tx_hash=from_hex(value["transactionHash"], 32),
        block_number=read_number(value["blockNumber"]),
        block_hash=from_hex(value["blockHash"], 32),
        success=read_number(value["status"]) == 1,
        gas_used=read_number(value["gasUsed"]),
        effective_gas_price=read_number(value["effectiveGasPrice"]),
        sender=read_address(value["from"]),
        to=None if value["to"] is None else read_address(value["to"]),
        contract_address=None if value["contractAddress"] is None else read_address(value["contractAddress"]),
        logs=tuple(read_logs(value["logs"])),
    )


def meaning_of(method: str, error: RpcError) -> AllodError:
    """What an RPC error means to a caller. What is refused for the sender's sake, whatever is called, has `of_sender`
    in its detail: it may be right once the sender's money or endpoint is."""
    words = error.message.lower()
    data = error.data if error.data and error.data.startswith("0x") else "0x"
    if error.code == REVERTED or "revert" in words:
        try:
            reason = revert_reason(from_hex(data))
        except InvalidInput:
            data, reason = "0x", "no reason given"
        if data == "0x" and ": " in error.message:
            reason = error.message.split(": ", 1)[1]
        hint = "Nothing was sent; the contract's rules say no."
        return Refused(f"The contract refused: {reason}.", hint=hint, reason=reason, data=data)
    halt = next((reason for name, reason in _HALTS.items() if words.startswith(name)), None)
    if halt or words.startswith(_EXECUTION_ERRORS):
        reason = halt or error.message
        return Refused(f"The call fails: {reason}.", hint="Nothing was sent.", reason=reason)
    if "insufficient funds" in words:
        hint = "Send it native money; on a development chain, use the faucet."
        return Refused("The account cannot pay for the transaction.", hint=hint, reason=error.message, of_sender=True)
    if "nonce too low" in words or "replacement transaction underpriced" in words:
        hint = "Another program sends for this account; try again."
        return Refused("The account's nonce was used meanwhile.", hint=hint, reason=error.message, stale_nonce=True)
    if "chain id" in words:
        hint = "Sign it for the chain that the endpoint serves."
        return Refused("The transaction is for another chain.", hint=hint, reason=error.message, of_sender=True)
    too_much = error.code == TOO_MUCH or any(part in words for part in _TOO_MUCH)
    return Unavailable(
        f"The chain's RPC endpoint failed at {method}: {error.message or error.code}.",
        hint="Try again, or use another endpoint.",
        code=error.code,
        **({"too_much": True} if too_much else {}),
    )
