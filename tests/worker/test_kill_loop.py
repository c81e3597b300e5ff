"""A job survives SIGKILL of its worker, or of its trainer child, at every point where it touches anything outside.

The points come from an unbroken run (`tests.worker.attempt` says what one is), so none is listed by hand, and each is
attacked: the worker is killed before and after every one, the child before and after every frame. Another worker is
started, and the job must end confirmed or settled within 30 seconds, with every UNIT accounted for.

Two jobs are run: one of which a consent was refused, so that it settles, and one that confirms. Of the second those
points are attacked that the first has none of the same kind of. Files that are written into a folder which only later
gets its name are equal points, seen by nobody: of them the first, a middle and the last are attacked.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from allod import starting
from allod.events import Reader
from allod.world import World
from consent.order import Order
from consent.tree import Leaf, SumTree
from core.ids import Address
from finetune.settle import tally_of
from finetune.verify import verify
from finetune.workspace import State, Workspace, workspaces
from tests.worker.forks import ForkServer
from tests.worker.homes import DEPOSIT, EPOCHS, FEE, LEAF, Home, quoted
from tests.worker.outside import Outside, Prepared

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]

SHARDS = 16
DEADLINE = 30.0  # seconds from the restart to the job's end, training with it
PATIENCE = 120.0  # with which processes are waited for that may be slow to start
FRAMES = ("send ", "receive")
OUTCOMES = {"settled": ["ada", "dario"], "confirmed": ["ada"]}


@dataclass(frozen=True)
class Course:
    """One job from its signed opening on, and the points of an unbroken run."""

    outcome: str
    prepared: Prepared
    home: Home
    points: tuple[tuple[str, int], ...]


class Attempts:
    """Runs workers on copies of a prepared home."""

    def __init__(self, forks: ForkServer, folder: Path) -> None:
        self.forks = forks
        self._folder = folder
        self._numbers = itertools.count()

    def run(self, prepared: Prepared, home: Home, outcome: str, attack: list[object] | None = None) -> list[str]:
        """Kill as `attack` says, start again, and check the end; the points of the run if nothing is killed."""
        folder = self._folder / str(next(self._numbers))
        with prepared.copy(folder) as outside:
            _job(outside).note(queued=1)
            spec = {
                "home": str(outside.home),
                "rpc": outside.rpc,
                "keepers": outside.keepers,
                "forks": self.forks.path,
                "record": None if attack else str(folder / "points"),
                "attack": attack,
            }
            began = time.monotonic()
            status = self.forks.worker(spec).wait(PATIENCE)
            if attack is not None and attack[3] == "worker":
                assert status == -9, f"the point was never reached ({status}): {self.forks.log}"
                began = time.monotonic()
                status = self.forks.worker({**spec, "attack": None}).wait(PATIENCE)
            assert status == 0, self.forks.log
            assert time.monotonic() - began < DEADLINE
            while self.forks.running:  # a child whose worker died sees its pipe close
                assert time.monotonic() - began < PATIENCE, "a process was left over"
                time.sleep(0.01)
            check(outside, home, outcome)
            return [] if attack else (folder / "points").read_text().splitlines()


def check(outside: Outside, home: Home, outcome: str) -> None:
    """The job is over as it must be, and money, ledger and adapter agree."""
    job, payer = _job(outside), Address(home.payer.address)
    assert (job.state, job.facts["outcome"]) == (State.DONE, outcome)
    events = [event["n"] for event in Reader(job.folder).new()]
    assert events == list(range(1, len(events) + 1))
    opening = SumTree.decode(job.get("tree.cbor"))
    final = SumTree.decode(job.get("final.cbor")) if outcome == "settled" else opening
    assert final.total == LEAF + FEE
    assert outside.locked(payer) == final.total
    assert outside.free(payer) == DEPOSIT - final.total
    assert outside.in_escrow() == DEPOSIT
    order = Order.decode(job.get("order.cbor"))
    assert tally_of(job, order).owed(_ada(home, final).consent_id) == EPOCHS
    assert _ada(home, final).amount == LEAF
    assert job.adapter().keys() == {"adapter_config.json", "adapter_model.safetensors"}
    with outside.world() as world:
        from allod.jobs import bundle_of, own_trust

        report = verify(bundle_of(job), outside.chain, own_trust(world), world.blocks)
        assert report.holds
        assert report.vouched
        assert not world.runner.keys.holds(order.job_pk)


def _job(outside: Outside) -> Workspace:
    (job,) = workspaces(outside.home / "jobs")
    return job


def _ada(home: Home, tree: SumTree) -> Leaf:
    (leaf,) = [leaf for leaf in tree.leaves if bytes(leaf.payee) == home.addresses["ada"]]
    return leaf


@pytest.fixture(scope="module")
def attempts(forks: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Attempts:
    return Attempts(forks, tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def courses(attempts: Attempts, prepare: Callable[..., tuple[Prepared, Home]]) -> dict[str, Course]:
    """Both jobs, just as the payer's command leaves them when it dies between signing and sending.

    A worker was there once before, so that DBOS's tables exist.
    """
    found = {}
    for outcome, names in OUTCOMES.items():

        def sign(world: World, home: Home, names: list[str] = names) -> None:
            from finetune.opening import sign_opening

            _, job = quoted(world, home, names)
            starting.fund_runner(world)
            sign_opening(world.site(), job, home.payer)

        prepared, home = prepare(sign)
        assert attempts.forks.worker({"home": str(home.folder), "rpc": "http://127.0.0.1:9"}).wait(PATIENCE) == 0
        seen = attempts.run(prepared, home, outcome)
        points = tuple((kind, int(nth)) for kind, _, nth in (line.rpartition("#") for line in seen))
        found[outcome] = Course(outcome, prepared, home, points)
    return found


def attacks(courses: dict[str, Course]) -> Iterator[tuple[Course, list[object]]]:
    """Every attack, in one order."""
    first, second = courses["settled"], courses["confirmed"]
    kinds = {_general(kind) for kind, _ in first.points}
    rest = [point for point in second.points if _general(point[0]) not in kinds]
    for course, points in ((first, _seen(first.points)), (second, _seen(rest))):
        for kind, nth in points:
            for side in ("before", "after"):
                yield course, [kind, nth, side, "worker"]
                if kind.startswith(FRAMES):
                    yield course, [kind, nth, side, "child"]


def _general(kind: str) -> str:
    """A kind without the names that differ from job to job."""
    return re.sub("[0-9a-f]{16,}", "*", kind)


def _seen(points: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """All points but those in a folder with a dot, which nobody looks at until it is renamed: first, middle, last."""
    unseen = [point for point in points if "/." in point[0]]
    few = {unseen[place] for place in (0, len(unseen) // 2, -1)} if unseen else set()
    return [point for point in points if point not in unseen or point in few]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_job_survives_a_kill_at_every_point(
    courses: dict[str, Course], attempts: Attempts, shard: int, record_property: Callable[[str, object], None]
) -> None:
    chosen = list(attacks(courses))
    counts = ", ".join(f"{len(course.points)} in the job that is {name}" for name, course in courses.items())
    record_property("points", f"kill loop: {counts}; {len(chosen)} kills of a worker or its child")
    for course, attack in chosen[shard::SHARDS]:
        attempts.run(course.prepared, course.home, course.outcome, attack)
