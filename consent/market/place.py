"""The contracts of one world and who sends to them: a `Market` reads, a `Relayer` sends what owners signed.

Promises: a `Sent` stands for a transaction that a block has and that did not revert.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from consent.chain.account import Account
from consent.chain.client import Chain, Receipt
from consent.chain.contract import Contract, Event
from consent.chain.deployment import Deployment
from core.errors import Unavailable
from core.ids import Address, Asset

if TYPE_CHECKING:
    from consent.index.indexer import Indexer

ContractName = Literal["registry", "token", "escrow"]
SAFE_TIME, SAFE_PAUSE = 3600, 4.0  # seconds to wait for a safe block at most, and between two looks
BATCH = 16  # consents of one call, the contracts' bound


@dataclass(frozen=True)
class Sent:
    """One transaction: what it was for, and its receipt."""

    what: str
    receipt: Receipt

    @property
    def tx_hash(self) -> bytes:
        """The transaction's hash."""
        return self.receipt.tx_hash

    @property
    def gas(self) -> int:
        """Gas that it used."""
        return self.receipt.gas_used


class Market:
    """The four contracts of a deployment, on one chain. With an `index` (opened at its first use), past
    events come from there."""

    def __init__(self, chain: Chain, deployment: Deployment, index: Callable[[], Indexer] | None = None) -> None:
        self.chain = chain
        self.deployment = deployment
        self._index = index
        contracts = deployment.contracts(chain)
        self.registry: Contract = contracts.registry
        self.token: Contract = contracts.consent_token
        self.escrow: Contract = contracts.escrow
        self.currency: Contract = contracts.currency

    @property
    def chain_id(self) -> int:
        """The deployment's chain."""
        return self.deployment.chain_id

    @cached_property
    def decimals(self) -> int:
        """The currency's decimals."""
        return int(self.currency.read("decimals"))

    @cached_property
    def symbol(self) -> str:
        """The currency's symbol, as its contract says it."""
        return str(self.currency.read("symbol"))

    def await_safe(self, number: int, on_wait: Callable[[int], None]) -> None:
        """Wait until the node calls block `number` safe: keepers believe nothing newer that is to a job's advantage.

        On a development chain, which makes no blocks by itself, empty ones are mined until it is so. `on_wait` hears
        once how many blocks are missing, if any. `Unavailable` if it takes longer than an hour.
        """
        missing = number - self.chain.block("safe").number
        if missing <= 0:
            return
        on_wait(missing)
        deadline = time.monotonic() + SAFE_TIME
        while self.chain.block("safe").number < number:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Block {number} is not safe after {SAFE_TIME // 60} minutes.",
                    hint="The chain does not come to an agreement, or its endpoint lags: run the job again later.",
                )
            if self.chain.is_development:
                self.chain.mine()
            else:
                time.sleep(SAFE_PAUSE)

    def events(self, contract: ContractName, name: str, **indexed: Any) -> list[Event]:
        """Every event of this name and these arguments up to the newest block, oldest first."""
        if self._index is not None:
            index = self._index()
            index.follow()
            return index.events(contract, name, **indexed)
        source: Contract = getattr(self, contract)
        return source.events(name, self.deployment.first_block, **indexed)

    def registered_terms(self, asset: Asset) -> list[bytes]:
        """The hashes of all terms that the asset was registered with, oldest first."""
        return [event.args["terms"] for event in self.events("registry", "Registered", asset=asset)]


class Relayer:
    """Whoever pays the gas for signed calls. `on_sent` sees every transaction, say to keep its gas."""

    def __init__(self, chain: Chain, account: Account, on_sent: Callable[[Sent], None] | None = None) -> None:
        self.chain = chain
        self.account = account
        self._on_sent = on_sent

    @property
    def address(self) -> Address:
        """The account that sends."""
        return self.account.address

    def send(
        self, what: str, contract: Contract, name: str, *args: Any, gas: int | None = None, key: str | None = None
    ) -> Sent:
        """Call `name` and wait for its block; what the contract refuses is `Refused` with its reason.

        A `key` names an effect that is wanted once (see `Chain.send`). Give `gas` where the contract goes on after a
        failed inner call: an estimate may be too low for that inner call.
        """
        return self._send(what, contract, name, args, gas, key, None)

    def keyed(self, key: str, on_kept: Callable[[int, bytes], None]) -> Relayer:
        """This relayer for one effect that may take several transactions, always the same ones in the same order.

        Each is wanted once, under `key` and its number, whatever key it is sent with; `on_kept` hears number and hash
        of each before a block has it.
        """
        return _KeyedRelayer(self, key, on_kept)

    def _send(
        self,
        what: str,
        contract: Contract,
        name: str,
        args: tuple[Any, ...],
        gas: int | None,
        key: str | None,
        on_kept: Callable[[bytes], None] | None,
    ) -> Sent:
        sent = Sent(what, contract.transact(self.account, name, *args, gas=gas, key=key, on_kept=on_kept))
        if self._on_sent is not None:
            self._on_sent(sent)
        return sent


class _KeyedRelayer(Relayer):
    def __init__(self, relayer: Relayer, key: str, on_kept: Callable[[int, bytes], None]) -> None:
        super().__init__(relayer.chain, relayer.account, relayer._on_sent)
        self._key, self._number, self._on_kept = key, 0, on_kept

    def send(
        self, what: str, contract: Contract, name: str, *args: Any, gas: int | None = None, key: str | None = None
    ) -> Sent:
        number = self._number
        self._number += 1
        heard = partial(self._on_kept, number)
        return self._send(what, contract, name, args, gas, f"{self._key} {number}", heard)
