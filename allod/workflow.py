"""The durable workflow of a job, on DBOS: open → release → train → settle → publish, one recorded step each.

DBOS remembers in its own database which job is queued, which worker runs it and which steps are done. A job's folder
and the chain stay the authority: a step may run twice, so each looks there first, and what is lost with DBOS's database
is rebuilt from the folders. Nothing but the folder's name goes into that database, and one word for each step comes
out: no key, no passphrase, no sentence of an error. Nothing is sent to anybody: no conductor, no telemetry, no port.

This is the only module that knows DBOS; importing it takes seconds, so only a worker does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

for _name in [name for name in os.environ if name.startswith("DBOS")]:
    del os.environ[_name]  # they could turn a conductor or a cloud on; read when dbos is imported

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID  # noqa: E402

from core.database import open_engine  # noqa: E402

STAGES = ("open", "release", "train", "settle", "publish")
GO_ON = "go-on"
FORMAT = "1"
"""The workflow's version: any Allod that has these stages in this order goes on with the jobs of any other."""

_WAITING = ["ENQUEUED", "DELAYED", "PENDING"]
_stages: list[Callable[[str, str], str]] = []


@dataclass(frozen=True)
class Waiting:
    """A job that is queued, or that a worker has (or had, if it is dead)."""

    workflow: str
    worker: str | None


@DBOS.workflow(name="allod.job")
def _job(folder: str) -> str:
    for stage in STAGES:
        said = DBOS.run_step({"name": stage}, _perform, stage, folder)
        if said != GO_ON:
            return said
    return "done"


def _perform(stage: str, folder: str) -> str:
    return _stages[-1](stage, folder)


class Engine:
    """DBOS as one worker of one home uses it; one a process at a time."""

    def __init__(self, url: str, queue: str, worker: str, perform: Callable[[str, str], str], *, look: float) -> None:
        """Begin taking jobs from `queue` as `worker`, one at a time; `perform(stage, folder)` does a stage.

        `perform` says `GO_ON` or, in one word, why the job needs nothing more. What raises no `Exception` but only a
        `BaseException` leaves the step unrecorded, as a kill would. Jobs that `worker` had when it died go on at once.
        `look` is the time between two looks at the queue, in seconds.
        """
        _stages.append(perform)
        self._queue, self._worker = queue, worker
        logging.getLogger("dbos").addFilter(_is_worth_saying)
        config: DBOSConfig = {
            "name": "allod",
            "system_database_url": url,
            "application_version": FORMAT,
            "executor_id": worker,
            "serializer": DBOSPortableJSONSerializer(),  # and no pickle, which would run what a database holds
            "log_level": "ERROR",
            "enable_otlp": False,
            "sys_db_pool_size": 8,
            "notification_listener_polling_interval_sec": look,  # that thread ends between two of its looks
        }
        DBOS(config=config)
        DBOS.listen_queues([queue])
        DBOS.launch()
        DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=look, on_conflict="always_update")

    def add(self, workflow: str, folder: str) -> None:
        """Queue a job once: the same `workflow` a second time changes nothing, whichever worker says so."""
        with SetWorkflowID(workflow):
            DBOS.enqueue_workflow(self._queue, _job, folder)

    def waiting(self) -> list[Waiting]:
        """What is queued or running in this home, by whichever worker."""
        found = DBOS.list_workflows(status=_WAITING, queue_name=self._queue, load_input=False, load_output=False)
        return [Waiting(one.workflow_id, one.executor_id if one.status == "PENDING" else None) for one in found]

    def recover(self, dead: Sequence[str]) -> None:
        """Queue again what workers had that are known to be dead."""
        DBOS._recover_pending_workflows(list(dead))  # what a conductor would ask for; there is no public name for it

    def close(self) -> None:
        """Let go; a job that is under way stays this worker's."""
        DBOS.destroy()
        _stages.pop()
        logger = logging.getLogger("dbos")
        for handler in list(logger.handlers):
            logger.removeHandler(handler)  # it would keep this process's present stderr for good


def _is_worth_saying(record: logging.LogRecord) -> bool:
    record.exc_info, record.exc_text = None, None  # no traceback, which could show values
    return True


def prepare_file(path: Path) -> str:
    """A SQLite file for DBOS, readable by its owner alone and in WAL mode; its URL."""
    url = f"sqlite:///{path}"
    engine = open_engine(url)
    with engine.connect():
        path.chmod(0o600)
    engine.dispose()
    return url
