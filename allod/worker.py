"""`allod worker`: takes the queued jobs of a home, one at a time, and brings each to its end.

Several workers may serve one home. Each holds the lock of a numbered slot while it lives; the kernel frees it when it
dies, and then whoever sees that first, another worker or the next one to start, goes on with its job. The queue is
rebuilt from the jobs' folders at every look. Where the home has its own chain, a worker serves it on loopback, so that
other commands work beside it.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from allod.door import ChainDoor
from allod.patience import FIRST, LONGEST
from allod.performing import Performer
from allod.starting import is_queued
from allod.workflow import Engine, prepare_file
from allod.world import OpenWorld, World
from core.errors import AllodError, Busy
from core.files import Lock
from core.settings import Settings
from finetune.jobkey import open_runner
from finetune.workspace import State, workspaces

SLOTS = 64
LOOK = 0.5  # seconds between two looks at the folders and at the other workers
GRACE = 5.0  # seconds that what is under way may take to notice that the worker ends


class Worker:
    """One worker of one home, which ends soon after `stop` is set, as a signal handler does."""

    def __init__(
        self,
        settings: Settings,
        *,
        stop: threading.Event | None = None,
        open_world: OpenWorld = World,
        look: float = LOOK,
        pauses: tuple[float, float] = (FIRST, LONGEST),
    ) -> None:
        """Take a slot and begin taking jobs; `Busy` if all slots are taken."""
        self._settings = settings
        self._look = look
        self._stop = stop or threading.Event()
        self._queued: set[str] = set()
        self._over: set[str] = set()
        home = settings.home
        self._name = open_runner(home / "runner").account.address.hex()
        self._performer = Performer(settings, open_world, self._stop, pauses)
        with ExitStack() as stack:
            self.slot = self._take_slot(stack)
            self._chain = ChainDoor(settings)
            stack.callback(self._chain.close)
            self._chain.look()
            url = settings.database_url
            if url is None or url.startswith("sqlite"):
                url = prepare_file(home / "workflows.db")
            name, queue = self._executor(self.slot), f"allod-{self._name}"
            self._engine = Engine(url, queue, name, self._performer.perform, look=min(1.0, look))
            stack.callback(self._engine.close)
            self._closing = stack.pop_all()

    def run(self, *, until_idle: bool = False) -> int:
        """Work until it is stopped, or until no job waits; how many jobs came to an end here."""
        while not self._stop.is_set():
            self._chain.look()
            self._fill_queue()
            waiting = self._engine.waiting()
            self._recover({one.worker for one in waiting if one.worker is not None})
            if until_idle and not waiting:
                break
            self._stop.wait(self._look)
        return self._performer.ended

    def close(self) -> None:
        """Stop: the trainer child is killed, what is under way gets a moment to notice, and the slot is free.

        The job is left fit to go on.
        """
        self._stop.set()
        self._performer.kill_child()
        self._performer.rest(GRACE)
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill_queue(self) -> None:
        for job in workspaces(self._settings.home / "jobs"):
            name = job.folder.name
            if name in self._over:
                continue
            try:
                queued, state, facts = is_queued(job), job.state, job.facts
            except AllodError:
                continue  # a damaged folder keeps no other job from running; `job show` tells of it
            if queued and (workflow := f"{name}-{facts['queued']}") not in self._queued:
                self._engine.add(workflow, name)
                self._queued.add(workflow)
            if state is State.DONE and not queued:
                self._over.add(name)

    def _recover(self, workers: set[str]) -> None:
        for slot in range(1, SLOTS + 1):
            name = self._executor(slot)
            if slot != self.slot and name in workers:
                with suppress(Busy), _slot_lock(self._settings.home, slot):  # nobody takes the slot meanwhile
                    self._engine.recover([name])

    def _take_slot(self, stack: ExitStack) -> int:
        for slot in range(1, SLOTS + 1):
            with suppress(Busy):
                stack.enter_context(_slot_lock(self._settings.home, slot))
                return slot
        raise Busy(f"{SLOTS} workers serve this home already.", hint="Stop one of them, or let them work.")

    def _executor(self, slot: int) -> str:
        return f"{self._name}-{slot}"


def live_workers(home: Path) -> int:
    """How many workers serve this home now."""
    found = 0
    for slot in range(1, SLOTS + 1):
        if not _slot_path(home, slot).exists():
            continue
        try:
            with _slot_lock(home, slot):
                pass
        except Busy:
            found += 1
    return found


def _slot_path(home: Path, slot: int) -> Path:
    return home / "workers" / str(slot)


def _slot_lock(home: Path, slot: int) -> Lock:
    return Lock(_slot_path(home, slot), what=f"Worker {slot} of this home")
