"""What runners, payers and owners do with a committee: hand in trees, ask for shares, revoke, settle, read logs.

Nothing a keeper says is believed: its signature, the hash of its share and its receipt are checked here, against the
addresses of the committee that the caller accepts, and a keeper that lied is named. Ports are given by keeper
index; one that leads nowhere raises `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from consent.chain.account import Account, recover
from consent.committee import Committee
from consent.fields import UINT64_MAX, exact_list, integer, octets
from consent.grant import Consent
from consent.keeper.log import START, Entry, audit
from consent.keeper.port import KeeperPort
from consent.keeper.proposal import NO_STATEMENT, LedgerTotal, Proposal
from consent.keeper.receipt import Receipt, release_root
from consent.keeper.request import MAX_OBJECTS, ReleaseRequest, release_digest
from consent.keeper.revocation import Revocation, stored_digest, write_revocation
from consent.keeper.trees import write_deposit
from consent.keeper.wire import any_octets, read_reply, sign, write
from consent.order import Order
from consent.terms import Terms, price
from consent.tree import FEE, MAX_LEAVES, SumTree
from consent.typed import settlement_digest
from core.errors import AllodError, Busy, Corrupted, InvalidInput, Refused, Unavailable
from core.ids import Address, ConsentId, ObjectId
from vault.manifest import ObjectManifest

Ports = Mapping[int, KeeperPort]
ShareCheck = Callable[[ObjectId, int, bytes], None]
"""Raises `Corrupted` unless this keeper's sealed share opens for the job and meets the hash its owner signed."""


class Reasons(dict[int, str]):
    """What each keeper that gave nothing usable said, by index; `away` are those that did not answer at all.

    One that is away may answer later, one that refused will not: only the first is worth waiting for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.away: set[int] = set()

    def note(self, index: int, error: AllodError) -> None:
        """Keep why keeper `index` gave nothing."""
        self[index] = error.message
        if isinstance(error, Unavailable | Busy):
            self.away.add(index)

    def failure(self, message: str, *, hint: str, lacking: int, **detail: Any) -> AllodError:
        """`Unavailable` where those who are away could still make up for the `lacking` ones, else `Refused`."""
        kind = Unavailable if lacking <= len(self.away) else Refused
        return kind(message, hint=hint, reasons=dict(self), **detail)


_MAX_BODY = 4 << 20  # bytes of objects in one request; the keepers' limit is 8 MiB with everything


@dataclass
class Released:
    """What keepers released of one consent: for each object `t` pairs (keeper, R_i), and their receipts.

    `missing` are objects that fewer than t keepers released; `reasons` says what each keeper that gave nothing usable
    answered, `liars` are those among them whose share or receipt was wrong.
    """

    shares: dict[ObjectId, list[tuple[int, bytes]]] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    missing: list[ObjectId] = field(default_factory=list)
    reasons: Reasons = field(default_factory=Reasons)
    liars: set[int] = field(default_factory=set)


def deposit_tree(ports: Ports, order: Order, tree: SumTree) -> Reasons:
    """Hand the opening tree to every keeper; the reasons of those that did not take it, by index."""
    body = write_deposit(order, tree)
    failed = Reasons()
    for index, port in sorted(ports.items()):
        try:
            read_reply(port.call("tree", body), ("job",), "The keeper's reply")
        except AllodError as error:
            failed.note(index, error)
    return failed


def release(
    ports: Ports, committee: Committee, token: Address, request: ReleaseRequest, signer: Account, check: ShareCheck
) -> Released:
    """Ask keepers for the shares of a consent's objects until t have given each; any number of objects.

    `signer` is the job's runner, `token` the ConsentToken. A keeper that fails is replaced by the next. `Refused`, with
    each keeper's reason, if no object could be released; `Unavailable` if more could be once all keepers answer.
    """
    if request.committee_id != committee.id:
        raise InvalidInput("The request names another committee than the one that is asked.")
    found = Released()
    for part in _parts(request):
        ids = [ObjectManifest.decode(item.manifest).object_id for item in part.objects]
        given: list[tuple[int, list[bytes]]] = []
        for index in sorted(ports, key=lambda index: (index in found.reasons, index)):
            if len(given) == committee.t:
                break
            try:
                shares, receipt = _ask(ports[index], index, committee, token, part, ids, signer, check)
            except AllodError as error:
                found.reasons.note(index, error)
                if isinstance(error, Corrupted):
                    found.liars.add(index)
                continue
            given.append((index, shares))
            found.receipts.append(receipt)
        if len(given) < committee.t:
            if committee.t - len(given) <= len(found.reasons.away - {index for index, _ in given}):
                raise Unavailable(
                    _joined(found.reasons), hint="Ask again when the keepers answer.", reasons=dict(found.reasons)
                )
            found.missing += ids
            continue
        for position, object_id in enumerate(ids):
            found.shares[object_id] = [(index, shares[position]) for index, shares in given]
    if not found.shares:
        raise Refused(_joined(found.reasons), reasons=dict(found.reasons), liars=sorted(found.liars))
    return found


def _parts(request: ReleaseRequest) -> list[ReleaseRequest]:
    parts: list[list[Any]] = [[]]
    size = 0
    for item in request.objects:
        bytes_of = len(item.manifest) + len(item.row) + 32 * (len(item.proof) + len(item.row_proof)) + 200
        if parts[-1] and (len(parts[-1]) == MAX_OBJECTS or size + bytes_of > _MAX_BODY):
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += bytes_of
    return [replace(request, objects=tuple(part)) for part in parts]


def _ask(
    port: KeeperPort,
    index: int,
    committee: Committee,
    token: Address,
    part: ReleaseRequest,
    ids: list[ObjectId],
    signer: Account,
    check: ShareCheck,
) -> tuple[list[bytes], Receipt]:
    order = part.order
    consent_id = part.consent.id(order.chain_id, token, order.payer)
    body = part.body(index)
    signature = signer.sign_hash(release_digest(order, consent_id, index, body))
    reply = read_reply(port.call("release", sign(body, signature)), ("shares", "receipt"), "The keeper's reply")
    try:
        shares = exact_list(reply["shares"], "The released shares", at_least=len(ids), at_most=len(ids))
        shares = [any_octets(share, "A released share") for share in shares]
        receipt = Receipt.read(reply["receipt"])
    except InvalidInput as error:
        raise Corrupted(f"Keeper {index}'s reply cannot be read: {error.message}", keeper=index) from None
    if (receipt.job, receipt.consent, receipt.keeper) != (order.job_id, consent_id, index):
        raise Corrupted(f"Keeper {index}'s receipt is for another release.", keeper=index)
    if receipt.root != release_root(list(zip(ids, shares, strict=True))):
        raise Corrupted(f"Keeper {index}'s receipt does not name what it released.", keeper=index)
    receipt.verify(order.chain_id, order.escrow, committee.addresses[index - 1])
    for object_id, share in zip(ids, shares, strict=True):
        check(object_id, index, share)
    return shares, receipt


def _joined(reasons: Mapping[int, str]) -> str:
    """Each keeper's reason; one that all share is said once."""
    if not reasons:
        return "No keeper was asked."
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return " ".join(f"Keeper {index}: {reason}" for index, reason in sorted(reasons.items()))


