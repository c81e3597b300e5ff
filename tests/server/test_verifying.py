"""Verifying for anyone: a few at a time, each once for what chain and bundle are, and only what is published."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from allod import verifying
from allod.verifying import WAITING, Verifier
from allod.world import World
from core.errors import NotFound, Unavailable
from finetune.verify import Report

GOLDEN = Path(__file__).parents[1] / "golden" / "job" / "bundle"


class Slow:
    """Stands in for `verify`: says when it runs, and waits until it may end."""

    def __init__(self) -> None:
        self.runs = 0
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, *_: object) -> Report:
        self.runs += 1
        self.started.set()
        assert self.go.wait(60)
        return Report()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    found = Slow()
    monkeypatch.setattr(verifying, "verify", found)
    return found


def publish(world: World, name: str) -> Path:
    return Path(shutil.copytree(GOLDEN, world.home / "bundles" / name))


def test_a_report_is_made_once_for_a_block_and_a_bundle(world: World, slow: Slow) -> None:
    slow.go.set()
    bundle, verifier = publish(world, "one"), Verifier()
    first = verifier.verify(world, "one")
    assert verifier.verify(world, "one") is first
    assert slow.runs == 1
    world.chain.mine()
    assert verifier.verify(world, "one").block == first.block + 1
    assert slow.runs == 2
    provenance = bundle / "provenance.json"
    provenance.write_bytes(provenance.read_bytes() + b" ")
    verifier.verify(world, "one")
    assert slow.runs == 3
    os.unlink(bundle / "evidence" / "ledger")
    verifier.verify(world, "one")
    assert slow.runs == 4


def test_who_asks_the_same_waits_for_the_answer_of_the_first(world: World, slow: Slow) -> None:
    publish(world, "one")
    verifier = Verifier(at_once=1)
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(verifier.verify, world, "one") for _ in range(3)]
        assert slow.started.wait(60)
        slow.go.set()
        answers = {id(one.result(60)) for one in asked}
    assert (slow.runs, len(answers)) == (1, 1)


def test_more_than_may_wait_are_told_to_come_back(world: World, slow: Slow) -> None:
    for name in ("one", "two"):
        publish(world, name)
    verifier = Verifier(at_once=1, wait=0.01)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(verifier.verify, world, "one")
        assert slow.started.wait(60)
        for _ in range(WAITING + 2):  # who was turned away leaves room again
            with pytest.raises(Unavailable) as told:
                verifier.verify(world, "two")
            assert told.value.detail["retry_after"] == 5
        slow.go.set()
        first.result(60)
    verifier.verify(world, "two")
    assert slow.runs == 2


def test_what_is_not_published_is_not_found(world: World) -> None:
    (world.home / "bundles" / "half" / "adapter").mkdir(parents=True)
    for name in ("half", "none"):
        with pytest.raises(NotFound):
            Verifier().verify(world, name)
