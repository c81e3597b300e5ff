"""No step begins on knowledge older than ten seconds or twenty steps."""

from __future__ import annotations

import pytest

from core.errors import Unavailable
from core.ids import ConsentId
from finetune.watch import SECONDS, STEPS, Pace, Watch

ADA = ConsentId(b"a" * 32)


class World:
    """A clock, and a chain that answers or does not."""

    def __init__(self) -> None:
        self.now, self.answers, self.asked = 0.0, True, 0
        self.ended: dict[ConsentId, str] = {}

    def look(self) -> dict[ConsentId, str]:
        self.asked += 1
        if not self.answers:
            raise Unavailable("no answer")
        return dict(self.ended)

    def watch(self, pace: Pace | None = None) -> Watch:
        return Watch(self.look, pace, clock=lambda: self.now)


def test_the_promise_is_ten_seconds_and_twenty_steps() -> None:
    assert (STEPS, SECONDS) == (20, 10.0)


def test_the_first_step_is_never_taken_unasked() -> None:
    world = World()
    world.answers = False
    with pytest.raises(Unavailable):
        world.watch().before_step()


def test_a_revoked_consent_is_told_once_and_never_comes_back() -> None:
    world = World()
    watch = world.watch(Pace(steps=1))
    assert watch.before_step() == {}
    world.ended = {ADA: "The owner revoked this consent."}
    assert watch.before_step() == world.ended
    assert watch.before_step() == {}
    world.ended = {}
    watch.before_step()
    assert ADA in watch.ended


def test_an_answer_that_took_a_minute_is_asked_for_again() -> None:
    world = World()
    watch, look, delays = world.watch(), world.look, [60.0, 11.0, 1.0]

    def slow() -> dict[ConsentId, str]:
        world.now += delays.pop(0)
        return look()

    watch._look = slow
    watch.before_step()
    assert delays == []
    assert world.now - 1.0 == watch._asked


@pytest.mark.parametrize("seconds_a_step", [0.0, 0.3, 2.0, 7.0, 30.0])
def test_no_step_begins_on_older_knowledge(seconds_a_step: float) -> None:
    world = World()
    watch = world.watch()
    known_at, known_step = 0.0, 0
    for step in range(100):
        asked = world.asked
        watch.before_step()
        if world.asked > asked:
            known_at, known_step = world.now, step
        assert world.now - known_at < SECONDS
        assert step - known_step < STEPS
        world.now += seconds_a_step
    assert world.asked >= 100 / STEPS


def test_a_silent_chain_stops_the_job_in_time_and_not_at_once() -> None:
    world = World()
    watch = world.watch()
    watch.before_step()
    world.answers = False
    taken = 1

    def go_on() -> None:
        nonlocal taken
        while True:
            watch.before_step()
            taken += 1

    with pytest.raises(Unavailable):
        go_on()
    assert STEPS / 2 < taken <= STEPS


def test_a_silent_chain_stops_a_slow_job_by_the_clock() -> None:
    world = World()
    watch = world.watch()
    watch.before_step()
    world.answers = False
    world.now = 9.9
    watch.before_step()
    world.now = 10.0
    with pytest.raises(Unavailable):
        watch.before_step()


def test_a_chain_that_answers_again_in_time_lets_the_job_go_on() -> None:
    world = World()
    watch = world.watch()
    watch.before_step()
    world.answers, world.now = False, 6.0
    watch.before_step()
    world.answers, world.now = True, 9.0
    watch.before_step()
    world.answers, world.now = False, 18.0
    watch.before_step()
