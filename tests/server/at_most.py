"""What an account may have at most N of, asked for by many at once. For one database as for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from allod import orders, requests
from core.database import transaction
from core.errors import Conflict
from core.ids import Address, Asset

_ids = count()


def slow_id(length: int) -> str:
    """An id between the count and the row, with time enough for others to count."""
    threading.Event().wait(0.05)
    return f"{next(_ids):032x}"


def place_an_order(session: Session) -> None:
    """One more of the payer's."""
    orders.place(session, Address(b"p" * 20), {})


def ask_an_owner(session: Session) -> None:
    """One more of the trainer's to this owner."""
    asked = requests.Asked("academic-research", 1, (), 0, int(time.time()) + 1000, 0, 0)
    requests.ask(session, Address(b"t" * 20), Address(b"d" * 20), Asset(b"a" * 32), asked, "", 1)


WAYS: list[tuple[Callable[[Session], None], int]] = [
    (place_an_order, orders.MAX_OPEN),
    (ask_an_owner, requests.MAX_OPEN),
]


def no_more_than(engine: Engine, add: Callable[[Session], None], most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all but one are there, only one of many who ask at once gets the last."""

    def one(_: int = 0) -> bool:
        try:
            with transaction(engine) as session:
                add(session)
        except Conflict:
            return False
        return True

    assert all(map(one, range(most - 1)))
    monkeypatch.setattr("secrets.token_hex", slow_id)
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one, range(12))) == [False] * 11 + [True]
