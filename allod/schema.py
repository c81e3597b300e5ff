"""The database's schema: all tables of all layers, and the one Alembic history that makes them."""

from __future__ import annotations

import threading
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, MetaData, inspect

from core.database import Base
from core.errors import Conflict

if TYPE_CHECKING:
    from alembic.config import Config

_ALONE = threading.Lock()  # Alembic keeps its state in the module
HEAD = "0008_relay"  # the newest migration; written down because to look it up takes longer than most commands work
_LOCK_NUMBER = int.from_bytes(b"allod", "big")
MODULES = (
    "vault.catalogue",
    "consent.chain.records",
    "consent.records",
    "consent.index.records",
    "finetune.records",
    "allod.orders",
    "allod.holdings",
    "allod.server.records",
    "allod.operations",
    "allod.requests",
    "allod.consenting",
)


def metadata() -> MetaData:
    """Every table that Allod declares."""
    for module in MODULES:
        import_module(module)
    return Base.metadata


def migrations_folder() -> Path:
    """Inside the wheel `allod/migrations`; in a checkout the folder beside the packages."""
    packaged = Path(str(files("allod"))) / "migrations"
    return packaged if packaged.is_dir() else Path(str(files("allod"))).parent / "migrations"


def alembic_config(connection: Connection) -> Config:
    """An Alembic configuration without an ini file, on an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    return config


def knows(revision: str) -> bool:
    """Whether this code's history holds that revision."""
    from alembic.script import ScriptDirectory

    return any(one.revision == revision for one in ScriptDirectory(str(migrations_folder())).walk_revisions())


def current(connection: Connection) -> str | None:
    """The revision that the database is at: what Alembic wrote down, None before the first."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return None if found is None else str(found)


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`; one already there is left alone, one of a newer Allod is a `Conflict`."""
    with engine.connect() as connection:
        if revision == "head" and current(connection) == HEAD:
            return
    from alembic import command

    with _ALONE, engine.begin() as connection:
        _wait_for_others(connection)
        found = current(connection)
        if revision == "head" and found == HEAD:
            return
        if found is not None and not knows(found):
            raise Conflict(
                f"The database was written by a newer Allod (revision {found}).",
                hint="Install that version again, or a newer one.",
            )
        command.upgrade(alembic_config(connection), revision)


def _wait_for_others(connection: Connection) -> None:
    """Let one program at a time change the schema: the others wait here until its transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_NUMBER})")


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` ("base" empties it)."""
    from alembic import command

    with _ALONE, engine.begin() as connection:
        _wait_for_others(connection)
        command.downgrade(alembic_config(connection), revision)
