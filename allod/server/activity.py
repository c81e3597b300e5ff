"""The activity log: an append-only list for each account of what happened to it.

`record` is called by whoever changes something, in the transaction that changes it. `data` holds ids, hashes, amounts
and states: never a secret, and never a word that an owner wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from allod.server.records import ActivityRow
from core.database import utc_now
from core.ids import Address


class Happening(NamedTuple):
    """One entry: `id` grows, `kind` says what (`consent.granted`), `data` about what."""

    id: int
    at: datetime
    kind: str
    data: dict[str, Any]


def record(session: Session, account: Address, kind: str, data: Mapping[str, Any]) -> None:
    """Add an entry to an account's log; it stands when the session's transaction does."""
    if session.get_bind().dialect.name == "postgresql":
        # Ids are given out before they are seen: without this, a stream could pass one by that commits later.
        session.execute(select(func.pg_advisory_xact_lock(int.from_bytes(account[:8], "big", signed=True))))
    session.add(ActivityRow(account=account, at=utc_now(), kind=kind, data=dict(data)))


def newest(session: Session, account: Address, *, before: int | None, at_most: int) -> list[Happening]:
    """An account's log, newest first; `before` continues below an id."""
    query = select(ActivityRow).where(ActivityRow.account == account)
    if before is not None:
        query = query.where(ActivityRow.id < before)
    return [_of(row) for row in session.scalars(query.order_by(ActivityRow.id.desc()).limit(at_most))]


def since(session: Session, account: Address, *, after: int, at_most: int) -> list[Happening]:
    """What came after an id, oldest first."""
    query = select(ActivityRow).where(ActivityRow.account == account, ActivityRow.id > after)
    return [_of(row) for row in session.scalars(query.order_by(ActivityRow.id).limit(at_most))]


def last(session: Session, account: Address) -> int:
    """The id of an account's newest entry, or 0."""
    found = session.scalar(select(func.max(ActivityRow.id)).where(ActivityRow.account == account))
    return found or 0


def _of(row: ActivityRow) -> Happening:
    return Happening(row.id, row.at, row.kind, row.data)
