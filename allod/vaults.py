"""The vaults that this server keeps: each bound to an account, at its newest head, with every block that head needs.

Promises. A commit stands wholly or not at all, and what it answers survives a crash. Nothing is believed of what an
account says: the head is signed, follows the newest one, and all that it reaches is here and adds up. A vault is known
by the key that signs its heads, so nobody who lacks that key can move it, and an account that showed the key's
signature over its own address takes the vault from one that did not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from allod import holdings
from allod.depot import Depot, NoRoom
from allod.holdings import VaultRow
from core.database import exclusively, transaction
from core.errors import AllodError, Conflict, Corrupted, Denied, InvalidInput, NotFound
from core.ids import Address, VaultId
from vault.catalogue import HEADS_LOCK, HeadRow
from vault.cid import DAG_CBOR, Cid
from vault.manifest import VaultHead
from vault.reachable import Reach, incomplete, reach

PROOF_CONTEXT = b"allod/vault-account/v1\0"


@dataclass(frozen=True)
class Kept:
    """A vault as it stands here. `manifest_pk` names it; `blocks` and `bytes` count what its head needs."""

    vault_id: VaultId
    manifest_pk: bytes
    head: Cid
    sequence: int
    blocks: int
    bytes: int


@dataclass(frozen=True)
class Committed:
    """A commit's outcome: the vault, and blocks that it does not need any more."""

    vault: Kept
    dropped: tuple[Cid, ...] = ()


@dataclass(frozen=True)
class _Newest:
    cid: Cid
    sequence: int


Record = Callable[[Session, Kept], None]


def prove(key: Ed25519PrivateKey, account: Address, vault_id: VaultId) -> bytes:
    """The signature by which the vault's signing key says whose account it is."""
    return key.sign(PROOF_CONTEXT + account + vault_id)


