"""`/v1/operations`: what is relayed for the account that is signed in, and how far it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from allod import operations
from allod.operations import OperationRow, State
from allod.server.context import Db
from allod.server.forms import AddressHex, Hex32, UnixTime
from allod.server.guard import SignedIn
from allod.server.paging import Page, Paging

router = APIRouter(prefix="/v1", tags=["operations"])
OperationId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


class KeeperOut(BaseModel):
    """Whether one keeper has stored a revocation durably, else why not."""

    index: int = Field(ge=1, le=16)
    address: AddressHex
    stored: bool
    reason: str | None


class FailureOut(BaseModel):
    """Why an operation failed: the kind of error, what happened, what to do next."""

    type: str
    status: int
    detail: str
    hint: str


class OperationOut(BaseModel):
    """One relayed act. `final` once the chain's node calls its block safe; `about` says what it was about.

    A revocation is certain once `about.needed` of its keepers have stored it, as far as those are honest.
    """

    id: str = Field(pattern="^[0-9a-f]{32}$")
    kind: str
    state: State
    tx_hash: Hex32 | None
    block: int | None
    transactions: list[Hex32]
    created: UnixTime
    changed: UnixTime
    about: dict[str, Any]
    keepers: list[KeeperOut]
    problem: FailureOut | None

    @classmethod
    def of(cls, row: OperationRow) -> OperationOut:
        """The document of an operation."""
        return cls(**operations.fields(row))


@router.get("/operations", operation_id="list_operations")
def list_operations(
    account: SignedIn, db: Db, paging: Paging, state: Annotated[State | None, Query()] = None
) -> Page[OperationOut]:
    """Your operations, newest first."""
    rows = operations.newest(db, account, state=state, before=paging.after_id, at_most=paging.limit + 1)
    numbers = {row.id: row.number for row in rows}
    return paging.page([OperationOut.of(row) for row in rows], lambda one: numbers[one.id])


@router.get("/operations/{operation_id}", operation_id="read_operation")
def read_operation(account: SignedIn, db: Db, operation_id: OperationId) -> OperationOut:
    """One of your operations."""
    return OperationOut.of(operations.get(db, account, operation_id))
