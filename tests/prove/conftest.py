"""Finished jobs of a small world: one that all owners stayed in, one that an owner left and another never joined."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.job.by_hand import write_tiny_base
from tests.job.paper import PaperTrainer
from tests.job.worlds import World
from tests.prove.proofs import AT_ONCE, Proof, finish, found


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Ada, Bruno and Chiara granted; Dario never did. Jobs run in it; nobody revokes anything in it."""
    base = tmp_path_factory.mktemp("base")
    write_tiny_base(base)
    world = found(tmp_path_factory.mktemp("world"), base)
    yield world
    world.close()


@pytest.fixture(scope="session")
def whole(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """A confirmed job of three owners, with its statement posted."""
    return finish(small_world, ["ada", "bruno", "chiara"], tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture(scope="session")
def lowered(tmp_path_factory: pytest.TempPathFactory, small_world: World) -> Iterator[Proof]:
    """A settled job: Bruno revoked while it trained, Dario's keys were never released, their leaves fell."""
    world = found(tmp_path_factory.mktemp("other-world"), small_world.base)
    paper = PaperTrainer(lambda step: world.revoke("bruno") if step == 2 else None)
    site = world.site(trainer=lambda: paper, pace=AT_ONCE)
    yield finish(world, ["ada", "bruno", "dario"], tmp_path_factory.mktemp("lowered") / "bundle", site=site)
    world.close()


@pytest.fixture(scope="session")
def unvouched(small_world: World, tmp_path_factory: pytest.TempPathFactory) -> Proof:
    """A confirmed job for which no statement was posted."""
    return finish(small_world, ["ada", "chiara"], tmp_path_factory.mktemp("unvouched") / "bundle", stated=False)
