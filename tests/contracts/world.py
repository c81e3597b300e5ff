"""The contracts on a development chain, the people of the tests, and the words in which tests act on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account
from consent.chain.answers import Receipt
from consent.chain.client import Block, Chain
from consent.chain.contract import Contract, Event, create
from consent.chain.embedded import EmbeddedChain, developer
from consent.chain.jsonrpc import Provider
from consent.committee import committee_hash
from consent.contracts import load
from consent.grant import Consent, nonce_of
from consent.order import brief_of, counted_hash
from consent.tree import Leaf, SumTree, sum_of
from consent.typed import address_word, keccak, settlement_digest, uint_word
from core.errors import Refused
from core.ids import NOBODY, Address, Asset, ConsentId

DAY = 86_400
GAS = 5_000_000
HOSTILE = Path(__file__).parent / "hostile"
BRIEF = brief_of(bytes([1]) * 32, bytes(1216), 0)


@lru_cache(maxsize=32)
def account(number: int) -> Account:
    return Account(bytes([number]) * 32)


OWNER, OTHER_OWNER, TRAINER, RUNNER, STRANGER, RELAYER = map(account, range(1, 7))
KEEPERS = tuple(map(account, (11, 12, 13)))
KEEPER_ADDRESSES = [keeper.address for keeper in KEEPERS]
QUORUM = 3


@dataclass(frozen=True)
class Job:
    """A job as its payer knows it; `times`, `root` change when it is confirmed or settled."""

    payer: Address
    lane: int
    times: int
    runner: Address
    spec: bytes
    root: int
    counted: bytes

    @property
    def order(self) -> bytes:
        return keccak(address_word(self.runner) + self.spec + self.counted)

    @property
    def prev(self) -> list[int]:
        return [self.times, self.root, int.from_bytes(self.order, "big")]

    @property
    def start(self) -> int:
        return self.times & (2**40 - 1)


@dataclass
class World:
    """The contracts on one chain, and the words in which tests act on them. `embedded` is None on anvil."""

    embedded: EmbeddedChain | None
    chain: Chain
    registry: Contract
    token: Contract
    money: Contract
    escrow: Contract
    gas: dict[str, int] = field(default_factory=dict)

    # -- acting --

    def send(self, who: Account, contract: Contract, name: str, *args: Any, gas: int = GAS) -> Receipt:
        return contract.transact(who, name, *args, gas=gas)

    def refused(self, reason: str, who: Account, contract: Contract, name: str, *args: Any) -> None:
        """The contract refuses with exactly this reason."""
        self.chain.mine()  # the reason is found by a call at the block before: let time have passed there too
        with pytest.raises(Refused) as caught:
            self.send(who, contract, name, *args)
        assert caught.value.detail["reason"] == reason

    def at(self, contract: Contract, **changes: Contract) -> World:
        return replace(self, **{"escrow": contract, **changes})

    @property
    def now(self) -> int:
        return self.chain.block().timestamp

    def advance(self, seconds: int) -> None:
        self.chain.advance(seconds)

    def deploy(self, who: Account, name: str, *args: Any) -> Contract:
        """Deploy a contract of the hostile folder."""
        abi, bytecode = compiled(name)
        return create(self.chain, who, abi, bytecode, *args)[0]

    # -- consents --

    def consent(self, bit: int = 0, **changes: Any) -> Consent:
        """A well-formed consent of OWNER to TRAINER under nonce bit `bit`, with `changes`."""
        consent = Consent(
            owner=OWNER.address,
            grantee=TRAINER.address,
            asset=Asset(bytes([0xA5]) * 32),
            terms=bytes([0x7E]) * 32,
            purpose=bytes([0x90]) * 32,
            runner=NOBODY,
            escrow=self.escrow.address,
            not_before=0,
            expiry=self.now + 300 * DAY,
            max_uses=0,
            nonce=nonce_of(0, 0, bit),
        )
        return replace(consent, **changes)

    def sign(self, consent: Consent, who: Account = OWNER) -> bytes:
        return who.sign_hash(self.digest(consent))

    def digest(self, consent: Consent) -> bytes:
        return consent.digest(self.chain.chain_id, self.token.address)

    def id(self, consent: Consent, holder: Address | None = None) -> ConsentId:
        return consent.id(self.chain.chain_id, self.token.address, holder or consent.grantee)

    def status(self, consent: Consent, holder: Address | None = None) -> int:
        return self.token.read("status", consent.as_tuple(), holder or consent.grantee)

    def word(self, consent: Consent, holder: Address | None = None) -> int:
        return self.token.read("token", self.id(consent, holder))

    # -- money --

    def fund(self, payer: Account, units: int) -> None:
        """Mint, approve and deposit `units` for `payer`."""
        self.send(developer(), self.money, "mint", payer.address, units)
        self.send(payer, self.money, "approve", self.escrow.address, units)
        self.send(payer, self.escrow, "deposit", units, 0, 0, bytes(32), bytes(32))

    def balance(self, who: Address) -> int:
        return self.money.read("balanceOf", who)

    def deposit_of(self, who: Account) -> int:
        return self.escrow.read("deposits", who.address)

    def lane(self, job: Job) -> int:
        return self.escrow.read("lanes", job.payer, job.lane)

    def remaining(self, job: Job) -> int:
        return sum_of(self.lane(job))

    # -- jobs --

    def spec(self, keepers: Sequence[Address] = KEEPER_ADDRESSES, quorum: int = QUORUM) -> bytes:
        return keccak(BRIEF + committee_hash(quorum, keepers))

    def open(
        self,
        root: int,
        payer: Account = TRAINER,
        lane: int = 0,
        *,
        run: int = DAY,
        counted: Sequence[Consent] = (),
        prev: Sequence[int] = (0, 0, 0),
        runner: Account = RUNNER,
    ) -> Job:
        stop = self.now + run
        counts = [consent.as_tuple() for consent in counted]
        receipt = self.send(
            payer, self.escrow, "open", lane, stop, runner.address, self.spec(), root, counts, list(prev)
        )
        self.gas["open"] = receipt.gas_used
        (opened,) = self.events(receipt, "Opened")
        ids = [self.id(consent, payer.address) for consent in counted]
        assert opened["counted"] == counted_hash(ids)
        return Job(payer.address, lane, opened["times"], runner.address, self.spec(), root, opened["counted"])

    def job_id(self, job: Job) -> bytes:
        return keccak(
            uint_word(self.chain.chain_id)
            + address_word(self.escrow.address)
            + address_word(job.payer)
            + uint_word(job.lane)
            + uint_word(job.times >> 40)
            + uint_word(job.root)
            + job.order
        )

    def confirm(self, job: Job, who: Account = RUNNER, statement: bytes = bytes([0x5A]) * 32) -> Job:
        receipt = self.send(who, self.escrow, "confirm", *self.confirming(job, statement))
        self.gas["confirm"] = receipt.gas_used
        (settled,) = self.events(receipt, "Settled")
        return replace(job, times=settled["times"])

    def confirming(self, job: Job, statement: bytes = bytes([0x5A]) * 32) -> tuple[Any, ...]:
        return (job.payer, job.lane, job.times, job.spec, job.root, job.counted, statement)

    def settling(
        self,
        job: Job,
        final: int,
        *,
        statement: bytes = bytes(32),
        signers: Sequence[int | None] = (0, 1, 2),
        keepers: Sequence[Account] = KEEPERS,
        quorum: int = QUORUM,
        digest: bytes | None = None,
    ) -> tuple[Any, ...]:
        """The arguments of `settle`: in each keeper's seat signs the keeper at this place, or nobody."""
        if digest is None:
            digest = settlement_digest(self.chain.chain_id, self.escrow.address, self.job_id(job), final, statement)
        addresses = [keeper.address for keeper in keepers]
        seats = [
            absent(addresses[seat]) if index is None else compact(keepers[index].sign_hash(digest))
            for seat, index in enumerate(signers)
        ]
        return (
            job.payer, job.lane, job.times, job.runner, BRIEF, job.root, job.counted, final, statement,
            hash_committee(quorum, addresses), seats,
        )  # fmt: skip

    def settle(self, job: Job, final: int, who: Account = STRANGER, **options: Any) -> Job:
        receipt = self.send(who, self.escrow, "settle", *self.settling(job, final, **options))
        self.gas["settle"] = receipt.gas_used
        (settled,) = self.events(receipt, "Settled")
        return replace(job, times=settled["times"], root=settled["root"])

    def claim(self, job: Job, tree: SumTree, index: int, **changes: Any) -> dict[str, Any]:
        """One entry for `claim_many`, with `changes` made to it."""
        leaf = tree.leaves[index]
        entry = {
            "payer": job.payer,
            "lane": job.lane,
            "times": job.times,
            "root": job.root,
            "order": job.order,
            "consent": leaf.consent_id,
            "payee": leaf.payee,
            "amount": leaf.amount,
            "position": tree.position(index),
            "proof": tree.proof(index),
        }
        return {**entry, **changes}

    def claims(self, *entries: dict[str, Any], who: Account = RELAYER) -> Receipt:
        receipt = self.send(who, self.escrow, "claim_many", list(entries))
        self.gas["claim_many"] = receipt.gas_used
        return receipt

    def skipped(self, *entries: dict[str, Any]) -> dict[int, int]:
        """Claim these and return which were skipped, with the reason's number."""
        return {e["index"]: e["reason"] for e in self.events(self.claims(*entries), "ClaimSkipped")}

    # -- events --

    def events(self, receipt: Receipt, name: str) -> list[dict[str, Any]]:
        found: list[Event] = []
        for contract in (self.registry, self.token, self.money, self.escrow):
            found += contract.decode(receipt.logs)
        return [event.args for event in found if event.name == name]


