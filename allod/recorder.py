"""Writes a job's events from what is reported while somebody works on it, and hands the reports on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from allod.events import EventLog
from core.errors import AllodError, Busy
from finetune.releasing import refusals_of
from finetune.workspace import Workspace

if TYPE_CHECKING:
    from finetune.broker import Progress


class Recorder:
    """A report (as a site takes one) that keeps events. Call it only while the job's folder is held."""

    def __init__(self, job: Workspace, then: Callable[[Progress], None] | None = None) -> None:
        self._job = job
        self._then = then
        self._log: EventLog | None = None
        self._state: str | None = None
        self._phase = ""
        self._refused: set[tuple[str | None, str | None]] = set()
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

    def begin(self, stage: str) -> None:
        """Keep that somebody sets to work, and how the job stands."""
        self._events.add("stage", stage=stage)
        self.look()

    def published(self) -> None:
        """Keep that the bundle is whole, and nothing more will happen."""
        self._events.add("published")

    def look(self) -> None:
        """Keep a new state, and refusals that were not told before."""
        log, state = self._events, self._job.state
        if state != self._state:
            self._state = state
            more = {"outcome": self._job.facts["outcome"]} if "outcome" in self._job.facts else {}
            log.add("state", state=state.value, **more)
        for entry in refusals_of(self._job):
            if (entry["owner"], entry["where"]) not in self._refused:
                self._refused.add((entry["owner"], entry["where"]))
                reasons = " ".join(sorted({str(said["reason"]) for said in entry["reasons"]}))
                log.add("refusal", owner=entry["owner"], where=entry["where"], reason=reasons)

    @property
    def _events(self) -> EventLog:
        if self._log is None:  # not before: it takes a torn line away, which only the holder of the folder may
            self._log = EventLog(self._job.folder)
            for event in self._log.known:
                if event["kind"] == "state":
                    self._state = event.get("state")
                elif event["kind"] == "refusal":
                    self._refused.add((event.get("owner"), event.get("where")))
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
