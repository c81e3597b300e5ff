"""What is away is waited for, longer and longer and for as long as it takes; what says no is asked once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from allod.patience import DEATHS, Patience
from core.errors import AllodError, Busy, Conflict, Corrupted, Denied, InvalidInput, NotFound, Refused, Unavailable


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.told: list[str] = []

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)

    def patience(self) -> Patience:
        return Patience(self.wait, lambda error, _: self.told.append(error.message))


def back_at(clock: Clock, when: float, error: Exception) -> Callable[[], str]:
    def ask() -> str:
        if clock.now < when:
            raise error
        return "answer"

    return ask


@pytest.mark.parametrize("error", [Unavailable("away"), Busy("held"), OSError(28, "No space left on device")])
def test_a_minute_away_costs_little_more_than_a_minute(error: Exception) -> None:
    clock = Clock()
    assert clock.patience().try_until_done(back_at(clock, 60, error)) == "answer"
    assert clock.pauses == [1, 2, 4, 8, 16, 32]
    assert len(clock.told) == 6


def test_a_day_away_is_waited_for_too_with_a_question_a_minute() -> None:
    clock = Clock()
    assert clock.patience().try_until_done(back_at(clock, 86400, Unavailable("away"))) == "answer"
    assert max(clock.pauses) == 60
    assert clock.now < 86400 + 60


@pytest.mark.parametrize("kind", [Refused, InvalidInput, NotFound, Denied, Conflict, Corrupted])
def test_an_answer_is_never_asked_for_again(kind: type[AllodError]) -> None:
    clock = Clock()
    with pytest.raises(kind):
        clock.patience().try_until_done(back_at(clock, 1, kind("no")))
    assert clock.pauses == []


def test_a_bug_is_no_absence() -> None:
    clock = Clock()
    with pytest.raises(ZeroDivisionError):
        clock.patience().try_until_done(lambda: 1 // 0)
    assert clock.pauses == []


def test_a_child_that_dies_again_and_again_at_one_place_is_given_up() -> None:
    clock = Clock()
    with pytest.raises(Unavailable):
        clock.patience().try_until_done(back_at(clock, 1e9, Unavailable("it ended", exit_status=-9)))
    assert len(clock.pauses) == DEATHS - 1


def test_a_child_that_gets_further_each_time_is_not() -> None:
    clock, reached = Clock(), [0]

    def crash() -> str:
        reached[0] += 1
        if reached[0] < 20:
            raise Unavailable("it ended", exit_status=-9)
        return "trained"

    assert clock.patience().try_until_done(crash, lambda: reached[0]) == "trained"
    assert set(clock.pauses) == {1}


def test_whoever_waits_may_give_up() -> None:
    class Enough(BaseException):
        pass

    def wait(_: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        Patience(wait, lambda *_: None).try_until_done(back_at(Clock(), 1, Unavailable("away")))
