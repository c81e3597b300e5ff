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
from consent.keeper.asking import Patience, Reasons, ask_all, ask_some
from consent.keeper.closing import Closed, Closing, read_closed
from consent.keeper.log import START, Entry, audit
from consent.keeper.port import KeeperPort
from consent.keeper.proposal import NO_STATEMENT, LedgerTotal, Proposal
from consent.keeper.receipt import Receipt, release_root
from consent.keeper.request import MAX_OBJECTS, ReleaseRequest, release_digest
from consent.keeper.revocation import Revocation, stored_digest, write_revocation
from consent.keeper.trees import write_deposit
from consent.keeper.wire import any_octets, read_reply, sign, write
from consent.order import Order
from consent.tree import SumTree
from consent.typed import settlement_digest
from core.errors import Corrupted, InvalidInput, Refused, Unavailable
from core.ids import Address, ObjectId
from vault.manifest import ObjectManifest

PATIENCE = Patience()
Ports = Mapping[int, KeeperPort]
ShareCheck = Callable[[ObjectId, int, bytes], None]
"""Raises `Corrupted` unless this keeper's sealed share opens for the job and meets the hash its owner signed."""

_Given = tuple[list[bytes], Receipt]
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


def deposit_tree(
    ports: Ports, order: Order, tree: SumTree, *, enough: int = 0, patience: Patience = PATIENCE
) -> Reasons:
    """Hand the opening tree to every keeper; the reasons of those that did not take it, by index.

    Fewer than `enough` because the others are away are asked again, as long as the patience lasts.
    """
    body = write_deposit(order, tree)

    def hand_in(_: int, port: KeeperPort) -> None:
        read_reply(port.call("tree", body), ("job",), "The keeper's reply")

    return ask_all(ports, hand_in, enough=enough or len(ports), patience=patience).reasons


def release(
    ports: Ports,
    committee: Committee,
    token: Address,
    request: ReleaseRequest,
    signer: Account,
    check: ShareCheck,
    *,
    patience: Patience = PATIENCE,
) -> Released:
    """Ask t keepers at once for the shares of a consent's objects, until t have given each; any number of objects.

    `signer` is the job's runner, `token` the ConsentToken; `check` is called from several threads. A keeper that fails
    or is slow is replaced by the next. `Refused`, with each keeper's reason, if no object could be released;
    `Unavailable` if more could be once all keepers answer.
    """
    if request.committee_id != committee.id:
        raise InvalidInput("The request names another committee than the one that is asked.")
    found, slow = Released(), set[int]()
    for part in _parts(request):
        ids = [ObjectManifest.decode(item.manifest).object_id for item in part.objects]

        def ask(index: int, port: KeeperPort, part: ReleaseRequest = part, ids: list[ObjectId] = ids) -> _Given:
            return _ask(port, index, committee, token, part, ids, signer, check)

        order = sorted(ports, key=lambda index: (index in found.reasons, index in slow, index))
        answers = ask_some(ports, order, ask, enough=committee.t, patience=patience)
        slow |= answers.slow
        found.reasons.add(answers.reasons)
        found.liars |= {index for index, error in answers.errors.items() if isinstance(error, Corrupted)}
        found.receipts += [receipt for _, (_, receipt) in sorted(answers.given.items())]
        if len(answers.given) < committee.t:
            lacking = committee.t - len(answers.given)
            if lacking <= len(answers.reasons.away):
                hint = "Ask again when the keepers answer."
                raise Unavailable(_joined(found.reasons), hint=hint, reasons=dict(found.reasons))
            found.missing += ids
            continue
        given = sorted(answers.given.items())[: committee.t]
        for position, object_id in enumerate(ids):
            found.shares[object_id] = [(index, shares[position]) for index, (shares, _) in given]
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
) -> _Given:
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
    reasons: Reasons

    @property
    def certain(self) -> bool:
        """Whether enough keepers stored it."""
        return len(self.stored) >= self.needed