def hash_committee(quorum: int, keepers: Sequence[Address]) -> bytes:
    """A committee's hash, also of one that no terms could name."""
    head = uint_word(quorum) + uint_word(64) + uint_word(len(keepers))
    return keccak(head + b"".join(map(address_word, keepers)))


def absent(keeper: Address) -> list[int]:
    """The seat of a keeper that did not sign."""
    return [int.from_bytes(keeper, "big"), 0]


def compact(signature: bytes) -> list[int]:
    """A 65-byte signature in the 64 bytes of ERC-2098, as two words."""
    half = int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255
    return [int.from_bytes(signature[:32], "big"), half]


def tree_of(*amounts: int, payee: Address = OWNER.address) -> SumTree:
    """A tree of made-up consents that pay these amounts to one payee."""
    return SumTree([Leaf(ConsentId(keccak(bytes([i >> 8, i & 255]))), payee, a) for i, a in enumerate(amounts)])


@lru_cache(maxsize=16)
def compiled(name: str) -> tuple[list[dict[str, Any]], bytes]:
    import vyper

    source = (HOSTILE / f"{name}.vy").read_text()
    output = vyper.compile_code(source, output_formats=["abi", "bytecode"])
    return output["abi"], bytes.fromhex(output["bytecode"][2:])


class AnvilChain(Chain):
    """An anvil chain whose blocks are a second apart, as those of the embedded one are while they come quickly.

    `begin` is the time of its next block, by default the present.
    """

    def __init__(self, provider: Provider, *, begin: int | None = None) -> None:
        super().__init__(provider)
        self.request("anvil_setBlockTimestampInterval", 1)
        if begin is not None:
            self.request("evm_setNextBlockTimestamp", begin)

    def advance(self, seconds: int) -> Block:
        self.request("evm_setNextBlockTimestamp", self.block().timestamp + seconds)
        return self.mine()


