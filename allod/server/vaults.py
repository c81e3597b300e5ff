"""`/v1/vaults/mine`: the vault of the account that is signed in."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from allod.server import activity
from allod.server.context import Here, InPlace
from allod.server.forms import Cid as CidText
from allod.server.forms import Form, Hex32
from allod.server.guard import SignedIn
from allod.vaults import Kept
from allod.world import World
from core.encoding import from_hex, to_hex
from core.errors import AllodError
from core.ids import Address
from vault.cid import Cid

router = APIRouter(prefix="/v1", tags=["vaults"])


class VaultOut(BaseModel):
    """A vault as this server keeps it. `blocks` and `bytes` count what its head needs."""

    vault_id: Hex32
    manifest_pk: Hex32
    head: CidText
    sequence: int = Field(ge=1, lt=2**53)
    blocks: int = Field(ge=0)
    bytes: int = Field(ge=0)

    @classmethod
    def of(cls, kept: Kept) -> VaultOut:
        """The document of a vault."""
        return cls(
            vault_id=to_hex(kept.vault_id),
            manifest_pk=to_hex(kept.manifest_pk),
            head=str(kept.head),
            sequence=kept.sequence,
            blocks=kept.blocks,
            bytes=kept.bytes,
        )


class CommitIn(Form):
    """A new head, whose blocks were sent before."""

    head: CidText
    previous: CidText | None = Field(description="The head that the change was made to; null for the first.")
    proof: Annotated[str, Field(pattern="^0x[0-9a-f]{128}$")] | None = Field(
        default=None,
        description="Ed25519 by the head's key over `allod/vault-account/v1`, a zero byte, the account and the "
        "vault_id. With it nobody else can have this vault bound to an account of theirs; send it with every commit.",
    )


@router.get("/vaults/mine", operation_id="read_vault")
def read_vault(account: SignedIn, here: Here) -> VaultOut:
    """The newest head of your vault."""
    return VaultOut.of(here.vaults.of(account))


@router.put("/vaults/mine", operation_id="commit_vault")
async def commit_vault(account: SignedIn, place: InPlace, tasks: BackgroundTasks, given: CommitIn) -> VaultOut:
    """Make a head your vault, once all that it needs is here; doing it again changes nothing.

    409 `conflict` names the newest head in `head` where `previous` is another one; 422 `incomplete` names up to 1000
    blocks to send in `missing`. What the vault does not need any more is deleted, unless somebody else does.
    Few commits are worked on at once; 503 says when to come back.
    """
    here = place.world

    def record(session: Session, kept: Kept) -> None:
        data = VaultOut.of(kept).model_dump(include={"vault_id", "head", "sequence", "blocks", "bytes"})
        activity.record(session, account, "vault.committed", data)

    previous = None if given.previous is None else Cid.parse(given.previous)
    proof = None if given.proof is None else from_hex(given.proof, 64)
    commit = partial(here.vaults.commit, account, Cid.parse(given.head), previous, proof, record)
    done = await place.commits.take(account, commit)
    if done.dropped:
        tasks.add_task(_sweep, here, done.dropped, account)
    return VaultOut.of(done.vault)


def _sweep(here: World, dropped: tuple[Cid, ...], account: Address) -> None:
    with suppress(AllodError, SQLAlchemyError):  # the commit stands; what could not be deleted now is in an hour
        here.depot.sweep(dropped, account)
