"""One database, one transaction per task.

Tables are declared beside the code that owns them (`allod.schema` names the modules) and migrated by one Alembic
history. Rows hold ids, hashes, public documents and states: never plaintext, file names, keys or words.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import DateTime, Dialect, Engine, MetaData, create_engine, event, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The declarative base of every table."""

    metadata = MetaData(naming_convention=NAMING)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time; naive times are a programming error and refused."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC without its zone, as SQLite keeps none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


def open_engine(url: str) -> Engine:
    """An engine for `url`; SQLite gets WAL, full durability, foreign keys and a patient lock."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            cursor = connection.cursor()
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000"):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends and rolls back when it fails."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def exclusively(engine: Engine, number: int) -> Iterator[Session]:
    """`transaction`, but only one of this `number` at a time, in whichever process: what it reads stays so to its end.

    (On SQLite it is the only one that writes at all.)
    """
    with transaction(engine) as session:
        _take_turn(session, number)
        yield session


def take_turn(session: Session, what: bytes) -> None:
    """From here to the session's end, only one of this `what` at a time, in whichever process.

    What is counted from here on stays so, where whoever changes it takes its turn too. (On SQLite it is the only one
    that writes at all.)
    """
    _take_turn(session, int.from_bytes(hashlib.sha256(what).digest()[:8], "big", signed=True))


def _take_turn(session: Session, number: int) -> None:
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")
    elif not cast(sqlite3.Connection, connection.connection.dbapi_connection).in_transaction:  # else it writes already
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def insert_into(session: Session, table: type[Base]) -> Any:
    """An INSERT into `table` that can say `on_conflict_…`."""
    dialect = session.get_bind().dialect.name
    return (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)


def inserting(session: Session, row: Base) -> Any:
    """An INSERT of `row` on which `on_conflict_…` can say what happens where its key is taken already.

    A look before an insert does not hold: another program may insert in between.
    """
    columns = inspect(type(row)).column_attrs
    values = {item.key: getattr(row, item.key) for item in columns if getattr(row, item.key) is not None}
    return insert_into(session, type(row)).values(values)


def add_once(engine: Engine, row: Base) -> None:
    """Insert `row` unless a row with its key is there, which then stays as it is."""
    with transaction(engine) as session:
        session.execute(inserting(session, row).on_conflict_do_nothing())
