"""The jobs that this world has seen. A job's own folder is the authority on its state; rows give it a number.

What else a row says is a copy, for who has no access to the folder; and what its payer asks of the folder's holder.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Engine, LargeBinary, String, select
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base, UtcTime, add_once, transaction, utc_now
from core.errors import NotFound
from core.ids import Address


class JobRow(Base):
    """One job: its number here, the folder that holds it, and, once it is open, its id on chain.

    `state`, `adapter` (SHA-256 of the weights) and `summary` copy what the folder says. `wish` is the payer's wish to
    cancel on its way to the folder (`asked`, or `agreed` to pay what is owed), `answer` what came of the last one.
    """

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    folder: Mapped[str] = mapped_column(String(200), unique=True)
    payer: Mapped[bytes] = mapped_column(LargeBinary(20), index=True)
    job_id: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True, default=None)
    created: Mapped[datetime] = mapped_column(UtcTime, default=utc_now)
    state: Mapped[str | None] = mapped_column(String(20), default=None)
    adapter: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True, default=None)
    summary: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    wish: Mapped[str | None] = mapped_column(String(10), default=None)
    answer: Mapped[str | None] = mapped_column(String(20), default=None)


class JobBook:
    """The jobs in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, folder: str, payer: Address) -> JobRow:
        """Give a job its number; the one that it has already, if somebody who looked at its folder was faster."""
        add_once(self._engine, JobRow(folder=folder, payer=payer))
        with transaction(self._engine) as session:
            return session.scalars(select(JobRow).where(JobRow.folder == folder)).one()

    def opened(self, number: int, job_id: bytes) -> None:
        """Remember the id that the job got on chain."""
        with transaction(self._engine) as session:
            row = session.get(JobRow, number)
            if row is not None:
                row.job_id = job_id

    def find(self, name: str) -> JobRow:
        """A job by number or by the start of its 0x id; `NotFound` if there is none or more than one."""
        rows = [
            row
            for row in self.all()
            if name in {str(row.number), _hex(row)} or (len(name) >= 6 and _hex(row).startswith(name))
        ]
        if len(rows) != 1:
            raise NotFound(f"No single job is called {name}.", hint="`allod job list` lists them.")
        return rows[0]

    def of_folder(self, folder: str, payer: Address) -> JobRow:
        """The job of that folder, which gets a number now if the database has lost it."""
        with transaction(self._engine) as session:
            row = session.scalars(select(JobRow).where(JobRow.folder == folder)).one_or_none()
        return row or self.add(folder, payer)

    def all(self) -> list[JobRow]:
        """All jobs, newest first."""
        with transaction(self._engine) as session:
            return list(session.scalars(select(JobRow).order_by(JobRow.number.desc())))


def _hex(row: JobRow) -> str:
    return "" if row.job_id is None else "0x" + row.job_id.hex()
