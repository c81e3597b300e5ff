"""What a worker does for a job at each stage of its workflow, as often as it takes.

A stage looks at the job's folder and the chain and does what is missing (`finetune.stages`), so doing one twice, after
a kill anywhere, is doing it once. What is away is waited for; a refusal ends the workflow and leaves the folder fit to
be started again. The word that a stage returns is all that the workflow remembers.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from allod import jobs
from allod.cancelling import Cancelled, carry_out, is_wanted
from allod.patience import FIRST, LONGEST, Patience
from allod.recorder import Recorder, record, record_error
from allod.trainer import DEMO_BASE, base_folder, fund_runner
from allod.workflow import GO_ON
from allod.world import OpenWorld, World
from core.encoding import from_hex
from core.errors import AllodError, NotFound, Refused
from core.ids import Address
from core.settings import Settings
from finetune.broker import Progress
from finetune.site import Site
from finetune.stages import Work, open_stage, release_stage, settle_stage, train_stage
from finetune.trainer_process import TrainerProcess
from finetune.workspace import State, Workspace, needs_training

_LOOK = 0.5  # seconds between two looks at the folder while something is waited for


class Stopping(BaseException):
    """The worker is to end: what is under way is left as a kill would leave it. No failure, so nothing records it."""


class Performer:
    """One worker's hands. `stop` ends what is under way; `pauses` are the shortest and the longest wait, in seconds."""

    def __init__(
        self,
        settings: Settings,
        open_world: OpenWorld,
        stop: threading.Event,
        pauses: tuple[float, float] = (FIRST, LONGEST),
    ) -> None:
        self._settings = settings
        self._open_world = open_world
        self._stop = stop
        self._pauses = pauses
        self._child: TrainerProcess | None = None
        self._resting = threading.Event()
        self._resting.set()
        self.ended = 0
        """How many workflows came to an end here, good or not."""

    def perform(self, stage: str, folder: str) -> str:
        """Do one stage of one job until it is done; `GO_ON`, or a word that ends the workflow."""
        self._resting.clear()
        try:
            said = self._perform(stage, folder)
        finally:
            self._resting.set()
        self.ended += said != GO_ON or stage == "publish"
        return said

    def rest(self, seconds: float) -> bool:
        """Wait until nothing is under way, so long at most; whether that came to be."""
        return self._resting.wait(seconds)

    def kill_child(self) -> None:
        """End the trainer child now; for another thread than the one that drives it."""
        child = self._child
        if child is not None:
            child.kill()

    def _perform(self, stage: str, folder: str) -> str:
        try:
            job = Workspace(self._settings.home / "jobs" / folder)
        except NotFound:
            return "gone"
        recorder = Recorder(job)
        first, longest = self._pauses

        def told(error: AllodError, seconds: float) -> None:
            record_error(job, "waiting", error, stage=stage, seconds=seconds)

        patience = Patience(lambda seconds: self._wait(seconds, job), told, first=first, longest=longest)
        ending = Patience(self._pause, told, first=first, longest=longest)  # the wish must not end what fulfils it
        try:
            while True:
                try:
                    return patience.try_until_done(
                        lambda: self._attempt(stage, job, recorder), lambda: recorder.reached
                    )
                except Cancelled:
                    ending.try_until_done(lambda: self._end_early(job))  # and then there is less to do, or as much
        except Refused as error:
            record_error(job, "failed", error, stage=stage)
            return "refused"
        except AllodError as error:
            record_error(job, "failed", error, stage=stage)
            return "failed"
        except Exception as error:
            record(job, "failed", stage=stage, error="bug", note=f"Something went wrong: {type(error).__name__}.")
            return "failed"

    def _attempt(self, stage: str, job: Workspace, recorder: Recorder) -> str:
        self._look(job)

        def report(progress: Progress) -> None:
            recorder(progress)
            self._look(job)

        with self._world(report) as (world, site), job.hold():
            recorder.begin(stage)
            if job.state is State.QUOTED:
                return "not-open"
            match stage:
                case "open":
                    fund_runner(world)
                    open_stage(site, job, _work(world, job))
                case "release":
                    release_stage(site, job)
                case "train":
                    if needs_training(job):
                        train_stage(site, job, _work(world, job))
                case "settle":
                    settle_stage(site, job, jobs.statement_of(world))
                case "publish":
                    payer = Address(from_hex(job.facts["payer"], 20))
                    jobs.close(world, world.jobs.of_folder(job.folder.name, payer).number, job)
                    recorder.published()
                    job.note(published=True)
            recorder.look()
        return GO_ON

    def _end_early(self, job: Workspace) -> None:
        if self._stop.is_set():
            raise Stopping
        with self._world(Recorder(job)) as (_, site):
            answer = carry_out(site, job)
        record(job, "cancel", answer=answer)

    @contextmanager
    def _world(self, report: Callable[[Progress], None]) -> Iterator[tuple[World, Site]]:
        # Opened for each attempt: what was away may come back at another place.
        with self._open_world(self._settings) as world:
            site = world.site(report)
            make = site.trainer

            def trainer() -> TrainerProcess:
                self._child = make()
                return self._child

            try:
                yield world, dataclasses.replace(site, trainer=trainer)
            finally:
                self._child = None

    def _look(self, job: Workspace) -> None:
        if self._stop.is_set():
            raise Stopping
        if is_wanted(job):
            raise Cancelled

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopping

    def _wait(self, seconds: float, job: Workspace) -> None:
        left = seconds
        while left > 0:
            self._look(job)
            self._stop.wait(min(left, _LOOK))
            left -= _LOOK
        self._look(job)


def _work(world: World, job: Workspace) -> Work:
    """What to train with, as `start` noted it."""
    base, heldout = str(job.facts.get("base", DEMO_BASE)), job.facts.get("heldout")
    return Work(base_folder(world, base), jobs.read_heldout(Path(heldout)) if heldout else {})