class Vaults:
    """The vaults in the database, over the blocks behind a depot."""

    def __init__(self, depot: Depot, *, limit: int) -> None:
        """`limit` bounds one vault's bytes."""
        self._depot = depot
        self._limit = limit

    def of(self, account: Address) -> Kept:
        """The account's vault, `NotFound` before its first commit. What other programs of this home changed counts."""
        with transaction(self._depot.engine) as session:
            row = _of_account(session, account)
            newest = self._newest(session, row, None) if row else None
        if row is None:
            raise NotFound("This account has committed no vault here.", hint="Send its blocks, then commit its head.")
        if newest is not None and newest.cid.bytes != row.head:
            with suppress(AllodError):  # it is told to whoever commits
                return self.commit(account, newest.cid, None).vault
        return _kept(row)

    def commit(
        self,
        account: Address,
        cid: Cid,
        previous: Cid | None,
        proof: bytes | None = None,
        record: Record | None = None,
    ) -> Committed:
        """Make the head under `cid` the account's vault, if `previous` is the newest one; again changes nothing.

        It reads every block that is new, for minutes if there are a million: bound how many are at it at once.
        `record` is called within the transaction. Raises `Conflict` with the newest head as detail `head`,
        `Incomplete`, `Denied` for another account's vault, `NoRoom`, and `InvalidInput` or `Corrupted` for a head that
        does not hold.
        """
        with transaction(self._depot.engine) as session:
            row = _of_account(session, account)
            if row is not None and row.head == cid.bytes and (row.proved or proof is None):
                return Committed(_kept(row))
            waiting = holdings.waiting_head(session, account, cid)
        return self._commit(account, cid, previous, self._head(cid, waiting), proof, record)

    def _commit(
        self,
        account: Address,
        cid: Cid,
        previous: Cid | None,
        head: VaultHead,
        proof: bytes | None,
        record: Record | None,
    ) -> Committed:
        depot = self._depot
        proved = proof is not None and _check_proof(head, account, proof)
        with transaction(depot.engine) as session:
            found = self._check(session, account, cid, previous, head, proved)
            known = holdings.units(session, head.manifest_pk)
        needed = reach(depot.blocks, cid, head, known, self._sizes)
        with depot.writing() as store:
            # From here on nothing is deleted: what is here now stays until it is held.
            fresh = {part for unit in needed.new.values() for part in unit if part != cid}
            if away := store.missing(fresh):
                raise incomplete(away)
            was_here = store.has(cid)
            if not was_here:
                with transaction(depot.engine) as session:
                    holdings.note_arrival(session, cid, len(head.encode()))
            depot.put(cid, head.encode())
            try:
                with exclusively(depot.engine, HEADS_LOCK) as session:
                    now = self._check(session, account, cid, previous, head, proved)
                    if now != found:
                        done = session.get(VaultRow, head.manifest_pk)
                        if done is None or done.head != cid.bytes:
                            raise _outrun(now)
                        return Committed(_kept(done))  # another tab was faster with the same
                    row = self._bound(session, account, cid, head, proved)
                    dropped = self._hold(session, row, known, needed)
                    session.flush()
                    if record is not None:
                        record(session, _kept(row))
                    store.flush()
            except BaseException:
                if not was_here:
                    depot.delete([cid])
                raise
        return Committed(_kept(row), tuple(dropped))

    def _head(self, cid: Cid, waiting: bytes | None) -> VaultHead:
        if cid.codec != DAG_CBOR:
            raise InvalidInput("A vault head is a dag-cbor block.", hint="Name the head's CID.")
        if waiting is None:
            try:
                waiting = self._depot.blocks.get(cid)
            except (NotFound, Corrupted):
                raise incomplete([cid]) from None
        return VaultHead.decode(waiting)

    def _sizes(self, cids: list[Cid]) -> dict[Cid, int]:
        with transaction(self._depot.engine) as session:
            return holdings.sizes(session, cids)

    def _check(
        self, session: Session, account: Address, cid: Cid, previous: Cid | None, head: VaultHead, proved: bool
    ) -> _Newest | None:
        """The newest head before this one, once the account may commit it and it follows that one or is it."""
        mine, row = _of_account(session, account), session.get(VaultRow, head.manifest_pk)
        if row is not None and row.account != account and (row.proved or not proved):
            raise Denied(
                "This vault is bound to another account.",
                hint="Sign in as that account, or have the vault's key sign for this one.",
            )
        if mine is not None and mine.manifest_pk != head.manifest_pk:
            raise Conflict("This account has another vault here.", hint="Sign in with another account for this vault.")
        if row is not None and row.vault_id != head.vault_id:
            raise Conflict("The key of this head signs for another vault here.", hint="Use one key for one vault.")
        newest = self._newest(session, row, head)
        if newest is not None and newest.cid == cid:
            return newest
        if previous != (newest.cid if newest else None):
            raise _outrun(newest)
        if newest is not None and head.sequence <= newest.sequence:
            raise InvalidInput(
                f"The head is change {head.sequence}, and the newest one is change {newest.sequence} already.",
                hint="Number a change higher than the one before it.",
            )
        return newest

    def _newest(self, session: Session, row: VaultRow | None, head: VaultHead | None) -> _Newest | None:
        """The newest head that is known here: committed, or written by another program of this home."""
        of = row or head
        assert of is not None
        newest = _Newest(Cid.parse(row.head), row.sequence) if row else None
        seen = session.get(HeadRow, of.vault_id)
        if seen is None or (newest is not None and seen.sequence <= newest.sequence):
            return newest
        try:
            cid = Cid.parse(seen.head)
            found = VaultHead.decode(self._depot.blocks.get(cid))
        except (NotFound, Corrupted, InvalidInput):
            return newest
        ours = (found.manifest_pk, found.vault_id) == (of.manifest_pk, of.vault_id)
        return _Newest(cid, found.sequence) if ours else newest

    def _bound(self, session: Session, account: Address, cid: Cid, head: VaultHead, proved: bool) -> VaultRow:
        row = session.get(VaultRow, head.manifest_pk)
        if row is None:
            row = VaultRow(manifest_pk=head.manifest_pk, vault_id=head.vault_id, proved=False, blocks=0, bytes=0)
            session.add(row)
        row.account, row.proved = account, row.proved or proved
        row.head, row.sequence, row.committed = cid.bytes, head.sequence, self._depot.clock()
        return row

    def _hold(self, session: Session, row: VaultRow, known: set[Cid], needed: Reach) -> list[Cid]:
        """Hold what the head needs and nothing else; the blocks that the vault does not need any more."""
        holder = row.manifest_pk
        wanted = {part: size for unit in needed.new.values() for part, size in unit.items()}
        had = holdings.held(session, holder, wanted)
        holdings.hold(session, holder, needed.new)
        dropped = holdings.release(session, holder, known - needed.kept - needed.new.keys())
        holdings.forget_uploads(session, Address(row.account), wanted)
        added = [size for part, size in wanted.items() if part not in had]
        row.blocks += len(added) - len(dropped)
        row.bytes += sum(added) - sum(dropped.values())
        if row.bytes > self._limit:
            raise NoRoom(
                f"The vault would hold {row.bytes} bytes; at most {self._limit} are kept here.",
                hint="Remove what you do not need, or keep it elsewhere.",
                limit=self._limit,
            )
        return list(dropped)


def _of_account(session: Session, account: Address) -> VaultRow | None:
    return session.scalars(select(VaultRow).where(VaultRow.account == account)).one_or_none()


def _kept(row: VaultRow) -> Kept:
    return Kept(VaultId(row.vault_id), row.manifest_pk, Cid.parse(row.head), row.sequence, row.blocks, row.bytes)


def _outrun(newest: _Newest | None) -> Conflict:
    if newest is None:
        return Conflict(
            "No head of this vault is known here.", hint="Commit it as the first: previous is null.", head=None
        )
    return Conflict(
        f"The newest head of this vault is another one (change {newest.sequence}).",
        hint="Read it, apply your change to it, and commit again.",
        head=str(newest.cid),
    )


def _check_proof(head: VaultHead, account: Address, proof: bytes) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(head.manifest_pk)
        key.verify(proof, PROOF_CONTEXT + account + head.vault_id)
    except (InvalidSignature, ValueError):
        raise Denied(
            "The vault's key did not sign for this account.", hint="Sign with the key that signs the heads."
        ) from None
    return True
