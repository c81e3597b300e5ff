"""One kubo node for the tests of a process, emptied for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from allod.nodes import KuboNode
from tests.real import running_kubo
from vault.ipfs import Kubo


@pytest.fixture(scope="session")
def kubo_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with running_kubo(tmp_path_factory.mktemp("kubo") / "repo") as node:
        yield node


@pytest.fixture
def kubo(kubo_node: KuboNode) -> KuboNode:
    """A running node that pins nothing."""
    if not kubo_node.is_running:
        kubo_node.start()
    rpc = Kubo(kubo_node.api)
    for pinned in rpc.pins():
        rpc.unpin([pinned])
    rpc.close()
    return kubo_node
