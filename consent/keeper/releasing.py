"""The /release desk: every check of DESIGN §6 in its order, failing closed, then a share sealed to one job.

What opens a cell (chain, ConsentToken, owner, asset, keeper index and key) comes from the one consent that was checked
on chain and from this keeper's own keys, never from what the request says about itself. The log entry is durable
before the first byte of an answer exists outside this function.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise

from consent.chain.account import recover
from consent.keeper.receipt import Receipt, release_root
from consent.keeper.request import ReleaseRequest, SharedObject, read_release, release_digest
from consent.keeper.sight import Sight
from consent.keeper.station import Seat, Station
from consent.keeper.wire import unsign
from consent.recipe import Recipe
from consent.terms import Counts, Terms
from consent.tree import SumTree
from consent.typed import keccak
from consent.validity import TokenStatus, check_consent
from core.encoding import encode_cbor
from core.errors import Corrupted, InvalidInput, NotFound, Refused
from core.ids import ConsentId, ObjectId
from vault.manifest import DatasetHeader, in_dataset
from vault.sharetable import ShareHead, ShareRow, verify_head, verify_row
from vault.sharing import Scope, open_shares, seal_release

MARGIN = 600  # seconds before a job's start, after which nothing is released


def release(station: Station, data: bytes) -> bytes:
    """The reply to a release request: sealed shares in the request's order, and a receipt."""
    # 1: form, committee, place
    body, signature = unsign(data)
    keeper, request = read_release(body)
    seat = _seat(station, keeper, request)
    order, consent = request.order, request.consent
    station.require_place(order)
    terms, recipe = _terms(request.terms), _recipe(request.recipe)
    header = DatasetHeader.decode(request.header)
    consent_id = _consent_id(station, request)
    # 2: the whole request signed by the job's runner
    if _signer(release_digest(order, consent_id, keeper, body), signature) != order.runner:
        raise Refused("The request is not signed by the job's runner.")
    # 3: the job
    job = order.job_id
    if station.store.is_closed(job):
        raise Refused("This job is closed: its settlement was asked for, and nothing more is released.")
    sight = station.facts.look()
    station.require_open(order, sight, margin=MARGIN)
    if order.committee != seat.committee.hash:
        raise Refused("The job names another committee of keepers.")
    # 4: the whole opening tree
    tree = _tree(station, request)
    # 5: the consent, whose price needs the header that 6 begins with
    if consent.asset != keccak(consent.owner + sha256(request.header).digest()):
        raise Refused("The dataset is not the one that the owner consented to.")
    _require_valid(station, request, sight, consent_id, terms, recipe, header, tree)
    # 6: the dataset
    scope = Scope(station.chain_id, station.token, consent.owner, consent.asset, header.vault_id)
    head = _share_head(seat, request, header)
    rows = [_row(header, head, item) for item in request.objects]
    _require_ascending([row.object_id for row in rows])
    station.admit(order.runner, cost=1)
    # 7: seal, log durably, answer
    private = station.keys.hpke_private(seat.committee.epoch)
    public = seat.committee.hpke_keys[seat.index - 1]
    sealed = [
        seal_release(order.job_pk, share, scope, head, row, seat.index, public, job)
        for row, share in zip(rows, _shares(private, seat, scope, head, rows), strict=True)
    ]
    root = release_root([(row.object_id, item) for row, item in zip(rows, sealed, strict=True)])
    entry = station.store.record_release(
        job,
        consent_id,
        consent,
        request.terms,
        station.now,
        objects=len(rows),
        safe=sight.safe.hash,
        latest=sight.latest.hash,
        root=root,
    )
    unsigned = Receipt(job, consent_id, seat.index, sight.safe.hash, sight.latest.hash, root, entry.previous, bytes(65))
    receipt = unsigned.signed(station.keys.account, station.chain_id, station.escrow)
    return encode_cbor({"v": 1, "shares": sealed, "receipt": receipt.fields()})