def revoke_everywhere(
    ports: Ports,
    committee: Committee,
    chain_id: int,
    token: Address,
    message: Revocation,
    signature: bytes,
    *,
    patience: Patience = PATIENCE,
) -> Revoked:
    """Give the owner's signed revocation to every keeper at once and check each signed acknowledgement."""
    data = sign(write_revocation(message), signature)
    digest = message.digest(chain_id, token)

    def revoke(index: int, port: KeeperPort) -> None:
        reply = read_reply(port.call("revoke", data), ("message", "seen", "sig"), "The keeper's reply")
        _verify_stored(reply, digest, chain_id, token, committee.addresses[index - 1])

    needed = committee.n - committee.t + 1
    answers = ask_all(ports, revoke, enough=needed, patience=patience)
    return Revoked(tuple(sorted(answers.given)), needed, answers.reasons)


def _verify_stored(reply: Mapping[str, Any], digest: bytes, chain_id: int, token: Address, address: Address) -> None:
    try:
        signer = recover(stored_digest(chain_id, token, digest, reply["seen"]), octets(reply["sig"], "It", 65))
    except InvalidInput:
        signer = None
    if reply["message"] != digest or signer != address:
        raise Corrupted("The keeper's acknowledgement is not signed by it.")


def hand_in_ledger(
    ports: Ports,
    order: Order,
    token: Address,
    consent: Consent,
    record_epochs: int,
    signer: Account,
    *,
    patience: Patience = PATIENCE,
) -> dict[int, str]:
    """Give the runner's ledger total for a revoked consent to every keeper, within 10 minutes of the revocation.

    Returns the reasons of those that did not take it; a keeper that released nothing for the consent needs none.
    """
    total = LedgerTotal(order, consent, record_epochs)
    data = sign(total.encode(), signer.sign_hash(total.digest(token)))

    def hand_in(_: int, port: KeeperPort) -> None:
        read_reply(port.call("ledger", data), ("consent", "record_epochs"), "The keeper's reply")

    return ask_all(ports, hand_in, enough=len(ports), patience=patience).reasons


def close_job(ports: Ports, order: Order, signer: Account, *, patience: Patience = PATIENCE) -> Closing:
    """Have every keeper close the job for good and say what a final tree must respect; by payer or runner."""
    proposal = Proposal(order)
    data = sign(proposal.encode(), signer.sign_hash(proposal.digest))

    def close(_: int, port: KeeperPort) -> Closed:
        reply = read_reply(port.call("settlement", data), ("released", "ledgers", "root"), "The keeper's reply")
        return read_closed(reply)

    answers = ask_all(ports, close, enough=order.q, patience=patience)
    given = sorted(answers.given.items())
    released = {index: closed.released for index, closed in given}
    return Closing(released, {index: closed.ledgers for index, closed in given}, answers.reasons, order.q)


def collect_settlement(
    ports: Ports,
    committee: Committee,
    order: Order,
    final: SumTree,
    statement: bytes,
    signer: Account,
    *,
    patience: Patience = PATIENCE,
) -> dict[int, bytes]:
    """q keepers' signatures under a final tree, by index and in its order, as JobEscrow.settle takes them.

    `statement` is 32 zero bytes unless the runner signs. `Refused`, with each keeper's reason, for fewer than q, or
    `Unavailable` where those who do not answer could make it q.
    """
    proposal = Proposal(order, final.encode(), statement)
    data = sign(proposal.encode(), signer.sign_hash(proposal.digest))
    digest = settlement_digest(order.chain_id, order.escrow, order.job_id, final.root, statement)

    def settle(index: int, port: KeeperPort) -> bytes:
        reply = read_reply(port.call("settlement", data), ("signature",), "The keeper's reply")
        signature = octets(reply["signature"], "The keeper's signature", 65)
        if recover(digest, signature) != committee.addresses[index - 1]:
            raise Corrupted(f"Keeper {index} did not sign this settlement.", keeper=index)
        return signature

    answers = ask_all(ports, settle, enough=committee.q, patience=patience)
    if len(answers.given) < committee.q:
        raise answers.reasons.failure(
            f"{len(answers.given)} of the {committee.q} keepers that are needed signed. {_joined(answers.reasons)}",
            hint="Ask again later; until the job's end nothing is lost, and then the opening tree stands.",
            lacking=committee.q - len(answers.given),
        )
    return dict(sorted(answers.given.items())[: committee.q])


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
    "Patience",
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
