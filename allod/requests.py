"""Requests: a trainer asks an owner for a consent; the owner approves as asked, with changes, or denies.

open → approved | approved_with_changes | denied | withdrawn | expired. Promises: a request is answered once, whoever
else tries at the same moment; it has expired by the clock from the second it says, without anything having to run; only
its owner and its trainer ever see it; each step is in its history and in both logs.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, LargeBinary, String, Text, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from allod.operations import now
from allod.server import activity
from consent.grant import Consent
from consent.purposes import purpose
from consent.terms import Terms
from core.database import Base, take_turn
from core.encoding import from_hex, to_hex
from core.errors import Conflict, Denied, InvalidInput, NotFound
from core.ids import NOBODY, Address, Asset

DAY = 86_400
MAX_DAYS = 90
MAX_MESSAGE, MAX_REASON = 1_000, 500
MAX_OPEN = 20  # of one trainer to one owner
CLOCKS = 300  # seconds by which a consent may begin later and still begin now: its owner's clock is not ours
_Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by themselves only in this type


class State(StrEnum):
    """Where a request stands."""

    OPEN = "open"
    APPROVED = "approved"
    CHANGED = "approved_with_changes"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"  # never stored: an open one whose time is over


class RequestRow(Base):
    """One request; `closes` in Unix seconds, `asked` as the trainer wrote it, `history` one entry for each step."""

    __tablename__ = "requests"

    number: Mapped[int] = mapped_column(_Number, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    asset: Mapped[bytes] = mapped_column(LargeBinary(32))
    owner: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    trainer: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    state: Mapped[str] = mapped_column(String(24))
    closes: Mapped[int] = mapped_column(BigInteger)
    asked: Mapped[dict[str, Any]] = mapped_column(JSON)
    message: Mapped[str] = mapped_column(Text)
    consent: Mapped[bytes | None] = mapped_column(LargeBinary(32), default=None)
    history: Mapped[list[dict[str, Any]]] = mapped_column(JSON)

    @property
    def standing(self) -> State:
        """Its state at this moment."""
        return State.EXPIRED if self.state == State.OPEN and self.closes <= now() else State(self.state)


@dataclass(frozen=True)
class Asked:
    """What a trainer asks for. `base_models` empty is any, `max_uses` 0 unlimited, prices are what they would pay."""

    purpose: str
    max_epochs: int
    base_models: tuple[bytes, ...]
    max_uses: int
    expiry: int
    flat: int
    per_record_epoch: int

    @property
    def document(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {
            "purpose": self.purpose,
            "max_epochs": self.max_epochs,
            "base_models": [to_hex(model) for model in self.base_models],
            "max_uses": self.max_uses,
            "expiry": self.expiry,
            "flat": str(self.flat),
            "per_record_epoch": str(self.per_record_epoch),
        }

    @classmethod
    def of(cls, document: dict[str, Any]) -> Asked:
        """What `document` was."""
        return cls(
            purpose=document["purpose"],
            max_epochs=document["max_epochs"],
            base_models=tuple(from_hex(model, 32) for model in document["base_models"]),
            max_uses=document["max_uses"],
            expiry=document["expiry"],
            flat=int(document["flat"]),
            per_record_epoch=int(document["per_record_epoch"]),
        )


def changes(asked: Asked, consent: Consent, terms: Terms) -> list[str]:
    """In what a consent gives less than was asked for, or costs more; none means that it is as asked."""
    found = []
    if consent.purpose != purpose(asked.purpose).hash:
        found.append("purpose")
    if terms.max_epochs < asked.max_epochs:
        found.append("max_epochs")
    if terms.base_models is not None and not (asked.base_models and set(asked.base_models) <= set(terms.base_models)):
        found.append("base_models")
    if consent.max_uses and not 0 < asked.max_uses <= consent.max_uses:
        found.append("max_uses")
    if consent.not_before > now() + CLOCKS:
        found.append("not_before")
    if min(consent.expiry, terms.expiry) < asked.expiry:
        found.append("expiry")
    if (consent.runner, terms.runner) != (NOBODY, NOBODY):
        found.append("runner")
    if terms.flat > asked.flat:
        found.append("flat")
    if terms.per_record_epoch > asked.per_record_epoch:
        found.append("per_record_epoch")
    return found


def ask(
    session: Session, trainer: Address, owner: Address, asset: Asset, asked: Asked, message: str, days_open: int
) -> RequestRow:
    """A new request for the owner's dataset; `Conflict` where this trainer has too many open ones with this owner."""
    at = now()
    if owner == trainer:
        raise InvalidInput("This dataset is your own.", hint="Sign a consent for yourself instead.")
    if asked.expiry <= at:
        raise InvalidInput("The consent that you ask for would have ended already.", hint="Ask for a later expiry.")
    if not 1 <= days_open <= MAX_DAYS or len(message) > MAX_MESSAGE:
        raise InvalidInput(f"A request is open 1 to {MAX_DAYS} days, its message has at most {MAX_MESSAGE} characters.")
    purpose(asked.purpose)
    take_turn(session, b"requests" + owner + trainer)
    mine = (RequestRow.owner == owner, RequestRow.trainer == trainer)
    waiting = (RequestRow.state == State.OPEN, RequestRow.closes > at)
    count = session.scalar(select(func.count()).select_from(RequestRow).where(*mine, *waiting)) or 0
    if count >= MAX_OPEN:
        raise Conflict(f"{count} requests of yours wait for this owner.", hint="Wait for answers, or withdraw some.")
    row = RequestRow(
        id=secrets.token_hex(16),
        asset=asset,
        owner=owner,
        trainer=trainer,
        state=State.OPEN,
        closes=at + days_open * DAY,
        asked=asked.document,
        message=message,
        history=[{"state": State.OPEN, "at": at, "by": to_hex(trainer)}],
    )
    session.add(row)
    session.flush()
    _tell(session, row, State.OPEN)
    return row


