"""Workers of one home: stopping, dying, sharing the work, waiting for what is away, and what they write down."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from allod import starting
from allod.cancelling import cancel, due, wish
from allod.events import Reader
from allod.world import World
from consent.order import Order
from consent.tree import SumTree
from core.ids import Address
from finetune.settle import tally_of
from finetune.workspace import State, Workspace, workspaces
from tests.cli.conftest import PASSPHRASE
from tests.worker.forked import Forked
from tests.worker.forks import ForkServer
from tests.worker.homes import DEPOSIT, FEE, LEAF, Home, quoted
from tests.worker.outside import Outside, Prepared

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]

PATIENCE = 60.0


def until(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


class Site:
    """A home of this test with one open job, and workers on it."""

    def __init__(self, forks: ForkServer, outside: Outside, home: Home) -> None:
        self.forks, self.outside, self.home = forks, outside, home
        self.folder = outside.home.parent
        self.payer = Address(home.payer.address)

    @property
    def jobs(self) -> list[Workspace]:
        return list(workspaces(self.outside.home / "jobs"))

    @property
    def job(self) -> Workspace:
        (job,) = self.jobs
        return job

    def worker(self, **more: Any) -> Forked:
        spec = {
            "home": str(self.outside.home),
            "rpc": self.outside.rpc,
            "keepers": self.outside.keepers,
            "forks": self.forks.path,
            "folder": str(self.folder),
        }
        return self.forks.worker({**spec, **more})

    def paused(self, worker: Forked) -> None:
        """Wait until a worker with `pause` stands still."""
        until(lambda: (self.folder / "paused").exists() or not worker.is_alive)
        assert worker.is_alive, self.forks.log

    def go(self) -> None:
        (self.folder / "go").touch()

    def waits(self) -> bool:
        """Whether the newest event is that something is waited for."""
        events = list(Reader(self.job.folder).new())
        return bool(events) and events[-1]["kind"] == "waiting"

    def ended(self, worker: Forked) -> None:
        assert worker.wait(PATIENCE) == 0, self.forks.log

    def check(self, outcome: str, total: int) -> None:
        """How the one job ended, and that all money is where it belongs."""
        assert (self.job.state, self.job.facts["outcome"]) == (State.DONE, outcome)
        assert self.outside.locked(self.payer) == total
        assert self.outside.free(self.payer) == DEPOSIT - total
        assert self.outside.in_escrow() == DEPOSIT


@pytest.fixture(scope="module")
def opened(prepare: Callable[..., tuple[Prepared, Home]]) -> tuple[Prepared, Home]:
    """A job over both owners' data that is open and queued; dario never granted."""

    def start(world: World, home: Home) -> None:
        _, job = quoted(world, home, ["ada", "dario"])
        starting.start(world, job, home.payer, home.base)

    return prepare(start)


@pytest.fixture
def site(opened: tuple[Prepared, Home], forks: ForkServer, tmp_path: Path) -> Iterator[Site]:
    prepared, home = opened
    with prepared.copy(tmp_path / "site") as outside:
        yield Site(forks, outside, home)


IN_TRAINING = ["send step", 1]


def test_a_job_that_was_started_is_run_and_told_of_without_a_gap(site: Site) -> None:
    said = site.forks.log
    site.ended(site.worker())
    site.check("settled", LEAF + FEE)
    events = list(Reader(site.job.folder).new())
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    states = [event["state"] for event in events if event["kind"] == "state"]
    assert states == ["open", "releasing", "training", "settling", "done"]
    assert [event["stage"] for event in events if event["kind"] == "stage"] == [
        "open", "release", "train", "settle", "publish",
    ]  # fmt: skip
    (refusal,) = [event for event in events if event["kind"] == "refusal"]
    assert refusal["reason"] == "This consent was never granted on chain."
    assert site.forks.log == said  # it is quiet


def test_no_secret_gets_into_the_workflows_database_or_the_events(site: Site) -> None:
    site.ended(site.worker())
    machine = (site.outside.home / "runner" / "machine.key").read_bytes()
    secrets = [PASSPHRASE.encode(), machine, machine.hex().encode(), b"CANARY", b"\x03" * 32]
    for path in (*site.outside.home.glob("workflows.db*"), site.job.folder / "events.jsonl"):
        data = path.read_bytes()
        assert not any(secret in data for secret in secrets), path.name
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_sigterm_ends_the_child_and_leaves_the_job_fit_to_go_on(site: Site) -> None:
    worker = site.worker(pause=IN_TRAINING)
    site.paused(worker)
    worker.send(signal.SIGTERM)
    site.ended(worker)
    assert site.job.state is State.TRAINING
    with site.job.hold():
        pass
    site.ended(site.worker())
    site.check("settled", LEAF + FEE)


def test_a_second_worker_takes_over_from_one_that_is_killed(site: Site) -> None:
    first = site.worker(pause=IN_TRAINING)
    site.paused(first)
    second = site.worker()
    until((site.outside.home / "workers" / "2").exists)
    assert site.job.state is State.TRAINING
    first.send(signal.SIGKILL)
    assert first.wait(PATIENCE) == -signal.SIGKILL
    site.ended(second)
    site.check("settled", LEAF + FEE)


def test_a_job_goes_on_when_the_workflows_database_is_lost(site: Site) -> None:
    worker = site.worker(pause=IN_TRAINING)
    site.paused(worker)
    worker.send(signal.SIGKILL)
    worker.wait(PATIENCE)
    for path in site.outside.home.glob("workflows.db*"):
        path.unlink()
    site.ended(site.worker())
    site.check("settled", LEAF + FEE)


