"""A trainer's money: deposit by permit, open a job, confirm, settle, withdraw, reclaim.

Amounts are UNITs of the escrow's currency. Promises: a job is opened for exactly its tree's total; nothing is sent that
the preimages at hand do not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consent.chain.account import Account
from consent.chain.client import BlockId, Prepared, Receipt
from consent.fields import UINT64_MAX, UINT256_MAX, integer
from consent.grant import Consent
from consent.market.granting import consent_id
from consent.market.lanes import courses, remaining
from consent.market.place import Market, Relayer, Sent
from consent.money import base_units
from consent.order import Order
from consent.tree import sum_of
from consent.typed import domain_separator, permit_digest
from core.encoding import to_hex
from core.errors import Conflict, Corrupted, InvalidInput, NotFound, Refused
from core.ids import Address, JobId

PERMIT_TIME = 3600  # seconds for which a signed permit holds


@dataclass(frozen=True)
class Balance:
    """What an account has: native wei, the currency's base units, and UNITs deposited in the escrow."""

    native: int
    tokens: int
    deposited: int


def balance(market: Market, account: Address, block: BlockId = "latest") -> Balance:
    """An account's balances at one block."""
    return Balance(
        market.chain.balance(account, block),
        int(market.currency.read("balanceOf", account, block=block)),
        int(market.escrow.read("deposits", account, block=block)),
    )


def deposit(market: Market, payer: Account, units: int) -> Sent:
    """Move UNITs from the payer's tokens into the escrow, allowed by an ERC-2612 permit in the same transaction."""
    amount = base_units(integer(units, "The deposit", at_least=1, at_most=UINT64_MAX), market.decimals)
    deadline = market.chain.block().timestamp + PERMIT_TIME
    nonce = int(market.currency.read("nonces", payer.address))
    signature = payer.sign_hash(
        permit_digest(_permit_domain(market), payer.address, market.escrow.address, amount, nonce, deadline)
    )
    v, r, s = signature[64], signature[:32], signature[32:64]
    # The currency takes each permit once, so a repetition is the same deposit until its nonce has moved on.
    key = f"deposit {to_hex(market.escrow.address)} {to_hex(payer.address)} {nonce} {amount}"
    return Sent("deposit", market.escrow.transact(payer, "deposit", amount, deadline, v, r, s, key=key))


def _permit_domain(market: Market) -> bytes:
    """The currency's EIP-712 domain for our own chain and address: an endpoint's word alone is not signed under."""
    try:
        version = str(market.currency.read("version"))
    except Refused:  # a token without that view has version 1
        version = "1"
    name = str(market.currency.read("name"))
    domain = domain_separator(name, market.chain_id, market.currency.address, version)
    if domain != market.currency.read("DOMAIN_SEPARATOR"):
        raise Refused(
            "The currency's permits are said to be for another chain or contract, so none is signed.",
            hint="Check the RPC endpoint and the currency's address in the settings.",
        )
    return domain


def withdraw(market: Market, payer: Account, units: int) -> Sent:
    """Take UNITs that no job holds back out of the escrow."""
    return Sent("withdraw", market.escrow.transact(payer, "withdraw", integer(units, "The amount", at_most=UINT64_MAX)))


def prepare_open(
    market: Market, payer: Account, order: Order, counted: Sequence[Consent], former: Sequence[int]
) -> Prepared:
    """Sign the transaction that opens `order` without sending it; store it before you submit it.

    `counted` and `former` are those of `opening_call`.
    """
    if payer.address != order.payer:
        raise InvalidInput("The order is for another payer.")
    return market.chain.prepare(payer, market.escrow.address, opening_call(market, order, counted, former))


def opening_call(market: Market, order: Order, counted: Sequence[Consent], former: Sequence[int]) -> bytes:
    """The call of the escrow that opens `order`, for its payer to sign.

    `counted` are the consents with limited uses, in the order of `order.counted`; `former` is the preimage that
    `free_lane` gave for the order's lane.
    """
    if market.escrow.address != order.escrow or market.chain_id != order.chain_id:
        raise InvalidInput("The order is for another escrow or chain.")
    ids = tuple(consent_id(market, consent, order.payer) for consent in counted)
    if ids != order.counted:
        raise InvalidInput("The counted consents are not those of the order.")
    return market.escrow.encode(
        "open",
        order.lane,
        order.start,
        order.runner,
        order.spec,
        order.root,
        [consent.as_tuple() for consent in counted],
        list(former),
    )