def get(session: Session, account: Address, request_id: str) -> RequestRow:
    """A request of which this account is owner or trainer; `NotFound` for any other."""
    row = session.scalars(select(RequestRow).where(RequestRow.id == request_id)).one_or_none()
    if row is None or account not in (row.owner, row.trainer):
        raise NotFound("You have no such request.", hint="GET /v1/requests lists yours.")
    return row


def newest(
    session: Session, account: Address, role: str, *, state: State | None, before: int | None, at_most: int
) -> list[RequestRow]:
    """The requests to an owner, or of a trainer, newest first; `before` continues below a number."""
    mine = RequestRow.owner == account if role == "owner" else RequestRow.trainer == account
    query = select(RequestRow).where(mine)
    if state is State.EXPIRED:
        query = query.where(RequestRow.state == State.OPEN, RequestRow.closes <= now())
    elif state is State.OPEN:
        query = query.where(RequestRow.state == State.OPEN, RequestRow.closes > now())
    elif state is not None:
        query = query.where(RequestRow.state == state)
    if before is not None:
        query = query.where(RequestRow.number < before)
    return list(session.scalars(query.order_by(RequestRow.number.desc()).limit(at_most)))


def deny(session: Session, account: Address, request_id: str, reason: str) -> RequestRow:
    """The owner says no, with a reason that the trainer reads."""
    row = get(session, account, request_id)
    if account != row.owner:
        raise Denied("Only the dataset's owner denies a request.", hint="Withdraw it instead.")
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"A reason has at most {MAX_REASON} characters.")
    return _answer(session, row, State.DENIED, account, reason=reason)


def withdraw(session: Session, account: Address, request_id: str) -> RequestRow:
    """The trainer takes it back."""
    row = get(session, account, request_id)
    if account != row.trainer:
        raise Denied("Only who asked withdraws a request.", hint="Deny it instead.")
    return _answer(session, row, State.WITHDRAWN, account)


def approve(session: Session, request_id: str, consent: Consent, terms: Terms, digest: bytes) -> RequestRow:
    """The owner's consent answers it, as asked or with changes; `InvalidInput` for another dataset or trainer."""
    row = get(session, consent.owner, request_id)
    if (consent.owner, consent.asset, consent.grantee) != (row.owner, row.asset, row.trainer):
        raise InvalidInput(
            "This consent does not answer that request: dataset, owner or trainer are others.",
            hint="Sign a consent for the dataset and the trainer that the request names.",
        )
    found = changes(Asked.of(row.asked), consent, terms)
    state = State.CHANGED if found else State.APPROVED
    return _answer(session, row, state, consent.owner, consent=digest, changes=found)


def reopen(session: Session, request_id: str) -> None:
    """The consent that answered it never came to be: it waits for another answer."""
    row = session.scalars(select(RequestRow).where(RequestRow.id == request_id)).one_or_none()
    if row is None or row.state not in (State.APPROVED, State.CHANGED):
        return
    row.state, row.consent = State.OPEN, None
    row.history = [*row.history, {"state": State.OPEN, "at": now(), "by": None}]
    _tell(session, row, State.OPEN)


def _answer(
    session: Session, row: RequestRow, state: State, by: Address, *, consent: bytes | None = None, **facts: Any
) -> RequestRow:
    """Answer an open request; `Conflict` if it is not open any more."""
    at = now()
    history = [*row.history, {"state": state, "at": at, "by": to_hex(by), **facts}]
    mine = (RequestRow.number == row.number, RequestRow.state == State.OPEN, RequestRow.closes > at)
    values = {"state": state, "history": history, "consent": consent}
    done = session.execute(update(RequestRow).where(*mine).values(**values).returning(RequestRow.number)).first()
    if done is None:
        session.refresh(row)
        raise Conflict(f"This request is {row.standing.replace('_', ' ')}.", hint="It is answered once.")
    session.refresh(row)
    _tell(session, row, state)
    return row


def _tell(session: Session, row: RequestRow, state: State) -> None:
    data = {"request": row.id, "asset": to_hex(row.asset)}
    for account in dict.fromkeys((row.owner, row.trainer)):
        activity.record(session, Address(account), f"request.{state}", data)


def fields(row: RequestRow) -> dict[str, Any]:
    """A request as its two people see it."""
    return {
        "id": row.id,
        "asset": to_hex(row.asset),
        "owner": to_hex(row.owner),
        "trainer": to_hex(row.trainer),
        "state": row.standing,
        **row.asked,
        "message": row.message,
        "opened": row.history[0]["at"],
        "closes": row.closes,
        "consent": None if row.consent is None else to_hex(row.consent),
        "history": row.history,
    }
