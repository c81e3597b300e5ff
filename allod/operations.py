"""Operations: what the server relays for people who signed it, from its acceptance until the chain cannot undo it.

accepted → sent → included → final, or failed with a problem. Promises: an operation that was answered for is in the
database; each change of its state is one conditional update together with its entry in the activity log, so of several
relays one makes it; one effect has one operation that is alive, however often it is asked for. An account costs nothing
and the server pays the gas: what it accepted within a day is counted here, and bounded for each account and for all.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, Integer, LargeBinary, String, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from allod.server import activity
from core.database import Base, inserting
from core.encoding import to_hex
from core.errors import AllodError, Conflict, NotFound
from core.ids import Address
from core.settings import Settings

DAY = 86_400
MAX_OPEN = 50  # of one account
SOON = 60  # seconds after which some that are open may have ended
_Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by themselves only in this type


class State(StrEnum):
    """How far an operation is."""

    ACCEPTED = "accepted"
    SENT = "sent"  # signed by the relayer and kept; a node may have it
    INCLUDED = "included"
    FINAL = "final"
    FAILED = "failed"


OPEN = (State.ACCEPTED, State.SENT)
ENDED = (State.FINAL, State.FAILED)


class OperationRow(Base):
    """One operation. Times are Unix seconds.

    `act` is what the relay needs to do it, `about` what its account is told, `effect` what it brings about while it is
    alive, or has failed and may still come about. `told` says that activity logs have what it brought about. `keepers`
    lists who stored a revocation; `untold` says that some are still to be asked, `ask_due` when, and `asked` how often
    they were. `sent` has one {tx_hash, block, block_hash} for each transaction, the last two null while no block has
    it. `due` is when to send it next, `tries` how often it had to be put off.
    """

    __tablename__ = "operations"

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    account: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10), index=True)
    effect: Mapped[str | None] = mapped_column(String(400), unique=True)
    act: Mapped[dict[str, Any]] = mapped_column(JSON)
    about: Mapped[dict[str, Any]] = mapped_column(JSON)
    keepers: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    untold: Mapped[bool] = mapped_column(default=False, index=True)
    asked: Mapped[int] = mapped_column(default=0)
    ask_due: Mapped[int] = mapped_column(BigInteger, default=0)
    sent: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    told: Mapped[bool] = mapped_column(default=False)
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    tries: Mapped[int] = mapped_column(default=0)
    due: Mapped[int] = mapped_column(BigInteger, default=0)
    created: Mapped[int] = mapped_column(BigInteger, index=True)
    changed: Mapped[int] = mapped_column(BigInteger)


def now() -> int:
    """Unix seconds."""
    return int(time.time())


def accept(
    session: Session,
    settings: Settings,
    account: Address,
    kind: str,
    act: Mapping[str, Any],
    about: Mapping[str, Any],
    *,
    effect: str,
    keepers: Sequence[Mapping[str, Any]] = (),
    state: State = State.ACCEPTED,
    from_reserve: bool = False,
) -> tuple[OperationRow, bool]:
    """The operation for this effect: a new one, or the one that is alive already; and whether it is new.

    It stands when the session's transaction does. An effect that another account asked for is a `Conflict`, a new one
    beyond what is relayed `TooOften`; `from_reserve` has as much again, whatever other accounts have taken.
    """
    at = now()
    row = OperationRow(
        id=secrets.token_hex(16),
        account=account,
        kind=kind,
        state=state,
        effect=effect,
        act=dict(act),
        about=dict(about),
        keepers=[dict(keeper) for keeper in keepers],
        untold=bool(keepers),
        asked=0,
        ask_due=0,
        sent=[],
        told=False,
        tries=0,
        due=0,
        created=at,
        changed=at,
    )
    session.execute(inserting(session, row).on_conflict_do_nothing())
    found = session.scalars(select(OperationRow).where(OperationRow.effect == effect)).one()
    if found.account != account:
        raise Conflict("Another account asked for the same before.", hint="Sign a message of your own.")
    is_new = found.id == row.id
    if is_new:
        _require_room(session, settings, found, from_reserve)
        _record(session, found, state)
    return found, is_new


def _require_room(session: Session, settings: Settings, row: OperationRow, from_reserve: bool) -> None:
    """`TooOften` where it goes beyond what is relayed. (Those accepted at the same moment do not see each other.)

    An offer counts too, which the relay does not send: that it was taken is what makes room for its revocation.
    """
    times = 2 if from_reserve else 1
    mine, day = OperationRow.account == row.account, OperationRow.created > row.created - DAY
    waiting = (mine, OperationRow.state.in_(OPEN))
    _require(session, waiting, MAX_OPEN * times, "operations of yours are under way.", SOON)
    _require(session, (mine, day), settings.relayed_of_one * times, "operations of yours were taken within a day.")
    if not from_reserve:
        _require(session, (day,), settings.relayed_of_all, "operations of all accounts were taken within a day.")


def _require(
    session: Session, where: tuple[ColumnElement[bool], ...], limit: int, what: str, wait: int | None = None
) -> None:
    count, oldest = session.execute(select(func.count(), func.min(OperationRow.created)).where(*where)).one()
    if count <= limit:
        return
    from allod.server.problems import TooOften  # here: commands read these tables and need no web framework

    wait = wait or max(1, oldest + DAY - now())
    hint = f"Ask again in {wait} seconds. Revocations of what was granted or offered here have room of their own."
    raise TooOften(f"{limit} {what}", hint=hint, retry_after=wait)


def advance(session: Session, row: OperationRow, state: State, **values: Any) -> bool:
    """Move an operation from the state that `row` has to another; False where somebody else was quicker.

    `row` is brought up to date. A failed one gives its effect back, so that it can be asked for again, unless `values`
    say otherwise; so does a claim that is final, because more will be earned.
    """
    before = row.state
    if state is State.FAILED or (state is State.FINAL and row.kind == "claim"):
        values = {"effect": None, **values}
    values = {**values, "state": state, "changed": now(), "due": 0, "tries": 0}
    mine = (OperationRow.number == row.number, OperationRow.state == before)
    moved = session.execute(update(OperationRow).where(*mine).values(**values).returning(OperationRow.number)).all()
    if not moved:
        return False
    for name, value in values.items():
        setattr(row, name, value)
    if state != before:
        _record(session, row, state)
    return True


def note(session: Session, row: OperationRow, **values: Any) -> None:
    """Keep facts about an operation without changing its state."""
    session.execute(update(OperationRow).where(OperationRow.number == row.number).values(**values))
    for name, value in values.items():
        setattr(row, name, value)


def give_back(session: Session, row: OperationRow) -> bool:
    """Let what failed be asked for again; False where somebody else was quicker."""
    kept = (OperationRow.number == row.number, OperationRow.effect == row.effect)
    given = session.execute(update(OperationRow).where(*kept).values(effect=None).returning(OperationRow.number)).all()
    return bool(given)


def _record(session: Session, row: OperationRow, state: State) -> None:
    data = {"operation": row.id, "kind": row.kind, **{key: row.about[key] for key in _TOLD if key in row.about}}
    if row.sent:
        data["tx_hash"] = row.sent[-1]["tx_hash"]
    if state is State.FAILED and row.problem is not None:
        data["problem"] = row.problem["type"]
    activity.record(session, Address(row.account), f"operation.{state}", data)


_TOLD = ("asset", "consent", "request", "jobs")


def problem(error: AllodError) -> dict[str, Any]:
    """Why an operation failed, as the API writes errors."""
    return {
        "type": f"urn:allod:problem:{error.slug}",
        "status": error.status,
        "detail": error.message,
        "hint": error.hint,
    }


def get(session: Session, account: Address, operation_id: str) -> OperationRow:
    """An operation of this account; `NotFound` for another's."""
    mine = (OperationRow.id == operation_id, OperationRow.account == account)
    row = session.scalars(select(OperationRow).where(*mine)).one_or_none()
    if row is None:
        raise NotFound("You have no such operation.", hint="GET /v1/operations lists yours.")
    return row