def attach(embedded: EmbeddedChain, deployed: World) -> World:
    """The same contracts on a copy of their chain, whose time is the present however old the original is."""
    chain = Chain.embedded(embedded)
    chain.mine()

    def here(contract: Contract) -> Contract:
        return Contract(chain, contract.address, contract.interface._entries)

    return World(
        embedded, chain, here(deployed.registry), here(deployed.token), here(deployed.money), here(deployed.escrow)
    )


def build_world(embedded: EmbeddedChain) -> World:
    """Deploy every contract on a fresh chain and give the people ether."""
    return deploy_world(Chain.embedded(embedded), embedded)


def deploy_world(chain: Chain, embedded: EmbeddedChain | None = None) -> World:
    """The same on a chain of any make."""
    dev = developer()

    def make(name: str, *args: Any) -> Contract:
        artifact = load(name)
        return create(chain, dev, artifact.abi, artifact.bytecode, *args)[0]

    for who in (OWNER, OTHER_OWNER, TRAINER, RUNNER, STRANGER, RELAYER):
        chain.send(dev, who.address, value=10**18, gas=21_000)
    token, money = make("ConsentToken"), make("TestToken")
    escrow = make("JobEscrow", money.address, 1, token.address)
    return World(embedded, chain, make("DataRegistry"), token, money, escrow)
