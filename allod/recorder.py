"""Writes a job's events from what is reported while somebody works on it, and hands the reports on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from allod.events import EventLog
from core.errors import AllodError, Busy
from finetune.releasing import refusals_of
from finetune.workspace import State, Workspace

if TYPE_CHECKING:
    from finetune.broker import Progress


class Recorder:
    """A report (as a site takes one) that keeps events. Call it only while the job's folder is held."""

    def __init__(self, job: Workspace, then: Callable[[Progress], None] | None = None) -> None:
        self._job = job
        self._then = then
        self._log: EventLog | None = None
        self._state: State | None = None
        self._phase = ""
        self._refused = 0
        self.reached = 0
        """The furthest step that was ever completed while this looked on."""

    def __call__(self, progress: Progress) -> None:
        """Keep what is new in a report."""
        if progress.loss is not None:
            self.reached = max(self.reached, progress.step)
            self._events.step(
                step=progress.step,
                steps=progress.steps,
                loss=round(progress.loss, 4),
                tokens=progress.tokens,
                owners=progress.owners,
            )
        else:
            self.look()
            if progress.phase != self._phase or progress.note:
                self._phase = progress.phase
                self._events.add("phase", phase=progress.phase, note=progress.note)
        if self._then is not None:
            self._then(progress)

    def look(self) -> None:
        """Keep a new state, and refusals that were noted since the last look."""
        state = self._job.state
        if state is not self._state:
            self._state = state
            more = {"outcome": self._job.facts["outcome"]} if "outcome" in self._job.facts else {}
            self._events.add("state", state=state.value, **more)
        refused = refusals_of(self._job)
        for entry in refused[self._refused :]:
            reasons = " ".join(sorted({str(said["reason"]) for said in entry["reasons"]}))
            self._events.add("refusal", owner=entry["owner"], where=entry["where"], reason=reasons)
        self._refused = len(refused)

    @property
    def _events(self) -> EventLog:
        if self._log is None:  # not before: it takes a torn line away, which only the holder of the folder may
            self._log = EventLog(self._job.folder)
        return self._log


def record(job: Workspace, kind: str, **fields: Any) -> None:
    """Keep one event from outside; where somebody else holds the folder, that one has better news."""
    try:
        with job.hold():
            EventLog(job.folder).add(kind, **fields)
    except Busy:
        return


def record_error(job: Workspace, kind: str, error: AllodError, **fields: Any) -> None:
    """Keep what went wrong, and what to do about it."""
    record(job, kind, error=error.slug, note=error.message, next=error.hint, **fields)