def of_effect(session: Session, effect: str) -> OperationRow | None:
    """The operation that brings this about, has done so or may still; None if there is none."""
    return session.scalars(select(OperationRow).where(OperationRow.effect == effect)).one_or_none()


def newest(
    session: Session, account: Address, *, state: State | None, before: int | None, at_most: int
) -> list[OperationRow]:
    """An account's operations, newest first; `before` continues below a number."""
    query = select(OperationRow).where(OperationRow.account == account)
    if state is not None:
        query = query.where(OperationRow.state == state)
    if before is not None:
        query = query.where(OperationRow.number < before)
    return list(session.scalars(query.order_by(OperationRow.number.desc()).limit(at_most)))


def fields(row: OperationRow) -> dict[str, Any]:
    """An operation as its account sees it."""
    last = row.sent[-1] if row.sent else {}
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "tx_hash": last.get("tx_hash"),
        "block": last.get("block"),
        "transactions": [one["tx_hash"] for one in row.sent],
        "created": row.created,
        "changed": row.changed,
        "about": row.about,
        "keepers": row.keepers,
        "problem": row.problem,
    }


def sent_fields(tx_hash: bytes, block: int | None = None, block_hash: bytes | None = None) -> dict[str, Any]:
    """One transaction as `OperationRow.sent` keeps it."""
    return {
        "tx_hash": to_hex(tx_hash),
        "block": block,
        "block_hash": None if block_hash is None else to_hex(block_hash),
    }
