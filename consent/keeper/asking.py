"""Asking several keepers at once: in parallel, with stand-ins for slow ones, and again while too few are there.

Promises: one that hangs costs no more than the patience says; nothing a keeper does keeps the others from being heard.
A question that is given up goes on in a thread of its own until its port gives up too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from consent.keeper.port import KeeperPort
from core.errors import AllodError, Busy, Refused, Unavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for keepers, in seconds.

    `hedge`: until a stand-in is asked beside a slow one, and how long the others are waited for once enough answered.
    `answer`: until one counts as silent. `away`: how long a committee of which too few are there is asked again, every
    `pause`. The defaults suit keepers in this process, of whom none is slow but for the machine; `SERVICES` others.
    """

    hedge: float = 30.0
    answer: float = 60.0
    away: float = 0.0
    pause: float = 1.0


SERVICES = Patience(hedge=3.0, away=120.0)
"""For keepers over a network: a committee that is away for a minute costs a minute."""


class Reasons(dict[int, str]):
    """What each keeper that gave nothing usable said, by index; `away` are those that did not answer at all.

    One that is away may answer later, one that refused will not: only the first is worth waiting for.
    """

    def __init__(self, errors: Mapping[int, AllodError] | None = None) -> None:
        errors = errors or {}
        super().__init__({index: error.message for index, error in sorted(errors.items())})
        self.away = {index for index, error in errors.items() if isinstance(error, Unavailable | Busy)}

    def add(self, other: Reasons) -> None:
        """Take over what keepers said later."""
        self.update(other)
        self.away = self.away - set(other) | other.away

    def failure(self, message: str, *, hint: str, lacking: int) -> AllodError:
        """`Unavailable` where those who are away could still make up for the `lacking` ones, else `Refused`."""
        kind = Unavailable if lacking <= len(self.away) else Refused
        return kind(message, hint=hint, reasons=dict(self))


@dataclass
class Answers(Generic[T]):
    """What each keeper gave, by index, or why it gave nothing; `slow` are those that had to be hedged."""

    given: dict[int, T] = field(default_factory=dict)
    errors: dict[int, AllodError] = field(default_factory=dict)
    slow: set[int] = field(default_factory=set)

    @property
    def reasons(self) -> Reasons:
        """The errors in words, in the order of the indices."""
        return Reasons(self.errors)


Question = Callable[[int, KeeperPort], T]


def ask_all(ports: Mapping[int, KeeperPort], question: Question[T], *, enough: int, patience: Patience) -> Answers[T]:
    """Ask every keeper at once. Those away are asked again until `enough` have answered or `patience.away` is over."""
    return _persist(ports, sorted(ports), question, enough, len(ports), patience)


def ask_some(
    ports: Mapping[int, KeeperPort], order: Sequence[int], question: Question[T], *, enough: int, patience: Patience
) -> Answers[T]:
    """Ask the first `enough` keepers of `order`, and the next where one fails or is slow, until enough answered."""
    return _persist(ports, order, question, enough, enough, patience)


def _persist(
    ports: Mapping[int, KeeperPort],
    order: Sequence[int],
    question: Question[T],
    enough: int,
    at_once: int,
    patience: Patience,
) -> Answers[T]:
    """Rounds of questions: all of them again to those who are away, while too few answered and there is time."""
    end = time.monotonic() + patience.away
    found = _Round(ports, question, patience).run(order, enough, at_once)
    while len(found.given) < enough and time.monotonic() < end:
        away = [index for index, error in found.errors.items() if isinstance(error, Unavailable | Busy)]
        if not away:
            break
        time.sleep(patience.pause)
        done = len(found.given)
        again = _Round(ports, question, patience).run(away, enough - done, at_once - done)
        found.given |= again.given
        found.errors = {index: error for index, error in found.errors.items() if index not in again.given}
        found.errors |= again.errors
        found.slow |= again.slow
    return found


class _Round(Generic[T]):
    """One question to each keeper of an order."""

    def __init__(self, ports: Mapping[int, KeeperPort], question: Question[T], patience: Patience) -> None:
        self._ports = ports
        self._question = question
        self._patience = patience
        self._queue: SimpleQueue[tuple[int, T | AllodError | BaseException]] = SimpleQueue()
        self._since: dict[int, float] = {}  # of those being asked
        self._hedged: set[int] = set()  # of them, those beside whom a stand-in may be asked
        self._found: Answers[T] = Answers()

    def run(self, order: Sequence[int], enough: int, at_once: int) -> Answers[T]:
        """Until `enough` answered (and, where all were asked at once, the others had a moment) or nobody is left."""
        waiting, patience, found = list(order), self._patience, self._found
        everyone = at_once >= len(waiting)
        until: float | None = None
        while True:
            while waiting and len(self._since) - len(self._hedged) + len(found.given) < at_once:
                self._start(waiting.pop(0))
            now = time.monotonic()
            if len(found.given) >= enough:
                until = until if until is not None else now + (patience.hedge if everyone else 0)
            if not self._since or (until is not None and now >= until):
                break
            moments = [since + patience.answer for since in self._since.values()]
            if waiting:
                moments += [since + patience.hedge for index, since in self._since.items() if index not in self._hedged]
            self._hear(max(0.0, min([*moments, *([until] if until is not None else [])]) - now))
            self._give_up(hedge=bool(waiting))
        for index in self._since:
            found.errors[index] = _silent(time.monotonic() - self._since[index])
        return found

    def _start(self, index: int) -> None:
        self._since[index] = time.monotonic()
        threading.Thread(target=self._ask, args=(index,), name=f"ask-{index}", daemon=True).start()

    def _ask(self, index: int) -> None:
        try:
            self._queue.put((index, self._question(index, self._ports[index])))
        except BaseException as error:
            self._queue.put((index, error))

    def _hear(self, seconds: float) -> None:
        try:
            index, answer = self._queue.get(timeout=seconds)
        except Empty:
            return
        if index not in self._since:
            return  # it was given up
        del self._since[index]
        self._hedged.discard(index)
        if isinstance(answer, AllodError):
            self._found.errors[index] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            self._found.given[index] = answer

    def _give_up(self, *, hedge: bool) -> None:
        now = time.monotonic()
        for index, since in list(self._since.items()):
            if now - since >= self._patience.answer:
                del self._since[index]
                self._hedged.discard(index)
                self._found.errors[index] = _silent(now - since)
            elif hedge and now - since >= self._patience.hedge:
                self._hedged.add(index)
                self._found.slow.add(index)


def _silent(seconds: float) -> Unavailable:
    return Unavailable(f"The keeper did not answer within {max(1, round(seconds))} seconds.", hint="Try again later.")