@dataclass(frozen=True)
class Revoked:
    """Which keepers stored a revocation. It is certain to count once `stored` reaches `needed` = n − t + 1, as far as
    those keepers are honest: then no t of the others are left."""

    stored: tuple[int, ...]
    needed: int
    reasons: Mapping[int, str]

    @property
    def certain(self) -> bool:
        """Whether enough keepers stored it."""
        return len(self.stored) >= self.needed


def revoke_everywhere(
    ports: Ports, committee: Committee, chain_id: int, token: Address, message: Revocation, signature: bytes
) -> Revoked:
    """Give the owner's signed revocation to every keeper and check each signed acknowledgement."""
    data = sign(write_revocation(message), signature)
    digest = message.digest(chain_id, token)
    stored, reasons = [], {}
    for index, port in sorted(ports.items()):
        try:
            reply = read_reply(port.call("revoke", data), ("message", "seen", "sig"), "The keeper's reply")
            _verify_stored(reply, digest, chain_id, token, committee.addresses[index - 1])
        except AllodError as error:
            reasons[index] = error.message
        else:
            stored.append(index)
    return Revoked(tuple(stored), committee.n - committee.t + 1, reasons)


def _verify_stored(reply: Mapping[str, Any], digest: bytes, chain_id: int, token: Address, address: Address) -> None:
    try:
        signer = recover(stored_digest(chain_id, token, digest, reply["seen"]), octets(reply["sig"], "It", 65))
    except InvalidInput:
        signer = None
    if reply["message"] != digest or signer != address:
        raise Corrupted("The keeper's acknowledgement is not signed by it.")


def hand_in_ledger(
    ports: Ports, order: Order, token: Address, consent: Consent, record_epochs: int, signer: Account
) -> dict[int, str]:
    """Give the runner's ledger total for a revoked consent to every keeper, within 10 minutes of the revocation.

    Returns the reasons of those that did not take it; a keeper that released nothing for the consent needs none.
    """
    total = LedgerTotal(order, consent, record_epochs)
    data = sign(total.encode(), signer.sign_hash(total.digest(token)))
    failed = {}
    for index, port in sorted(ports.items()):
        try:
            read_reply(port.call("ledger", data), ("consent", "record_epochs"), "The keeper's reply")
        except AllodError as error:
            failed[index] = error.message
    return failed