def read_opening(market: Market, order: Order, receipt: Receipt) -> Order:
    """The order as its transaction opened it; `Corrupted` if that opened something else."""
    for event in market.escrow.decode(receipt.logs):
        args = event.args
        if event.name == "Opened" and (args["payer"], args["lane"]) == (order.payer, order.lane):
            opened = order.opened_at(args["times"] >> 40)
            same = (opened.times, opened.runner, opened.spec, opened.root, opened.counted_hash)
            if same == (args["times"], args["runner"], args["spec"], args["root"], args["counted"]):
                return opened
    raise Corrupted("The transaction did not open this order.", hint="Check the RPC endpoint.")


def open_job(
    market: Market, payer: Account, order: Order, counted: Sequence[Consent], former: Sequence[int]
) -> tuple[Order, Sent]:
    """Lock the tree's total and open the job: the order with its block time, and the transaction."""
    receipt = market.chain.submit(prepare_open(market, payer, order, counted, former))
    return read_opening(market, order, receipt), Sent("open", receipt)


def confirm(market: Market, runner: Account, order: Order, statement: bytes) -> Sent:
    """The runner's word that the opening tree stands: claims begin now, and no refund can follow."""
    if runner.address != order.runner:
        raise InvalidInput("Only the job's runner confirms it.")
    args = (order.payer, order.lane, order.times, order.spec, order.root, order.counted_hash, statement)
    key = f"confirm {to_hex(order.job_id)} {to_hex(statement)}"
    return Sent("confirm", market.escrow.transact(runner, "confirm", *args, key=key))


def settle(
    market: Market,
    relayer: Relayer,
    order: Order,
    final_root: int,
    statement: bytes,
    signatures: Mapping[Address, bytes],
) -> Sent:
    """Replace the opening tree by a smaller one, with the keepers' signatures; anyone may send it.

    `signatures` by keeper address; the quorum is taken from them in the committee's order.
    """
    integer(final_root, "The final root", at_most=UINT256_MAX)
    usable = [keeper for keeper in order.keepers if keeper in signatures]
    if len(usable) < order.q:
        raise Refused(
            f"Only {len(usable)} of the committee's keepers signed the settlement; it takes {order.q}.",
            hint="Ask the others, or let the opening tree stand.",
        )
    quorum = usable[: order.q]
    return relayer.send(
        "settle",
        market.escrow,
        "settle",
        order.payer,
        order.lane,
        order.times,
        order.runner,
        order.brief,
        order.root,
        order.counted_hash,
        final_root,
        statement,
        order.committee,
        [_compact(signatures[keeper]) if keeper in quorum else _absent(keeper) for keeper in order.keepers],
        key=f"settle {to_hex(order.job_id)} {to_hex(final_root.to_bytes(32, 'big'))}",
    )


def _compact(signature: bytes) -> list[int]:
    """The seat of a keeper that signed: r, and s with the parity of y in its top bit (ERC-2098)."""
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    return [r, s | (v - 27) << 255]


def _absent(keeper: Address) -> list[int]:
    """The seat of a keeper that did not sign."""
    return [int.from_bytes(keeper, "big"), 0]


@dataclass(frozen=True)
class Standing:
    """Where a job stands on chain.

    `claims_begin` and `claims_end` are Unix seconds, `remaining` the UNITs still in its lane, `root` the tree's root in
    force, `statement` what a confirmation or settlement posted.
    """

    job_id: JobId
    claims_begin: int
    claims_end: int
    root: int
    remaining: int
    statement: bytes | None
    current: bool

    @property
    def total(self) -> int:
        """The tree's total in force, in UNITs."""
        return sum_of(self.root)


def standing(market: Market, job_id: JobId, payer: Address | None = None) -> Standing:
    """Where the job stands, from the escrow's events and its lane; `NotFound` if it was never opened."""
    for course in courses(market, payer):
        if course.opening.job_id == job_id:
            return Standing(
                job_id,
                course.start,
                course.claims_end,
                course.root,
                remaining(market, course),
                course.statement,
                course.current,
            )
    raise NotFound("No such job was opened here.", hint="Check the job's id and the chain.")


def reclaim(market: Market, payer: Account, job_id: JobId) -> Sent:
    """Take back what nobody claimed of a job, once its claims have ended."""
    for course in courses(market, payer.address):
        if course.opening.job_id != job_id:
            continue
        if not course.current or remaining(market, course) == 0:
            raise Conflict(
                "Nothing of this job is left to reclaim.", hint="`allod job show` tells where its money went."
            )
        if market.chain.block().timestamp <= course.claims_end:
            raise Refused(
                "The owners' time to claim has not ended.", hint="Nobody else can take it meanwhile; come back later."
            )
        receipt = market.escrow.transact(payer, "reclaim", course.opening.lane, course.preimage)
        return Sent("reclaim", receipt)
    raise NotFound("No such job of this payer was opened here.", hint="Check the job's id and who acts.")
