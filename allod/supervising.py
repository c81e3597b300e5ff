"""A tree of processes that is kept standing: each part is started in order, and again whenever it dies.

Promises: a part that ends, by SIGKILL too, is started again under the same name and with the same words; one that
never gets ready, or keeps dying at once, ends the whole tree with the end of its log as the reason. A stop goes to
the parts in reverse order, politely first. On Linux no part outlives its supervisor, even a killed one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from core.errors import Unavailable

START = 120.0  # seconds until a part must be ready: on a busy machine Python alone takes several
GRACE = 15.0  # seconds between a polite stop and a hard one
LOOK = 0.2  # seconds between two looks at the parts
SHORT, LONG = 0.5, 10.0  # seconds between a death and the next start, doubling
STEADY = 20.0  # a part that lived as long as this is sound: its next death is its first again
DEATHS = 6  # in a row, each within STEADY, and the tree gives up
MAX_LOG = 8 << 20  # a log longer than this is put aside at a start

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Part:
    """One process: a name, the words that start it, its environment, and a question whether it is ready."""

    name: str
    words: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool] = lambda: True
    about: str = ""


@dataclass
class _Running:
    part: Part
    child: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    deaths: int = 0
    due: float = 0.0
    restarts: int = field(default=0)


class Tree:
    """The parts, started when it is entered; `run` keeps them up until `stop` is set."""

    def __init__(
        self, logs: Path, *, stop: threading.Event | None = None, say: Callable[[str], None] | None = None
    ) -> None:
        self._logs = logs
        self._stop = stop or threading.Event()
        self._say = say or (lambda _: None)
        self._running: list[_Running] = []

    def start(self, *parts: Part) -> None:
        """Start more parts at once and wait until all are ready; `Unavailable`, with its log's end, if one is not.

        Meanwhile all are kept up.
        """
        waiting = [_Running(part) for part in parts]
        for one in waiting:
            self._running.append(one)
            self._spawn(one)
        deadline = time.monotonic() + START
        while waiting and not self._stop.is_set():
            for one in self._running:
                self._look_after(one)
            waiting = [one for one in waiting if one.child is None or not one.part.is_ready()]
            if waiting and time.monotonic() > deadline:
                raise self._failed(waiting[0].part, "does not answer")
            self._stop.wait(0.05 if waiting else 0)

    @property
    def pids(self) -> dict[str, int]:
        """Which process each part is now; one that waits for its next start is left out."""
        return {one.part.name: one.child.pid for one in self._running if one.child is not None}

    def run(self) -> None:
        """Keep all parts up until told to stop; `Unavailable` if one keeps dying."""
        while not self.is_stopping:
            self.look()

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def look(self) -> None:
        """Wait a moment, then start again what died meanwhile."""
        if not self._stop.wait(LOOK):
            for one in self._running:
                self._look_after(one)

    def _look_after(self, one: _Running) -> None:
        now = time.monotonic()
        if one.child is None:
            if now >= one.due:
                self._spawn(one)
                one.restarts += 1
                self._say(f"{one.part.name} is started again, process {self.pids[one.part.name]}.")
            return
        code = one.child.poll()
        if code is None:
            return
        one.child = None
        one.deaths = 1 if now - one.born > STEADY else one.deaths + 1
        if one.deaths >= DEATHS:
            raise self._failed(one.part, f"died {one.deaths} times in a row")
        one.due = now + min(LONG, SHORT * 2 ** (one.deaths - 1))
        self._say(f"{one.part.name} {_how(code)}.")

    def close(self) -> None:
        """Stop every part, the last one first; each gets some seconds to finish what it does."""
        self._stop.set()
        for one in reversed(self._running):
            if one.child is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                one.child.terminate()
            try:
                one.child.wait(GRACE)
            except subprocess.TimeoutExpired:
                one.child.kill()
                one.child.wait()
            one.child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _spawn(self, one: _Running) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._log(one.part)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > MAX_LOG:
                os.replace(path, path.with_suffix(".old"))
        with path.open("ab") as log:
            one.child = begin(one.part.words, one.part.environment, log)
        one.born = time.monotonic()

    def _log(self, part: Part) -> Path:
        return self._logs / f"{part.name.replace(' ', '-')}.log"

    def _failed(self, part: Part, what: str) -> Unavailable:
        end = ""
        with contextlib.suppress(OSError):
            end = self._log(part).read_bytes()[-600:].decode(errors="replace").strip()
        return Unavailable(f"{part.name} {what}.", hint=f"Its log is {self._log(part)}: {end or 'it is empty'}")


def begin(words: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, in a session of its own, with nothing to read."""
    return subprocess.Popen(  # noqa: S603 - our own words, no shell
        list(words),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor, which stops them in order
        # What runs between fork and exec takes no lock, so other threads of the supervisor do not matter.
        preexec_fn=_end_with_parent(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509
    )


def _end_with_parent(parent: int) -> Callable[[], None]:
    """What a new child does first: ask the kernel for SIGTERM when the supervisor dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before it was asked
            os._exit(1)

    return ask


def _how(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
