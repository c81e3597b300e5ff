"""One migration history makes the schema that the models declare, forwards and backwards, empty or filled.

Everything here holds on SQLite and on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, delete, inspect, select, text
from sqlalchemy.exc import IntegrityError

from allod import consenting, operations, requests, schema
from allod.consenting import NonceRow
from consent.index.records import BlockRow, EventRow, SourceRow
from consent.records import ConsentBook, ConsentRow, TransactionRow
from core.database import open_engine, transaction
from core.errors import NotFound
from core.ids import Address, Asset, VaultId
from core.settings import Settings
from finetune.records import JobBook
from tests.real import running_postgres
from vault.catalogue import Catalogue, DatasetRow, Place, PublicationRow, Wanted

OWNER = Address(b"o" * 20)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path / 'allod.db'}")
        yield engine
    else:
        engine = open_engine(request.getfixturevalue("postgres"))
        yield engine
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


@pytest.fixture
def engine(empty: Engine) -> Engine:
    schema.upgrade(empty)
    return empty


def fill(engine: Engine) -> None:
    fill_books(engine)
    JobBook(engine).add("1", OWNER)
    Catalogue(engine).remember(PublicationRow(asset=b"a" * 32, terms=b"t" * 32, owner=OWNER, cid="cid", sequence=1))
    with transaction(engine) as session:
        operations.accept(session, Settings(), OWNER, "register", {}, {}, effect="register 0x")
        asked = requests.Asked("academic-research", 1, (), 0, 2**35, 0, 0)
        requests.ask(session, Address(b"t" * 20), OWNER, Asset(b"a" * 32), asked, "", 1)
        session.add(NonceRow(owner=OWNER, place=7))
    with transaction(engine) as session:
        session.add(SourceRow(id=1, key=b"k" * 32, head=9, head_hash=b"h" * 32))
        session.flush()
        session.add(BlockRow(source=1, number=9, hash=b"h" * 32, time=1_800_000_000))
        session.flush()
        place = {"block": 9, "log_index": 0, "tx_index": 0, "tx_hash": b"t" * 32}
        session.add(EventRow(source=1, **place, contract="escrow", name="Deposited", words=bytes(64), payer=OWNER))


def fill_books(engine: Engine) -> None:
    row = DatasetRow(asset=b"a" * 32, owner=OWNER, vault_id=b"v" * 32, title="Notes", objects=1, records=2)
    row.publication = "cid"
    Catalogue(engine).add(row)
    book = ConsentBook(engine)
    book.add(
        ConsentRow(digest=b"d" * 32, owner=OWNER, grantee=bytes(20), asset=b"a" * 32, consent=b"c", signature=b"s")
    )
    book.sent(TransactionRow(hash=b"t" * 32, what="open", sender=OWNER, gas=1, block=1))


def test_the_migrations_make_exactly_the_declared_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata()) == []


def test_the_newest_migration_is_the_one_that_is_written_down() -> None:
    assert ScriptDirectory(str(schema.migrations_folder())).get_heads() == [schema.HEAD]


@pytest.mark.parametrize("filled", [False, True])
def test_a_database_goes_down_to_nothing_and_up_again(engine: Engine, filled: bool) -> None:
    if filled:
        fill(engine)
    schema.downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    schema.upgrade(engine)
    fill(engine)
    assert JobBook(engine).find("1").payer == OWNER


def test_upgrading_a_filled_database_twice_keeps_every_row(engine: Engine) -> None:
    fill(engine)
    schema.upgrade(engine)
    fill_again = Catalogue(engine)
    assert [row.title for row in fill_again.all(OWNER)] == ["Notes"]
    assert len(ConsentBook(engine).consents(owner=OWNER)) == 1
    assert len(ConsentBook(engine).transactions()) == 1
    with transaction(engine) as session:
        assert session.get_one(EventRow, (1, 9, 0)).payer == OWNER


def test_the_events_of_a_block_go_with_it_and_none_stands_without(engine: Engine) -> None:
    fill(engine)
    with transaction(engine) as session:
        session.execute(delete(BlockRow))
    with transaction(engine) as session:
        assert list(session.scalars(select(EventRow))) == []
    with pytest.raises(IntegrityError), transaction(engine) as session:
        session.add(EventRow(source=1, block=9, log_index=0, tx_index=0, tx_hash=b"", contract="", name="", words=b""))


@pytest.mark.parametrize("filled", [False, True])
def test_the_index_alone_comes_and_goes(engine: Engine, filled: bool) -> None:
    if filled:
        fill(engine)
    schema.downgrade(engine, "0002")
    assert not [name for name in inspect(engine).get_table_names() if name.startswith("index_")]
    schema.upgrade(engine)
    assert [row.title for row in Catalogue(engine).all(OWNER)] == ["Notes"] * filled


def test_a_catalogue_of_the_version_before_stays_and_waits_for_its_terms(engine: Engine) -> None:
    fill_books(engine)
    schema.downgrade(engine, "0004_server")
    schema.upgrade(engine)
    [row] = Catalogue(engine).incomplete()
    assert (row.title, row.terms, row.flat) == ("Notes", None, None)
    assert [row.title for row in Catalogue(engine).page(Wanted(), after=None, at_most=2)] == ["Notes"]


def test_what_the_version_before_had_included_is_not_told_again(engine: Engine) -> None:
    states = ("accepted", "included", "final")
    with transaction(engine) as session:
        for state in states:
            accept = {"effect": state, "state": operations.State(state)}
            operations.accept(session, Settings(), OWNER, "register", {}, {}, **accept)
    schema.downgrade(engine, "0007_jobs")
    schema.upgrade(engine)
    with transaction(engine) as session:
        found = [operations.of_effect(session, state) for state in states]
    assert [row and row.told for row in found] == [False, True, True]


def test_pages_and_filters_are_the_same_in_either_database(engine: Engine) -> None:
    catalogue = Catalogue(engine)
    for number in range(6):
        owner = bytes([number % 2]) * 20
        row = DatasetRow(asset=bytes([number]) * 32, owner=owner, vault_id=b"v" * 32, title=f"No {number}", objects=1)
        row.publication, row.records, row.terms = "cid", 1, b"t" * 32
        row.purposes, row.flat, row.per_record_epoch, row.expiry = "academic-research", 2**53 - 1, 0, 2**40 - 1
        catalogue.add(row, ["notes", f"n{number}"])
        catalogue.add(row, ["twice"])
    first = catalogue.page(Wanted(text="notes"), after=None, at_most=4)
    rest = catalogue.page(Wanted(text="notes"), after=Place(first[-1].published, first[-1].asset), at_most=4)
    assert [row.asset[0] for row in first + rest] == [5, 4, 3, 2, 1, 0]
    wanted = Wanted(owner=Address(b"\x01" * 20), purpose="academic-research", text="NOTES n3")
    assert [row.title for row in catalogue.page(wanted, after=None, at_most=4)] == ["No 3"]
    assert catalogue.page(Wanted(text="n3 n4"), after=None, at_most=4) == []


def test_one_effect_is_one_operation_whoever_asks_at_once(engine: Engine) -> None:
    def accept(_: int) -> str:
        with transaction(engine) as session:
            return operations.accept(session, Settings(), OWNER, "grant", {}, {}, effect="grant 0x")[0].id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(accept, range(8)))) == 1


def test_nonces_of_one_owner_are_given_one_after_another(engine: Engine) -> None:
    def take(_: int) -> int:
        with transaction(engine) as session:
            place = consenting._hold(session, OWNER) + 1
            consenting._take(session, OWNER, place)
            return place

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(take, range(8))) == list(range(8))


def test_what_is_not_there_is_said_with_the_next_step(engine: Engine) -> None:
    with pytest.raises(NotFound, match="dataset list"):
        Catalogue(engine).get(Asset(b"x" * 32))
    with pytest.raises(NotFound, match="job list"):
        JobBook(engine).find("7")


def test_two_programs_that_start_at_once_upgrade_once(empty: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: schema.upgrade(empty), range(4)))
    with empty.connect() as connection:
        assert schema.current(connection) == schema.HEAD


def test_what_several_programs_remember_at_once_is_remembered_once(engine: Engine) -> None:
    vault_id = VaultId(b"v" * 32)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: Catalogue(engine).saw_head(vault_id, f"head {number}", number), range(1, 20)))
        list(pool.map(lambda _: fill_books(engine), range(8)))
    head = Catalogue(engine).head(vault_id)
    assert head is not None
    assert (head.sequence, head.head) == (19, "head 19")
    assert len(Catalogue(engine).all()) == len(ConsentBook(engine).consents()) == 1


def test_a_job_has_one_number_however_many_find_its_folder_at_once(engine: Engine) -> None:
    book = JobBook(engine)
    with ThreadPoolExecutor(4) as pool:
        numbers = {row.number for row in pool.map(lambda _: book.add("folder", OWNER), range(8))}
    assert numbers == {book.of_folder("folder", OWNER).number}
