"""A runner that is killed before or after any of its writes, with an order in hand, makes and opens the job once."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine.default import DefaultDialect

from consent.chain.client import Chain
from core.ids import Address
from finetune.workspace import State
from tests.server.ordering import Town
from tests.worker.homes import DEPOSIT, FEE, LEAF

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]


class Killed(BaseException):
    """What SIGKILL does to whoever is at the desk, as far as this process can tell."""


class Killer:
    """Counts writes (files, commits, transactions); at the chosen one it kills, and after that nothing writes."""

    def __init__(self, patch: pytest.MonkeyPatch, chosen: int | None = None, *, after: bool = False) -> None:
        self.points: list[str] = []
        self.dead = False
        self._chosen, self._after = chosen, after
        patch.setattr(os, "replace", self._at("file", os.replace))
        patch.setattr(os, "write", self._at("append", os.write))
        patch.setattr(DefaultDialect, "do_commit", self._at("commit", DefaultDialect.do_commit))
        patch.setattr(Chain, "submit_raw", self._at("send", Chain.submit_raw))

    def _at(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            if self.dead:
                raise Killed
            number = len(self.points)
            self.points.append(kind)
            if number == self._chosen and not self._after:
                self.dead = True
                raise Killed
            found = real(*args, **named)
            if number == self._chosen:
                self.dead = True
                raise Killed
            return found

        return watched


def tend_and_die(town: Town, chosen: int, *, after: bool) -> list[str]:
    """Tend a desk that is killed at its write number `chosen`, if it comes that far; the writes until then."""
    with pytest.MonkeyPatch.context() as patch:
        killer = Killer(patch, chosen, after=after)
        try:
            town.desk().tend()
        except Killed:
            assert killer.dead
    return killer.points


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("phase", ["quoting", "opening"])
def test_a_runner_that_is_killed_anywhere_makes_and_opens_the_job_once(
    town: Town, phase: str, after: bool, record_property: Any
) -> None:
    town.start(town.ready("ada"))  # what happens once in a home has happened
    town.desk().tend()
    killed, seen = 0, set[str]()
    while True:
        order = town.ask("ada")
        if phase == "quoting":
            writes = tend_and_die(town, killed, after=after)
        town.desk().tend()
        quote = town.quote(order)
        assert quote["state"] == "ready"
        assert town.start(quote).status_code == 202
        if phase == "opening":
            writes = tend_and_die(town, killed, after=after)
        town.desk().tend()
        town.mirror().tend()
        assert town.quote(order)["state"] == "opened"
        jobs, rows = town.jobs, town.job_rows()
        assert len(jobs) == len(rows) == killed + 2
        assert {job.state for job in jobs} == {State.OPEN}
        assert {row.state for row in rows} == {"open"}
        assert town.locked() == (killed + 2) * (LEAF + FEE)
        assert town.outside.in_escrow() == DEPOSIT
        assert town.outside.free(Address(town.home.payer.address)) == DEPOSIT - town.locked()
        seen.update(writes)
        if len(writes) <= killed:  # there is no write of that number: all were attacked
            break
        killed += 1
    assert seen == ({"file", "commit"} if phase == "quoting" else {"file", "commit", "append", "send"})
    assert killed >= 8
    record_property("points", f"orders, {phase}: {killed} writes, killed {'after' if after else 'before'} each")