@dataclass(frozen=True)
class Closing:
    """What keepers said when they closed a job, by index: consents released, ledger totals held; and who did not."""

    released: Mapping[int, frozenset[ConsentId]]
    ledgers: Mapping[int, Mapping[ConsentId, int]]
    reasons: Reasons

    def lowest(self, opening: SumTree, terms: Mapping[ConsentId, Terms], *, keep_fee: bool) -> SumTree:
        """The smallest final tree that every keeper that answered will sign.

        A leaf falls to zero where nobody released a share; to its ledger total where every keeper that did released
        holds one (`terms` of those consents are needed); the fee only if `keep_fee` is false.
        """
        everywhere = frozenset().union(*self.released.values())
        amounts: dict[ConsentId, int] = {}
        for leaf in opening.leaves:
            if leaf.consent_id == FEE:
                amounts[leaf.consent_id] = leaf.amount if keep_fee or leaf.amount == 0 else 0
            elif leaf.consent_id not in everywhere:
                amounts[leaf.consent_id] = 0
            else:
                amounts[leaf.consent_id] = min(leaf.amount, self._owed(leaf.consent_id, leaf.amount, terms))
        return opening.lowered(amounts)

    def _owed(self, consent_id: ConsentId, amount: int, terms: Mapping[ConsentId, Terms]) -> int:
        holders = [index for index, ids in self.released.items() if consent_id in ids]
        totals = [self.ledgers[index].get(consent_id) for index in holders]
        known = [total for total in totals if total is not None]
        if len(known) < len(totals) or consent_id not in terms:
            return amount
        try:
            return price(terms[consent_id], max(known))
        except InvalidInput:  # no keeper takes a total beyond its leaf: one that says so lies, and nobody loses by it
            return amount


def close_job(ports: Ports, order: Order, signer: Account) -> Closing:
    """Have every keeper close the job for good and say what a final tree must respect; by payer or runner."""
    proposal = Proposal(order)
    data = sign(proposal.encode(), signer.sign_hash(proposal.digest))
    released: dict[int, frozenset[ConsentId]] = {}
    ledgers: dict[int, dict[ConsentId, int]] = {}
    reasons = Reasons()
    for index, port in sorted(ports.items()):
        try:
            reply = read_reply(port.call("settlement", data), ("released", "ledgers", "root"), "The keeper's reply")
            released[index], ledgers[index] = _read_closing(reply)
        except AllodError as error:
            reasons.note(index, error)
    return Closing(released, ledgers, reasons)


def _read_closing(reply: Mapping[str, Any]) -> tuple[frozenset[ConsentId], dict[ConsentId, int]]:
    ids = exact_list(reply["released"], "The released consents", at_most=MAX_LEAVES)
    ledgers = {}
    for row in exact_list(reply["ledgers"], "The ledger totals", at_most=MAX_LEAVES):
        consent_id, total = exact_list(row, "A ledger total", at_least=2, at_most=2)
        ledgers[ConsentId(octets(consent_id, "A consent", 32))] = integer(total, "A total", at_most=UINT64_MAX)
    return frozenset(ConsentId(octets(item, "A consent", 32)) for item in ids), ledgers


def collect_settlement(
    ports: Ports, committee: Committee, order: Order, final: SumTree, statement: bytes, signer: Account
) -> dict[int, bytes]:
    """q keepers' signatures under a final tree, by index and in its order, as JobEscrow.settle takes them.

    `statement` is 32 zero bytes unless the runner signs. `Refused`, with each keeper's reason, for fewer than q, or
    `Unavailable` where those who do not answer could make it q.
    """
    proposal = Proposal(order, final.encode(), statement)
    data = sign(proposal.encode(), signer.sign_hash(proposal.digest))
    digest = settlement_digest(order.chain_id, order.escrow, order.job_id, final.root, statement)
    signatures: dict[int, bytes] = {}
    reasons = Reasons()
    for index, port in sorted(ports.items()):
        if len(signatures) == committee.q:
            break
        try:
            reply = read_reply(port.call("settlement", data), ("signature",), "The keeper's reply")
            signature = octets(reply["signature"], "The keeper's signature", 65)
            if recover(digest, signature) != committee.addresses[index - 1]:
                raise Corrupted(f"Keeper {index} did not sign this settlement.", keeper=index)
            signatures[index] = signature
        except AllodError as error:
            reasons.note(index, error)
    if len(signatures) < committee.q:
        raise reasons.failure(
            f"{len(signatures)} of the {committee.q} keepers that are needed signed. {_joined(reasons)}",
            hint="Ask again later; until the job's end nothing is lost, and then the opening tree stands.",
            lacking=committee.q - len(signatures),
        )
    return signatures


def read_log(port: KeeperPort) -> list[Entry]:
    """A keeper's whole log, its hash chain checked; the first break is `VerificationFailed`."""
    entries: list[Entry] = []
    previous = START
    while True:
        reply = read_reply(
            port.call("log", write("log", first=len(entries), count=1000)), ("list", "entries", "head"), "The log"
        )
        page = [any_octets(item, "A log entry") for item in exact_list(reply["list"], "The log", at_most=1000)]
        count = integer(reply["entries"], "The count of entries", at_most=UINT64_MAX)
        done = len(entries) + len(page) >= count or not page
        head = octets(reply["head"], "The log's head", 32)
        entries += audit(page, head=head if done else None, seq=len(entries), previous=previous)
        if done:
            return entries
        previous = entries[-1].hash


__all__ = [
    "NO_STATEMENT",
    "Closing",
    "Ports",
    "Released",
    "Revoked",
    "close_job",
    "collect_settlement",
    "deposit_tree",
    "hand_in_ledger",
    "read_log",
    "release",
    "revoke_everywhere",
]
