"""Bounds on what an account may have hold when it asks for more in many tabs at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from allod import schema
from core.database import open_engine, take_turn, transaction
from tests.server.at_most import WAYS, no_more_than, place_an_order


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'allod.db'}")
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(("add", "most"), WAYS)
def test_the_last_one_is_had_once(
    engine: Engine, add: Callable[[Session], None], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_more_than(engine, add, most, monkeypatch)


def test_a_turn_within_a_transaction_that_writes_already_is_none_more(engine: Engine) -> None:
    with transaction(engine) as session:
        place_an_order(session)
        take_turn(session, b"another")
        place_an_order(session)
