"""Real nodes for tests: a test that asks for one is skipped where its program is missing, which fails in CI.

Tests that use these carry `pytest.mark.needs_nodes`, so that they run after the others, beside which kubo is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from allod.nodes import AnvilNode, KuboNode, find_program
from consent.chain.embedded import CHAIN_ID, developer
from core.errors import NotFound


def need(program: str) -> None:
    """Skip the test unless `ipfs` or `anvil` is here."""
    try:
        find_program(program)
    except NotFound as error:
        pytest.skip(f"{error.message} {error.hint}")


@contextmanager
def running_kubo(folder: Path) -> Iterator[KuboNode]:
    """A kubo node with a new repository in `folder`."""
    need("ipfs")
    with KuboNode(folder) as node:
        yield node


@contextmanager
def running_anvil(folder: Path, *options: str, chain_id: int = CHAIN_ID) -> Iterator[AnvilNode]:
    """An anvil chain on which the developer has native money."""
    need("anvil")
    with AnvilNode(folder, *options, chain_id=chain_id) as node:
        node.fund(developer().address, 10**9 * 10**18)
        yield node
