"""Fixtures of the job tests: the tiny base model, and worlds copied from one template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.job.by_hand import write_tiny_base
from tests.job.worlds import Template, World, make_template


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama of random weights with a byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-base")
    write_tiny_base(folder)
    return folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Template:
    """A founded world that tests copy and leave alone."""
    return make_template(tmp_path_factory.mktemp("template"), tiny_base)


@pytest.fixture
def world(template: Template, tmp_path: Path) -> Iterator[World]:
    """A world of this test's own."""
    world = template.copy(tmp_path / "home")
    yield world
    world.close()
