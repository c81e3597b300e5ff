"""A contract at an address: reads pinned to a block, transactions, and its events, decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consent.chain.abi import Interface
from consent.chain.account import Account
from consent.chain.client import BlockId, Chain, Log, Receipt
from consent.chain.sending import OnKept
from core.errors import Unavailable
from core.ids import Address


@dataclass(frozen=True)
class Event:
    """One decoded event; `args` by name, bytes as bytes."""

    name: str
    args: dict[str, Any]
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    log_index: int


class Contract:
    """The contract of `abi` at `address` on `chain`."""

    def __init__(self, chain: Chain, address: Address, abi: Sequence[Mapping[str, Any]]) -> None:
        self.chain = chain
        self.address = address
        self.interface = Interface(abi)

    def encode(self, name: str, *args: Any) -> bytes:
        """The call data of a function."""
        return self.interface.encode_call(name, args)

    def read(
        self, name: str, *args: Any, block: BlockId = "latest", sender: Address | None = None, gas: int | None = None
    ) -> Any:
        """Call a view at `block`: one value, or a tuple where it returns several; `Unavailable` where no code is."""
        data = self.chain.call(self.address, self.encode(name, *args), block, sender=sender, gas=gas)
        if not data and not self.chain.code(self.address, block):
            raise Unavailable(
                f"There is no contract at 0x{self.address.hex()}.",
                hint="Check the contract addresses in the settings and the chain they belong to.",
            )
        return self.interface.decode_result(name, len(args), data)

    def transact(
        self,
        account: Account,
        name: str,
        *args: Any,
        value: int = 0,
        gas: int | None = None,
        key: str | None = None,
        on_kept: OnKept | None = None,
    ) -> Receipt:
        """Send a call from `account` and wait for it; what the contract refuses is `Refused` with its reason.

        What was sent under the same `key` before is not sent again (see `Chain.send`).
        """
        data = self.encode(name, *args)
        return self.chain.send(account, self.address, data, value=value, gas=gas, key=key, on_kept=on_kept)

    def events(
        self, name: str, from_block: int | str = 0, to_block: int | str = "latest", **indexed: Any
    ) -> list[Event]:
        """Events of one name in a range of blocks, oldest first; `indexed` arguments select (a list means any of)."""
        topics = self.interface.event_topics(name, indexed)
        return self.decode(self.chain.logs([self.address], topics, from_block, to_block))

    def decode(self, logs: Iterable[Log]) -> list[Event]:
        """The events of this contract among `logs`, say of a receipt."""
        events = []
        for log in logs:
            decoded = self.interface.decode_log(log.topics, log.data) if log.address == self.address else None
            if decoded is not None:
                name, args = decoded
                events.append(Event(name, args, log.block_number, log.block_hash, log.tx_hash, log.log_index))
        return events


def create(
    chain: Chain,
    account: Account,
    abi: Sequence[Mapping[str, Any]],
    bytecode: bytes,
    *args: Any,
    key: str | None = None,
) -> tuple[Contract, Receipt]:
    """Deploy `bytecode` with constructor arguments from `account`; under the same `key` only once."""
    receipt = chain.send(account, None, bytecode + Interface(abi).encode_constructor(args), key=key)
    if receipt.contract_address is None:
        raise Unavailable("The endpoint reports a deployment without an address.", hint="Use another endpoint.")
    return Contract(chain, receipt.contract_address, abi), receipt