def test_a_damaged_folder_keeps_no_other_job_from_running(site: Site) -> None:
    job = site.job
    other = site.outside.home / "jobs" / "0000000000000000"
    other.mkdir()
    (other / "state.json").write_bytes(b"{}")
    site.ended(site.worker())
    assert job.state is State.DONE


def test_two_workers_share_three_jobs_and_run_each_once(
    prepare: Callable[..., tuple[Prepared, Home]], forks: ForkServer, tmp_path: Path
) -> None:
    def start(world: World, home: Home) -> None:
        for _ in range(3):
            _, job = quoted(world, home, ["ada"])
            starting.start(world, job, home.payer, home.base)

    prepared, home = prepare(start)
    with prepared.copy(tmp_path / "site") as outside:
        site = Site(forks, outside, home)
        workers = [site.worker() for _ in range(2)]
        for worker in workers:
            site.ended(worker)
        assert len(site.jobs) == 3
        for job in site.jobs:
            assert (job.state, job.facts["outcome"]) == (State.DONE, "confirmed")
            assert tally_of(job, Order.decode(job.get("order.cbor"))).attempts == 1
        assert outside.locked(site.payer) == 3 * (LEAF + FEE)
        assert outside.in_escrow() == DEPOSIT


def test_keepers_that_are_away_cost_time_and_nobody_is_left_out(site: Site) -> None:
    site.outside.silent.update({1, 2})
    worker = site.worker()
    until(site.waits)
    site.outside.silent.clear()
    site.ended(worker)
    site.check("settled", LEAF + FEE)


def test_a_chain_that_is_away_in_mid_job_costs_time(site: Site) -> None:
    worker = site.worker(pause=["send settings", 0])
    site.paused(worker)
    with site.outside.chain_away():
        site.go()
        until(site.waits)
    site.ended(worker)
    site.check("settled", LEAF + FEE)


def test_a_block_store_that_is_away_costs_time(site: Site) -> None:
    (site.folder / "blocks-away").touch()
    worker = site.worker()
    until(site.waits)
    (site.folder / "blocks-away").unlink()
    site.ended(worker)
    site.check("settled", LEAF + FEE)


def test_before_the_first_release_cancelling_brings_everything_back(site: Site) -> None:
    assert due(site.job).total == 0
    with site.outside.world() as world:
        assert cancel(world.site(), site.job, agreed=False) == "cancelled"
    site.check("settled", 0)
    site.ended(site.worker())  # it was queued; there is nothing to do
    site.check("settled", 0)


def test_cancelling_a_running_job_ends_it_only_when_what_is_owed_is_agreed_to(site: Site) -> None:
    worker = site.worker(pause=IN_TRAINING)
    site.paused(worker)
    assert due(site.job).total == LEAF
    assert {leaf.amount for leaf in due(site.job).leaves} == {0, LEAF}
    wish(site.job, agreed=True)
    site.go()
    with site.outside.world() as world:
        assert cancel(world.site(), site.job, agreed=True) == "cancelled"
    site.ended(worker)
    site.check("settled", LEAF)  # dario's leaf and the fee are back
    assert site.job.adapter() == {}


def test_a_cancellation_outlasts_a_chain_that_is_away(site: Site) -> None:
    worker = site.worker(pause=IN_TRAINING)
    site.paused(worker)
    wish(site.job, agreed=True)
    with site.outside.chain_away():
        site.go()
        until(site.waits)
    site.ended(worker)
    site.check("settled", LEAF)


def test_a_wish_that_was_not_agreed_to_stops_nothing_after_a_release(site: Site) -> None:
    worker = site.worker(pause=IN_TRAINING)
    site.paused(worker)
    wish(site.job, agreed=False)
    site.go()
    site.ended(worker)
    site.check("settled", LEAF + FEE)
    assert site.job.adapter()


def test_a_job_whose_worker_died_is_cancelled_by_the_command(site: Site) -> None:
    worker = site.worker(pause=IN_TRAINING)
    site.paused(worker)
    worker.send(signal.SIGKILL)
    worker.wait(PATIENCE)
    with site.outside.world() as world:
        assert cancel(world.site(), site.job, agreed=False) == "declined"
        assert site.job.state is State.TRAINING
        assert cancel(world.site(), site.job, agreed=True) == "cancelled"
    site.check("settled", LEAF)
    assert SumTree.decode(site.job.get("final.cbor")) == due(site.job)


def test_a_finished_job_cannot_be_cancelled(site: Site) -> None:
    site.ended(site.worker())
    with site.outside.world() as world:
        assert cancel(world.site(), site.job, agreed=True) == "declined"
    site.check("settled", LEAF + FEE)


def test_nothing_in_the_environment_makes_dbos_talk_to_anybody() -> None:
    code = (
        "import os, allod.workflow\n"
        "from dbos._utils import GlobalParams\n"
        "print([name for name in os.environ if name.startswith('DBOS')], GlobalParams.dbos_cloud)"
    )
    environment = {"DBOS__CLOUD": "true", "DBOS__CONDUCTOR_KEY": "k", "DBOS_SYSTEM_DATABASE_URL": "x", "PATH": ""}
    assert _alone(code, environment) == "[] False\n"


def test_no_command_but_the_worker_imports_dbos() -> None:
    code = (
        "import sys, allod.cli.main, allod.cli.job, allod.cli.worker, allod.starting, allod.cancelling, allod.jobs\n"
        "print('dbos' in sys.modules, 'torch' in sys.modules)"
    )
    assert _alone(code) == "False False\n"


def _alone(code: str, environment: dict[str, str] | None = None) -> str:
    words = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    done = subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
