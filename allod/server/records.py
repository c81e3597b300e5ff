"""The server's own tables: sign-in nonces, sessions, kept answers and the activity log.

A session's token and a browser's cookie never stand here, only their SHA-256; nothing here is a secret or a word of an
owner.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base, UtcTime

BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by themselves only in this type


class NonceRow(Base):
    """A nonce that was given out for one sign-in and not used yet."""

    __tablename__ = "signin_nonces"

    nonce: Mapped[str] = mapped_column(String(32), primary_key=True)
    expires: Mapped[datetime] = mapped_column(UtcTime, index=True)


class SessionRow(Base):
    """Somebody who is signed in. `token` is the SHA-256 of what the cookie carries."""

    __tablename__ = "sessions"

    token: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    account: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    created: Mapped[datetime] = mapped_column(UtcTime)
    used: Mapped[datetime] = mapped_column(UtcTime)
    expires: Mapped[datetime] = mapped_column(UtcTime, index=True)


class AnswerRow(Base):
    """The answer to a request with an Idempotency-Key; while `status` is null, the request `claim` works on it."""

    __tablename__ = "kept_answers"

    account: Mapped[bytes] = mapped_column(LargeBinary(20), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request: Mapped[bytes] = mapped_column(LargeBinary(32))  # SHA-256 of method, path and body
    claim: Mapped[bytes] = mapped_column(LargeBinary(16))
    since: Mapped[datetime] = mapped_column(UtcTime, index=True)
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[str | None] = mapped_column(Text)


class ActivityRow(Base):
    """Something that happened to an account. Rows are only ever added."""

    __tablename__ = "activity"
    __table_args__ = (Index(None, "account", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    account: Mapped[bytes] = mapped_column(LargeBinary(20))
    at: Mapped[datetime] = mapped_column(UtcTime)
    kind: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
