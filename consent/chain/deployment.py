"""Which contracts a world uses: their addresses, how they were deployed, and play money for development chains.

`deployment.json` beside the embedded chain is canonical JSON (RFC 8785). Whoever loads a deployment can `check` it
against the chain: right chain, our code at every address, wired to each other.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from consent.chain.account import Account
from consent.chain.contract import Contract, create
from consent.contracts import load
from consent.typed import address_word, consent_domain, escrow_domain, uint_word
from core.encoding import decode_json, encode_json, from_hex, to_hex
from core.errors import AllodError, Conflict, InvalidInput, NotFound, Refused, Unavailable
from core.files import write_atomic
from core.ids import Address

if TYPE_CHECKING:
    from consent.chain.client import BlockId, Chain, Receipt

UNIT_DECIMALS = 9


class Contracts(NamedTuple):
    """The contracts of a deployment, ready to be called."""

    registry: Contract
    consent_token: Contract
    escrow: Contract
    currency: Contract


class Finding(NamedTuple):
    """One look at a deployment: what was looked at, where, and what is wrong with it (empty where nothing is)."""

    what: str
    address: Address | None
    problem: str


@dataclass(frozen=True)
class Deployment:
    """Addresses on one chain. `currency` is the escrow's ERC-20, `unit` its base units per UNIT of the escrow.

    `first_block` is the first that can hold one of their events.
    """

    chain_id: int
    registry: Address
    consent_token: Address
    escrow: Address
    currency: Address
    unit: int
    first_block: int

    def contracts(self, chain: Chain) -> Contracts:
        """The contracts on `chain`; nothing is asked of it."""
        return Contracts(
            registry=Contract(chain, self.registry, load("DataRegistry").abi),
            consent_token=Contract(chain, self.consent_token, load("ConsentToken").abi),
            escrow=Contract(chain, self.escrow, load("JobEscrow").abi),
            currency=Contract(chain, self.currency, load("TestToken").abi),
        )

    def findings(self, chain: Chain, block: BlockId = "latest") -> list[Finding]:
        """What `chain` has at these addresses, contract by contract, against the artifacts of this version.

        Code, the constants behind it, and how the contracts point to each other. The currency may be any ERC-20: it is
        only asked for its decimals. Nothing is asked of a chain with another id.
        """
        found = chain.check_chain_id()
        if found != self.chain_id:
            return [Finding("chain", None, f"the contracts are on chain {self.chain_id}, not on {found}")]
        number, token, escrow = self.chain_id, self.consent_token, self.escrow
        pointers = {address_word(self.currency), address_word(token), uint_word(self.unit)}
        # Whatever a contract was deployed with is one of these; which of them is what, the wiring tells.
        ours: dict[str, tuple[Address, set[bytes]]] = {
            "DataRegistry": (self.registry, set()),
            "ConsentToken": (token, {uint_word(number), consent_domain(number, token)}),
            "JobEscrow": (escrow, {uint_word(number), escrow_domain(number, escrow), *pointers}),
        }
        out = []
        for name, (address, words) in ours.items():
            artifact, code = load(name), chain.code(address, block)
            problem = ""
            if not artifact.matches(code):
                problem = f"at {to_hex(address)} is no {name} of this version"
            elif not words.issuperset(artifact.constants(code)):
                problem = f"the {name} at {to_hex(address)} was deployed for another chain or other contracts"
            out.append(Finding(name, address, problem))
        if not any(one.problem for one in out):
            contract = self.contracts(chain).escrow
            wired = tuple(contract.read(name, block=block) for name in ("token", "consents", "unit"))
            fits = wired == (self.currency, self.consent_token, self.unit)
            problem = "" if fits else "the escrow belongs to another currency, unit or ConsentToken"
            out.append(Finding("wiring", None, problem))
            out.append(Finding("currency", self.currency, self._problem_of_currency(chain, block)))
        return out

    def _problem_of_currency(self, chain: Chain, block: BlockId) -> str:
        try:
            unit = unit_of(self.contracts(chain).currency.read("decimals", block=block))
        except AllodError:
            return f"at {to_hex(self.currency)} is no ERC-20 with decimals"
        return "" if unit == self.unit else f"a UNIT of this currency is {unit} base units, not {self.unit}"

    def check(self, chain: Chain, block: BlockId = "latest") -> None:
        """`Conflict` unless `chain` has our code at these addresses, wired to each other, and is the right chain."""
        for one in self.findings(chain, block):
            if one.problem:
                raise _mismatch(one.problem)

    def save(self, path: Path) -> None:
        """Write it to `path`, durably."""
        document = {name: to_hex(value) if isinstance(value, bytes) else value for name, value in asdict(self).items()}
        write_atomic(path, encode_json({"v": 1, **document}))

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read what `save` wrote; `NotFound` if there is none, `InvalidInput` if it is anything else."""
        try:
            document = decode_json(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(
                "No contracts are deployed here yet.", hint="A development chain deploys them itself."
            ) from None
        numbers, addresses = ("chain_id", "unit", "first_block"), ("registry", "consent_token", "escrow", "currency")
        if not isinstance(document, dict) or document.keys() != {"v", *numbers, *addresses} or document["v"] != 1:
            raise InvalidInput(f"{path} is not a list of contracts.", hint="Restore it from a copy.")
        if any(type(document[name]) is not int or document[name] < 0 for name in numbers):
            raise InvalidInput(f"{path} holds a number that is none.", hint="Restore it from a copy.")
        registry, consent_token, escrow, currency = (Address(from_hex(document[name], 20)) for name in addresses)
        chain_id, unit, first_block = (document[name] for name in numbers)
        return cls(chain_id, registry, consent_token, escrow, currency, unit, first_block)


def _mismatch(what: str) -> Conflict:
    return Conflict(
        f"The settings and the chain do not fit: {what}.",
        hint="Correct the contract addresses or the endpoint; a new development chain needs contracts of its own.",
    )


def deploy(chain: Chain, account: Account, currency: Address | None = None, *, name: str | None = None) -> Deployment:
    """Deploy the contracts from `account` for an ERC-20, by default for new play money (development chains only).

    Under a `name` that was used before with the same outbox, what is on the chain already is not deployed again: an
    interrupted deployment goes on where it stopped.
    """
    if currency is None and not chain.is_development:
        raise Refused(
            "The test currency is deployed to development chains only.",
            hint="Elsewhere, give the addresses of the contracts in the settings.",
        )

    def put(contract: str, *args: object) -> tuple[Contract, Receipt]:
        artifact = load(contract)
        version = hashlib.sha256(artifact.bytecode + repr(args).encode()).hexdigest()[:16]
        key = None if name is None else f"deploy {name} {contract} {version}"
        return create(chain, account, artifact.abi, artifact.bytecode, *args, key=key)

    if currency is not None:
        unit = _unit_of_token(chain, currency)  # before anything costs gas
    registry, first = put("DataRegistry")
    consent_token, _ = put("ConsentToken")
    if currency is None:
        money, _ = put("TestToken")
        currency, unit = money.address, unit_of(money.read("decimals"))
    escrow, _ = put("JobEscrow", currency, unit, consent_token.address)
    return Deployment(
        chain_id=chain.chain_id,
        registry=registry.address,
        consent_token=consent_token.address,
        escrow=escrow.address,
        currency=currency,
        unit=unit,
        first_block=first.block_number,
    )


def _unit_of_token(chain: Chain, currency: Address) -> int:
    try:
        decimals = Contract(chain, currency, load("TestToken").abi).read("decimals")
    except (Refused, Unavailable) as error:
        if not chain.code(currency):
            raise InvalidInput(
                f"There is no contract at {to_hex(currency)}.", hint="Give an ERC-20's address."
            ) from error
        raise InvalidInput(f"{to_hex(currency)} is no ERC-20 with decimals.", hint="Give another currency.") from error
    return unit_of(decimals)


def unit_of(decimals: int) -> int:
    """Base units per UNIT for a currency of that many decimals: amounts in UNITs fit 64 bits."""
    return int(10 ** max(0, decimals - UNIT_DECIMALS))


def deployed(home: Path, chain: Chain, developer: Account) -> Deployment:
    """The deployment of a home directory's own chain, made when there is none yet."""
    path = home / "chain" / "deployment.json"
    try:
        return Deployment.load(path)
    except NotFound:
        deployment = deploy(chain, developer)
        deployment.save(path)
        return deployment


def faucet(chain: Chain, developer: Account, currency: Contract, to: Address, native_wei: int, tokens: int) -> None:
    """Give `to` play money: `native_wei` for gas and `tokens` base units of the test currency."""
    if not chain.is_development:
        raise Refused("There is no faucet on this chain.", hint="Send it money from a wallet.")
    if native_wei:
        chain.send(developer, to, value=native_wei)
    if tokens:
        currency.transact(developer, "mint", to, tokens)
