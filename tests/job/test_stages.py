"""Each stage of a job does its own part once, whatever was done before, and goes on from what a crash left."""

from __future__ import annotations

import pytest

from consent.keeper.port import KeeperPort
from consent.order import Order
from consent.tree import SumTree
from core.encoding import encode_cbor
from core.errors import Conflict
from finetune.releasing import kept_shares, open_doors, receipts_of
from finetune.site import Site
from finetune.stages import open_stage, release_stage, settle_stage, train_stage
from finetune.workspace import State, Workspace
from tests.job.paper import PaperTrainer
from tests.job.worlds import FEE_UNITS, FLAT, RATE, World

pytestmark = pytest.mark.needs_trainer


class Counting:
    """A keeper's port that counts what it is asked, and may fall silent."""

    def __init__(self, port: KeeperPort) -> None:
        self.port = port
        self.asked: list[str] = []

    def call(self, path: str, body: bytes) -> bytes:
        self.asked.append(path)
        return self.port.call(path, body)


@pytest.fixture
def ports(world: World) -> list[Counting]:
    counting = [Counting(port) for port in world.ports]
    world.ports[:] = counting
    return counting


def site_of(world: World, trainer: PaperTrainer | None = None) -> Site:
    made = trainer or PaperTrainer()
    return world.site(trainer=lambda: made)


def releases(ports: list[Counting]) -> int:
    return sum(port.asked.count("release") for port in ports)


def order_of(job: Workspace) -> Order:
    return Order.decode(job.get("order.cbor"))


def test_a_job_comes_to_its_end_stage_by_stage_and_each_stage_twice_is_once(
    world: World, ports: list[Counting]
) -> None:
    site, work, job = site_of(world), world.work(), world.job(["ada", "dario"])
    orders = {open_stage(site, job, work, payer=world.trainer).encode() for _ in range(2)}
    assert (len(orders), job.state) == (1, State.OPEN)
    for _ in range(2):
        release_stage(site, job)
    assert (job.state, releases(ports)) == (State.RELEASING, 2 + 3)  # ada by two keepers; dario refused by all
    for _ in range(2):
        train_stage(site, job, work)
    assert job.state is State.TRAINING
    assert job.adapter()
    for _ in range(2):
        settle_stage(site, job)
    assert (job.state, job.facts["outcome"]) == (State.DONE, "settled")
    release_stage(site, job)
    train_stage(site, job, work)
    assert releases(ports) == 5


def test_a_stage_before_its_turn_says_what_comes_first(world: World) -> None:
    site, work, job = site_of(world), world.work(), world.job(["ada"])
    open_stage(site, job, work, payer=world.trainer)
    with pytest.raises(Conflict, match="shares"):
        train_stage(site, job, work)
    with pytest.raises(Conflict, match="not trained"):
        settle_stage(site, job)
    assert job.state is State.OPEN


def test_a_job_trains_on_kept_shares_while_every_keeper_is_silent(world: World, ports: list[Counting]) -> None:
    site, work, job = site_of(world), world.work(), world.job(["ada", "bruno"])
    open_stage(site, job, work, payer=world.trainer)
    release_stage(site, job)
    told = [len(port.asked) for port in ports]
    train_stage(site, Workspace(job.folder), work)
    assert [len(port.asked) for port in ports] == told
    assert job.adapter()


def test_shares_are_kept_as_the_keepers_sealed_them_and_go_with_the_job(world: World) -> None:
    site, work, job = site_of(world), world.work(), world.job(["ada"])
    order = open_stage(site, job, work, payer=world.trainer)
    release_stage(site, job)
    shares, licences = kept_shares(job, order), {world.owners["ada"].consent_id: world.owners["ada"].licence}
    assert shares is not None
    (access,) = open_doors(site, order, licences, shares)
    assert len(access.objects) == 3
    kept = job.get("shares.cbor")
    assert not any(dek in kept for dek in access._deks.values())
    train_stage(site, job, work)
    settle_stage(site, job)
    assert not job.has("shares.cbor")
    assert not site.runner.keys.holds(order.job_pk)


@pytest.mark.parametrize("damage", ["cut", "flipped", "another job's", "empty", "not cbor"])
def test_damaged_shares_are_asked_for_again_and_never_used(world: World, ports: list[Counting], damage: str) -> None:
    site, work, job = site_of(world), world.work(), world.job(["ada"])
    order = open_stage(site, job, work, payer=world.trainer)
    release_stage(site, job)
    whole = job.get("shares.cbor")
    changed = {
        "cut": whole[:-7],
        "flipped": whole[:500] + bytes([whole[500] ^ 1]) + whole[501:],
        "another job's": encode_cbor({**job.get_value("shares.cbor"), "job": bytes(32)}),
        "empty": b"",
        "not cbor": b"\xff" * 99,
    }[damage]
    job.put("shares.cbor", changed)
    assert kept_shares(job, order) is None
    with pytest.raises(Conflict, match="shares"):
        train_stage(site, job, work)
    release_stage(site, job)
    assert releases(ports) == 4
    train_stage(site, job, work)
    settle_stage(site, job)
    assert job.facts["outcome"] == "confirmed"
    assert len(receipts_of(job)) == 4  # what a keeper released twice it signed for twice


def test_a_consent_revoked_after_its_release_is_not_even_opened(world: World) -> None:
    trainer = PaperTrainer()
    site, work, job = site_of(world, trainer), world.work(), world.job(["ada", "bruno"])
    open_stage(site, job, work, payer=world.trainer)
    release_stage(site, job)
    world.revoke("ada")
    train_stage(site, job, work)
    text = "\n".join(text for texts in trainer.texts(world.base).values() for text in texts)
    assert "CANARY-bruno" in text
    assert "CANARY-ada" not in text
    settle_stage(site, job)
    assert world.amount(_final(job), "ada") == FLAT + 1
    assert world.amount(_final(job), "bruno") == FLAT + 2 + RATE * 8 * 2
    assert _final(job).total == FLAT + 1 + FLAT + 2 + RATE * 8 * 2 + FEE_UNITS


def test_a_job_that_is_over_on_chain_is_closed_by_whichever_stage_comes_next(world: World) -> None:
    site, work = site_of(world), world.work()
    job = world.job(["ada"])
    order = open_stage(site, job, work, payer=world.trainer, seconds=3600)
    release_stage(site, job)
    world.chain.advance(3700)
    train_stage(site, job, work)
    assert (job.state, job.facts["outcome"], job.has("shares.cbor")) == (State.DONE, "stands", False)
    assert not site.runner.keys.holds(order.job_pk)
    settle_stage(site, job)


def _final(job: Workspace) -> SumTree:
    return SumTree.decode(job.get("final.cbor"))
