"""Which contracts a world uses: their addresses, how they were deployed, and play money for development chains.

`deployment.json` beside the embedded chain is canonical JSON (RFC 8785). Whoever loads a deployment can `check` it
against the chain: right chain, our code at every address, wired to each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from consent.chain.account import Account
from consent.chain.contract import Contract, create
from consent.contracts import load
from core.encoding import decode_json, encode_json, from_hex, to_hex
from core.errors import Conflict, InvalidInput, NotFound, Refused
from core.files import write_atomic
from core.ids import Address

if TYPE_CHECKING:
    from consent.chain.client import BlockId, Chain

UNIT_DECIMALS = 9


class Contracts(NamedTuple):
    """The contracts of a deployment, ready to be called."""

    registry: Contract
    consent_token: Contract
    escrow: Contract
    currency: Contract


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

    def check(self, chain: Chain, block: BlockId = "latest") -> None:
        """`Conflict` unless `chain` has our code at these addresses, wired to each other, and is the right chain.

        The currency may be any ERC-20: it is only asked what the escrow says of it.
        """
        if chain.check_chain_id() != self.chain_id:
            raise _mismatch(f"the contracts are on chain {self.chain_id}, not on {chain.chain_id}")
        ours = {"DataRegistry": self.registry, "ConsentToken": self.consent_token, "JobEscrow": self.escrow}
        for name, address in ours.items():
            if not load(name).matches(chain.code(address, block)):
                raise _mismatch(f"at {to_hex(address)} is no {name} of this version")
        escrow = self.contracts(chain).escrow
        wired = (
            escrow.read("token", block=block),
            escrow.read("consents", block=block),
            escrow.read("unit", block=block),
        )
        if wired != (self.currency, self.consent_token, self.unit):
            raise _mismatch("the escrow belongs to another currency, unit or ConsentToken")

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


def deploy(chain: Chain, developer: Account) -> Deployment:
    """Deploy the four contracts with a currency of play money from `developer`; development chains only."""
    if not chain.is_development:
        raise Refused(
            "The test currency is deployed to development chains only.",
            hint="Elsewhere, give the addresses of the contracts in the settings.",
        )

    def put(name: str, *args: object) -> Contract:
        artifact = load(name)
        return create(chain, developer, artifact.abi, artifact.bytecode, *args)[0]

    first_block = chain.block().number + 1
    registry, consent_token, currency = put("DataRegistry"), put("ConsentToken"), put("TestToken")
    unit = unit_of(currency.read("decimals"))
    escrow = put("JobEscrow", currency.address, unit, consent_token.address)
    return Deployment(
        chain_id=chain.chain_id,
        registry=registry.address,
        consent_token=consent_token.address,
        escrow=escrow.address,
        currency=currency.address,
        unit=unit,
        first_block=first_block,
    )


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