@lru_cache(maxsize=64)  # a job's requests bring the same documents again and again; what they decode to never changes
def _terms(data: bytes) -> Terms:
    return Terms.decode(data)


@lru_cache(maxsize=64)
def _recipe(data: bytes) -> Recipe:
    return Recipe.decode(data)


def _seat(station: Station, keeper: int, request: ReleaseRequest) -> Seat:
    seat = station.seats.get(request.committee_id)
    if seat is None:
        raise Refused("This keeper does not belong to the committee that the request names.")
    if keeper != seat.index:
        raise Refused(f"The request is for keeper {keeper} of the committee; this is keeper {seat.index}.")
    if station.now >= seat.committee.end:
        raise Refused("The committee's epoch is over.", hint="The owner shares the dataset with a live committee.")
    return seat


def _consent_id(station: Station, request: ReleaseRequest) -> ConsentId:
    try:
        return request.consent.id(station.chain_id, station.token, request.order.payer)
    except InvalidInput:
        raise Refused("The owner consented to another trainer.") from None


def _signer(digest: bytes, signature: bytes) -> bytes | None:
    try:
        return recover(digest, signature)
    except InvalidInput:
        return None


def _tree(station: Station, request: ReleaseRequest) -> SumTree:
    try:
        return station.tree(request.order)
    except NotFound as error:
        raise Refused(error.message, hint=error.hint) from None


def _require_valid(
    station: Station,
    request: ReleaseRequest,
    sight: Sight,
    consent_id: ConsentId,
    terms: Terms,
    recipe: Recipe,
    header: DatasetHeader,
    tree: SumTree,
) -> None:
    order, consent = request.order, request.consent
    blocks = [sight.latest] if sight.safe == sight.latest else [sight.latest, sight.safe]
    statuses = [station.facts.status(consent, order.payer, block) for block in blocks]
    if not {TokenStatus.OTHER_EPOCH, TokenStatus.NONCE_REVOKED}.isdisjoint(statuses):
        station.store.record_sighting(consent.owner, consent_id, station.now)
    reasons = check_consent(
        consent,
        order.payer,
        token=station.token,
        order=order,
        terms=terms,
        recipe=recipe,
        counts=Counts(header.objects, header.records),
        tree=tree,
        statuses=statuses,
        times=station.times(sight),
    )
    if reasons:
        raise Refused(reasons[0], reasons=reasons)
    if station.store.revoked_at(consent, consent_id) is not None:
        raise Refused("The owner revoked this consent.")


def _share_head(seat: Seat, request: ReleaseRequest, header: DatasetHeader) -> ShareHead:
    try:
        head = verify_head(request.table, request.table_sig, header.manifest_pk)
    except Corrupted:
        raise Refused("The share table is not signed by the dataset's owner.") from None
    if head.asset != request.consent.asset:
        raise Refused("The share table belongs to another dataset.")
    committee = seat.committee
    if (head.committee_id, head.t, head.n) != (committee.id, committee.t, committee.n):
        raise Refused("The share table was made for another committee of keepers.")
    return head


def _row(header: DatasetHeader, head: ShareHead, item: SharedObject) -> ShareRow:
    try:
        manifest = in_dataset(header, item.manifest, item.index, item.proof)
        row = verify_row(head, item.row, item.row_index, item.row_proof)
    except Corrupted as error:
        raise Refused(error.message) from None
    if row.object_id != manifest.object_id:
        raise Refused("A row of the share table belongs to another object.")
    return row


def _shares(private: bytes, seat: Seat, scope: Scope, head: ShareHead, rows: Sequence[ShareRow]) -> list[bytes]:
    try:
        return open_shares(private, seat.index, scope, head, rows)
    except Corrupted as error:
        raise Refused(error.message, hint=error.hint) from None


def _require_ascending(ids: Sequence[ObjectId]) -> None:
    if any(left >= right for left, right in pairwise(ids)):
        raise InvalidInput("The request's objects are not in the order of their ids, each once.")
