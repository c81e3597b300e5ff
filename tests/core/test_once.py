"""A value that threads share is made by one of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.once import cached_property


class Home:
    def __init__(self) -> None:
        self._opening = threading.RLock()
        self.made: list[str] = []
        self.meet = threading.Barrier(8)

    @cached_property
    def database(self) -> object:
        """Made slowly enough that all the others ask meanwhile."""
        self.made.append("database")
        threading.Event().wait(0.05)
        return object()

    @cached_property
    def book(self) -> tuple[str, object]:
        """Needs another part."""
        self.made.append("book")
        return ("book", self.database)

    @cached_property
    def broken(self) -> str:
        """Fails the first time."""
        self.made.append("broken")
        if len(self.made) == 1:
            raise OSError("away")
        return "whole"


def test_eight_threads_get_one_value() -> None:
    home = Home()

    def take(_: int) -> object:
        home.meet.wait(60)
        return home.book[1]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(take, range(8)))
    assert len(found) == 1
    assert home.made == ["book", "database"]


def test_what_failed_is_tried_again() -> None:
    home = Home()
    with pytest.raises(OSError, match="away"):
        home.broken  # noqa: B018
    assert home.broken == "whole"
    assert home.made == ["broken", "broken"]


def test_objects_do_not_share() -> None:
    assert Home().database is not Home().database
