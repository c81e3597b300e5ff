"""The only door from released shares to records.

Whoever wants an owner's records for a job comes here with a checked licence, the job's private key and what keepers
released. A share counts only if it opens for this very job and meets the hash its owner signed; a data key only if it
meets the commitment in its manifest; a byte only if its segment is authentic. Records come one at a time, in the
reader's order, and nothing is kept: memory does not grow with the data, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from consent.committee import Committee
from consent.order import Order
from core.errors import AllodError, Corrupted, NotFound
from core.ids import Address, ConsentId, ObjectId
from finetune.licence import Licence
from vault.blocks import BlockStore
from vault.manifest import ObjectManifest
from vault.payload import open_payload
from vault.readers import BrokenRecord, Record, read_records
from vault.sharetable import ShareHead, ShareRow, verify_row
from vault.sharing import Scope, open_release, recover_dek

Released = Mapping[ObjectId, Sequence[tuple[int, bytes]]]  # for each object (keeper's index, R_i), t or more


class Access:
    """One consent's objects, open to one job for as long as this lives."""

    def __init__(
        self,
        licence: Licence,
        consent_id: ConsentId,
        order: Order,
        token: Address,
        committee: Committee,
        blocks: BlockStore,
    ) -> None:
        """Check the licence from asset to manifests; `Corrupted` names the link that is broken."""
        licence.check()
        self.licence = licence
        self.consent_id = consent_id
        self._job = order.job_id
        self._committee = committee
        self._blocks = blocks
        consent = licence.consent
        self._scope = Scope(order.chain_id, token, consent.owner, consent.asset, licence.header.vault_id)
        self._head: ShareHead = licence.table.head
        if self._head.committee_id != committee.id or self._head.t != committee.t or self._head.n != committee.n:
            raise Corrupted("The share table was made for another committee.")
        self._deks: dict[ObjectId, bytes] = {}

    def unlock(self, job_private: bytes, released: Released) -> dict[ObjectId, str]:
        """Open the released shares of each object; the reason for each object that stays closed.

        One bad share does not close an object that has enough good ones.
        """
        closed = {}
        for manifest in self.licence.objects:
            try:
                self._deks[manifest.object_id] = self._open(job_private, manifest, released)
            except AllodError as error:
                closed[manifest.object_id] = error.message
        return closed

    def share_opens(self, job_private: bytes, object_id: ObjectId, keeper: int, sealed: bytes) -> None:
        """`Corrupted`, naming the keeper, unless what it released opens for this job and meets its hash."""
        self._share(job_private, object_id, keeper, sealed)

    @property
    def objects(self) -> tuple[ObjectManifest, ...]:
        """The objects that are open, in object_id order."""
        return tuple(item for item in self.licence.objects if item.object_id in self._deks)

    def records(self, object_id: ObjectId) -> Iterator[Record | BrokenRecord]:
        """The object's records in order; the owner's preview showed exactly these.

        Raises `Corrupted` or `NotFound` at the first segment that is wrong or missing.
        """
        manifest = next((item for item in self.objects if item.object_id == object_id), None)
        if manifest is None:
            raise NotFound("No share of this object was released to this job, or its consent has ended.")
        pieces = open_payload(
            self._blocks,
            manifest.payload,
            manifest.size,
            self._deks[object_id],
            manifest.dek_commit,
            manifest.vault_id,
            object_id,
        )
        return read_records("", None, pieces)

    def close(self) -> None:
        """Forget every data key; Python cannot wipe what it copied, so the process that held them should end soon."""
        self._deks.clear()

    def _open(self, job_private: bytes, manifest: ObjectManifest, released: Released) -> bytes:
        shares, failure = {}, None
        for keeper, sealed in released.get(manifest.object_id, ()):
            try:
                shares[keeper] = self._share(job_private, manifest.object_id, keeper, sealed)
            except Corrupted as error:
                failure = error
        if len(shares) < self._head.t and failure is not None:
            raise failure
        return recover_dek(
            list(shares.values()), self._head.t, manifest.dek_commit, manifest.vault_id, manifest.object_id
        )

    def _share(self, job_private: bytes, object_id: ObjectId, keeper: int, sealed: bytes) -> bytes:
        if not 1 <= keeper <= self._committee.n:
            raise Corrupted(f"The committee has no keeper {keeper}.")
        row = self._row(object_id)
        keeper_pk = self._committee.hpke_keys[keeper - 1]
        return open_release(job_private, sealed, self._scope, self._head, row, keeper, keeper_pk, self._job)

    def _row(self, object_id: ObjectId) -> ShareRow:
        data, index, proof = self.licence.table.row(object_id)
        return verify_row(self._head, data, index, proof)
