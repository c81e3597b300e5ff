"""Fixtures of the worker's tests: a tiny base model, a fork server, and prepared homes to copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from allod.world import World
from consent.chain.client import Chain
from consent.chain.embedded import EmbeddedChain
from core.settings import Settings
from tests.job.by_hand import write_tiny_base
from tests.worker.forks import ForkServer
from tests.worker.homes import Home, make_home
from tests.worker.outside import Prepared


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama of random weights with a byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-base")
    write_tiny_base(folder)
    return folder


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A process that has imported everything."""
    with ForkServer(tmp_path_factory.mktemp("forks")) as server:
        yield server


@pytest.fixture(scope="session")
def prepare(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Callable[..., tuple[Prepared, Home]]:
    """Makes a home; `then(world, home)` goes on with it before it is put away."""

    def prepared(then: Callable[[World, Home], object], **how: object) -> tuple[Prepared, Home]:
        folder, chain = tmp_path_factory.mktemp("home") / "home", EmbeddedChain(None)
        with World(Settings(home=folder), chain=Chain.embedded(chain)) as world:
            home = make_home(world, tiny_base, **how)  # type: ignore[arg-type]
            then(world, home)
        return Prepared(folder, chain), home

    return prepared


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many points were attacked, and how."""
    lines: list[str] = []
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        lines += [str(value) for name, value in report.user_properties if name == "points"]
    for line in sorted(set(lines)):
        terminalreporter.write_line(line)
