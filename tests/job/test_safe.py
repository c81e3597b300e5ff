"""On a chain whose newest blocks are not safe yet, keepers wait for `safe`, and the runner with them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from allod.nodes import AnvilNode
from consent.chain.client import Block, Chain
from consent.market import place
from consent.market.place import Market
from core.encoding import from_hex, to_hex
from core.errors import Unavailable
from finetune.broker import Progress
from finetune.opening import licences_of, open_job
from finetune.releasing import ask_keepers, kept_shares, refusals_of
from finetune.run import run_job
from finetune.watch import Pace
from finetune.workspace import State
from tests.job.paper import PaperTrainer
from tests.job.worlds import World, found_world
from tests.real import running_anvil
from vault.blocks import MemoryBlocks

NOT_SAFE = "in no safe block yet"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AnvilNode]:
    with running_anvil(tmp_path / "anvil") as node:
        yield node


@pytest.fixture
def world(node: AnvilNode, tmp_path: Path, tiny_base: Path) -> Iterator[World]:
    """A world of two owners on anvil, whose `safe` is 32 blocks behind its newest."""
    owners = {"ada": (6, True), "bruno": (5, True)}
    chain = Chain.http(node.url, patience=60)
    world = found_world(tmp_path, chain, MemoryBlocks(), tiny_base, owners)
    yield world
    world.close()


@pytest.mark.needs_nodes
def test_a_release_before_safe_is_refused_and_after_empty_blocks_it_is_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(40):
        world.chain.mine()  # the contracts and the consents are safe
    site, job = world.site(), world.job(["ada", "bruno"])
    order = open_job(site, job, world.trainer)
    licences = licences_of(job)
    with monkeypatch.context() as patch:
        patch.setattr(Market, "await_safe", lambda *_: None)  # a runner that does not wait
        ask_keepers(site, job, order, licences)
        assert kept_shares(job, order) == {}
        early = refusals_of(job)
        assert {entry["consent"] for entry in early} == {to_hex(consent) for consent in licences}
        assert all(NOT_SAFE in said["reason"] for entry in early for said in entry["reasons"])
        opened = world.chain.block().number
        while world.chain.block("safe").number < opened - 1:
            world.chain.mine()
        ask_keepers(site, job, order, licences)
        assert kept_shares(job, order) == {}  # one block short
        world.chain.mine()
        assert world.chain.block().number == opened + 32
        ask_keepers(site, job, order, licences)
    shares = kept_shares(job, order)
    assert shares is not None
    assert (shares.keys(), refusals_of(job)) == (licences.keys(), [])


@pytest.mark.needs_nodes
@pytest.mark.needs_trainer
def test_a_runner_waits_for_safe_and_a_development_chain_makes_the_blocks(world: World) -> None:
    job = world.job(["ada", "bruno"])
    done = run_job(world.site(trainer=PaperTrainer), job, world.work(), payer=world.trainer)
    assert (job.state, done.outcome, done.refusals) == (State.DONE, "confirmed", [])
    (waited,) = [progress for progress in world.told if "safe" in progress.note]
    assert waited.phase == "release"
    assert [entry["what"] for entry in done.transactions] == ["open", "confirm"]


@pytest.mark.needs_nodes
@pytest.mark.needs_trainer
def test_an_opening_that_a_reorganisation_moved_is_read_again(world: World) -> None:
    for _ in range(40):
        world.chain.mine()
    site, job = world.site(trainer=PaperTrainer), world.job(["ada", "bruno"])
    first = open_job(site, job, world.trainer)
    world.chain.request("anvil_reorg", 1, [])
    world.chain.advance(100)
    done = run_job(site, job, world.work(), payer=world.trainer)
    assert (done.outcome, done.refusals) == ("confirmed", [])
    assert done.order.job_id != first.job_id
    assert job.facts["job_id"] == to_hex(done.order.job_id)
    assert [entry["what"] for entry in done.transactions] == ["open", "confirm"]


@pytest.mark.needs_nodes
@pytest.mark.needs_trainer
def test_a_chain_that_goes_away_in_the_middle_costs_its_absence_and_not_the_job(world: World, node: AnvilNode) -> None:
    provider, missed = world.chain._provider, threading.Event()
    honest = provider._post  # type: ignore[attr-defined]

    def post(method: str, params: Any) -> Any:
        try:
            return honest(method, params)
        except Unavailable:
            missed.set()
            raise

    provider._post = post  # type: ignore[attr-defined]
    back: list[threading.Thread] = []

    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == 3 and not back:
            node.stop()
            back.append(threading.Thread(target=lambda: missed.wait(60) and node.start()))
            back[0].start()

    job = world.job(["ada", "bruno"], epochs=4)
    site = world.site(trainer=PaperTrainer, report=report, pace=Pace(steps=4))
    done = run_job(site, job, world.work(), payer=world.trainer)
    back[0].join(60)
    assert missed.is_set()
    assert (job.state, done.outcome, done.refusals) == (State.DONE, "confirmed", [])
    assert world.chain.receipt(from_hex(done.transactions[-1]["hash"], 32)) is not None


class Slow:
    """A chain that is nobody's to mine, whose `safe` comes nearer by itself, or never does."""

    is_development = False

    def __init__(self, step: int) -> None:
        self.safe, self.step = 0, step

    def block(self, which: Any = "latest") -> Block:
        self.safe += self.step
        return Block(self.safe, bytes(32), 0, bytes(32))

    def mine(self) -> Block:
        raise AssertionError("nobody mines here")


@pytest.mark.parametrize("step", [0, 3])
def test_elsewhere_it_is_waited_for_and_not_for_ever(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now, missing = [0.0], list[int]()
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr(place, "time", clock)
    market = Market.__new__(Market)
    market.chain = Slow(step)  # type: ignore[assignment]
    if step:
        market.await_safe(10, missing.append)
        assert (now, missing) == ([2 * place.SAFE_PAUSE], [7])
        market.await_safe(10, missing.append)
        assert missing == [7]
    else:
        with pytest.raises(Unavailable, match="not safe after 60 minutes"):
            market.await_safe(10, missing.append)
        assert now[0] > place.SAFE_TIME
