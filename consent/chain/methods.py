"""The JSON-RPC methods of the development chain: hex parameters in, JSON results out, the errors a node would give.

Follows the Ethereum execution API and EIP-1898 (a block named by its hash). There is one miner and no fork, so `safe`,
`finalized` and `latest` are the same block. A revert is error 3 with the contract's data, as geth and anvil answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import rlp  # type: ignore[import-untyped,unused-ignore]
from eth_hash.auto import keccak

from consent.chain.embedded import CHAIN_ID, TIP, Call, EmbeddedChain, Mined
from consent.chain.evm import BlockHeaderAPI
from consent.chain.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, REVERTED, SERVER_ERROR, TOO_MUCH, RpcError
from consent.chain.reverts import ExecutionReverted, revert_reason
from consent.chain.store import LogRow
from core.encoding import from_hex, to_hex
from core.errors import AllodError, InvalidInput, NotFound
from core.ids import NOBODY, Address

MAX_LOGS = 100_000
MAX_ALTERNATIVES = 1_000
_QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})", re.IGNORECASE)


class Methods:
    """`request(method, params)` on one embedded chain; raises `RpcError` for everything that goes wrong."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain
        names: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "net_version": lambda: str(CHAIN_ID),
            "net_listening": lambda: False,
            "web3_clientVersion": lambda: "Allod/v1/development/py-evm-prague",
            "eth_syncing": lambda: False,
            "eth_accounts": list,
            "eth_blockNumber": lambda: hex(chain.head.block_number),
            "eth_gasPrice": lambda: hex(chain.next_header().base_fee_per_gas + TIP),
            "eth_maxPriorityFeePerGas": lambda: hex(TIP),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBalance": lambda who, block="latest": hex(chain.balance(_address(who), self._header(block))),
            "eth_getTransactionCount": lambda who, block="latest": hex(chain.nonce(_address(who), self._header(block))),
            "eth_getCode": lambda who, block="latest": to_hex(chain.code(_address(who), self._header(block))),
            "eth_getStorageAt": lambda who, slot, block="latest": to_hex(
                chain.storage(_address(who), _quantity(slot), self._header(block)).to_bytes(32, "big")
            ),
            "eth_call": lambda call, block="latest": to_hex(chain.call(_call(call), self._header(block))),
            "eth_estimateGas": lambda call, block="latest": hex(chain.estimate(_call(call))),
            "eth_feeHistory": self._fee_history,
            "eth_getLogs": self._logs,
            "eth_sendRawTransaction": lambda raw: to_hex(chain.submit(from_hex(raw))),
            "eth_getTransactionReceipt": self._receipt,
            "eth_getTransactionByHash": self._transaction,
            "evm_mine": self._mine,
            "evm_increaseTime": lambda seconds: chain.advance(_quantity(seconds)),
        }
        self._names = names

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """The result of one call."""
        run = self._names.get(method)
        if run is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method} does not exist/is not available")
        try:
            return run(*params)
        except RpcError:
            raise
        except ExecutionReverted as error:
            words = f": {revert_reason(error.data)}" if error.data else ""
            raise RpcError(REVERTED, f"execution reverted{words}", to_hex(error.data)) from None
        except InvalidInput as error:
            raise RpcError(INVALID_PARAMS, error.message) from None
        except AllodError as error:
            raise RpcError(SERVER_ERROR, error.message) from None
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
            raise RpcError(INVALID_PARAMS, f"invalid parameters for {method}") from None

    def _header(self, block: object) -> BlockHeaderAPI:
        """The header that a tag, a number or an EIP-1898 object names."""
        if isinstance(block, dict):
            if "blockHash" in block:
                return self._chain.header(from_hex(block["blockHash"], 32))
            block = block["blockNumber"]
        if block in ("latest", "safe", "finalized"):
            return self._chain.head
        if block == "pending":
            return self._chain.next_header()
        return self._chain.header(0 if block == "earliest" else _quantity(block))

    def _block_by_number(self, block: object, full: bool = False) -> dict[str, Any] | None:
        try:
            return self._block("latest" if block == "pending" else block, full)
        except NotFound:
            return None

    def _block_by_hash(self, block_hash: str, full: bool = False) -> dict[str, Any] | None:
        try:
            return self._block({"blockHash": block_hash}, full)
        except NotFound:
            return None

    def _block(self, block: object, full: bool) -> dict[str, Any]:
        header = self._header(block)
        transactions = self._chain.transactions(header)
        return {
            "number": hex(header.block_number),
            "hash": to_hex(header.hash),
            "parentHash": to_hex(header.parent_hash),
            "timestamp": hex(header.timestamp),
            "nonce": to_hex(header.nonce),
            "sha3Uncles": to_hex(header.uncles_hash),
            "logsBloom": to_hex(header.bloom.to_bytes(256, "big")),
            "transactionsRoot": to_hex(header.transaction_root),
            "stateRoot": to_hex(header.state_root),
            "receiptsRoot": to_hex(header.receipt_root),
            "miner": to_hex(header.coinbase),
            "difficulty": hex(header.difficulty),
            "extraData": to_hex(header.extra_data),
            "mixHash": to_hex(header.mix_hash),
            "gasLimit": hex(header.gas_limit),
            "gasUsed": hex(header.gas_used),
            "baseFeePerGas": hex(header.base_fee_per_gas),
            "withdrawalsRoot": to_hex(header.withdrawals_root),
            "blobGasUsed": hex(header.blob_gas_used),
            "excessBlobGas": hex(header.excess_blob_gas),
            "parentBeaconBlockRoot": to_hex(header.parent_beacon_block_root),
            "requestsHash": to_hex(header.requests_hash),
            "size": hex(self._chain.size(header)),
            "uncles": [],
            "withdrawals": [],
            "transactions": [
                _transaction(header, index, item) if full else to_hex(item.hash)
                for index, item in enumerate(transactions)
            ],
        }

    def _transaction(self, tx_hash: str) -> dict[str, Any] | None:
        mined = self._chain.mined(from_hex(tx_hash, 32))
        return mined and _transaction(mined.header, mined.position, mined.transaction)

    def _receipt(self, tx_hash: str) -> dict[str, Any] | None:
        mined = self._chain.mined(from_hex(tx_hash, 32))
        return mined and _receipt(mined)

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        query = _LogQuery.parse(wanted)
        if "blockHash" in wanted:
            if "fromBlock" in wanted or "toBlock" in wanted:
                raise InvalidInput("blockHash excludes fromBlock and toBlock.")
            first = last = self._header({"blockHash": wanted["blockHash"]}).block_number
        else:
            first, last = (self._number(wanted.get(name, "latest")) for name in ("fromBlock", "toBlock"))
        rows = self._chain.logs(first, last, query.addresses, query.topics, MAX_LOGS + 1)
        if len(rows) > MAX_LOGS:
            raise RpcError(TOO_MUCH, f"query returned more than {MAX_LOGS} results")
        return [_log(row) for row in rows]

    def _number(self, block: object) -> int:
        """A block number for a range: one beyond the head is no error there."""
        if isinstance(block, str) and block.startswith("0x"):
            return min(_quantity(block), 2**62)
        return int(self._header(block).block_number)

    def _fee_history(self, count: object, newest: object, percentiles: Sequence[float] | None = None) -> dict[str, Any]:
        last = self._header("latest" if newest == "pending" else newest)
        first = max(0, last.block_number + 1 - min(_quantity(count), 1_024))
        headers = [self._chain.header(number) for number in range(first, last.block_number + 1)]
        head = last.hash == self._chain.head.hash
        following = self._chain.next_header() if head else self._chain.header(last.block_number + 1)
        fees = [hex(header.base_fee_per_gas) for header in (*headers, following)]
        history: dict[str, Any] = {
            "oldestBlock": hex(first),
            "baseFeePerGas": fees,
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if percentiles:
            history["reward"] = [[hex(TIP)] * len(percentiles) for _ in headers]
        return history

    def _mine(self, timestamp: object = None) -> str:
        if timestamp is not None:
            raise InvalidInput("evm_mine takes no time here; evm_increaseTime moves the clock.")
        self._chain.mine()
        return "0x0"


class _LogQuery(NamedTuple):
    addresses: list[bytes]
    topics: list[list[bytes] | None]

    @classmethod
    def parse(cls, wanted: dict[str, Any]) -> _LogQuery:
        given = wanted.get("address") or []
        addresses = [from_hex(item, 20) for item in ([given] if isinstance(given, str) else given)]
        topics: list[list[bytes] | None] = []
        for item in wanted.get("topics") or []:
            if item is None or item == []:
                topics.append(None)
            else:
                topics.append([from_hex(word, 32) for word in ([item] if isinstance(item, str) else item)])
        if len(topics) > 4 or len(addresses) + sum(len(item or ()) for item in topics) > MAX_ALTERNATIVES:
            raise InvalidInput(f"A log query names at most 4 topics and {MAX_ALTERNATIVES} values in all.")
        return cls(addresses, topics)


def _quantity(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise InvalidInput("Expected a quantity: 0x and hex digits without leading zeros.")


def _address(value: object) -> Address:
    return Address(from_hex(value, 20))


def _call(fields: dict[str, Any]) -> Call:
    data = fields.get("input", fields.get("data", "0x"))
    if fields.get("data", data) != data:
        raise InvalidInput("Both data and input are given and differ.")
    return Call(
        sender=_address(fields["from"]) if fields.get("from") else NOBODY,
        to=_address(fields["to"]) if fields.get("to") else None,
        data=from_hex(data),
        value=_quantity(fields.get("value", 0)),
        gas=_quantity(fields["gas"]) if fields.get("gas") else None,
    )


def _gas_price(header: BlockHeaderAPI, item: Any) -> int:
    return int(min(item.max_fee_per_gas, item.max_priority_fee_per_gas + header.base_fee_per_gas))


def _place(header: BlockHeaderAPI, index: int) -> dict[str, str]:
    return {"blockNumber": hex(header.block_number), "blockHash": to_hex(header.hash), "transactionIndex": hex(index)}


def _transaction(header: BlockHeaderAPI, index: int, item: Any) -> dict[str, Any]:
    kind = item.type_id or 0
    fields: dict[str, Any] = {
        **_place(header, index),
        "hash": to_hex(item.hash),
        "type": hex(kind),
        "nonce": hex(item.nonce),
        "from": to_hex(item.sender),
        "to": to_hex(item.to) if item.to else None,
        "value": hex(item.value),
        "gas": hex(item.gas),
        "gasPrice": hex(_gas_price(header, item)),
        "input": to_hex(item.data),
        "r": hex(item.r),
        "s": hex(item.s),
        "v": hex(item.y_parity if kind else item.v),
        "chainId": hex(item.chain_id),
    }
    if kind:
        fields["yParity"] = hex(item.y_parity)
        fields["accessList"] = [
            {"address": to_hex(where), "storageKeys": [to_hex(slot.to_bytes(32, "big")) for slot in slots]}
            for where, slots in item.access_list
        ]
    if kind >= 2:
        fields["maxFeePerGas"] = hex(item.max_fee_per_gas)
        fields["maxPriorityFeePerGas"] = hex(item.max_priority_fee_per_gas)
    return fields


def _receipt(mined: Mined) -> dict[str, Any]:
    header, item, receipt = mined.header, mined.transaction, mined.receipt
    created = None
    if not item.to:
        created = to_hex(keccak(rlp.encode([item.sender, item.nonce]))[12:])
    logs = [
        LogRow(
            header.block_number, mined.logs_before + position, header.hash, item.hash, mined.position, log.address,
            tuple(topic.to_bytes(32, "big") for topic in log.topics), log.data,
        )
        for position, log in enumerate(receipt.logs)
    ]  # fmt: skip
    return {
        **_place(header, mined.position),
        "transactionHash": to_hex(item.hash),
        "type": hex(item.type_id or 0),
        "from": to_hex(item.sender),
        "to": to_hex(item.to) if item.to else None,
        "contractAddress": created,
        "status": "0x1" if receipt.state_root == b"\x01" else "0x0",
        "gasUsed": hex(receipt.gas_used - mined.gas_before),
        "cumulativeGasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(_gas_price(header, item)),
        "logsBloom": to_hex(receipt.bloom.to_bytes(256, "big")),
        "logs": [_log(row) for row in logs],
    }


def _log(row: LogRow) -> dict[str, Any]:
    return {
        "blockNumber": hex(row.block),
        "blockHash": to_hex(row.block_hash),
        "transactionHash": to_hex(row.tx_hash),
        "transactionIndex": hex(row.tx_index),
        "logIndex": hex(row.position),
        "address": to_hex(row.address),
        "topics": [to_hex(topic) for topic in row.topics],
        "data": to_hex(row.data),
        "removed": False,
    }
