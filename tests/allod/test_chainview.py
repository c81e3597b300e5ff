"""What the server knows of the chain: worked out once for each head; nobody waits for what another one looks for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest

from allod import chainview
from allod.chainview import ChainView
from allod.trees import lay_down
from allod.world import World
from consent.tree import Leaf, SumTree
from core.ids import Address, ConsentId, JobId
from vault.blocks import MemoryBlocks
from vault.cid import Cid

JOB = JobId(bytes([1]) * 32)
TREE = SumTree([Leaf(ConsentId(bytes([2]) * 32), Address(bytes([9]) * 20), 7)])


class Blocks(MemoryBlocks):
    """Blocks that can be slow to read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def get(self, cid: Cid) -> bytes:
        self.asked.set()
        assert self.gate.wait(60)
        return super().get(cid)


@pytest.fixture
def blocks() -> Blocks:
    blocks = Blocks()
    lay_down(blocks, TREE)
    return blocks


@pytest.fixture
def view(blocks: Blocks, monkeypatch: pytest.MonkeyPatch) -> ChainView:
    course = SimpleNamespace(opening=SimpleNamespace(job_id=JOB), root=TREE.root, current=False)
    monkeypatch.setattr(chainview, "courses", lambda market: [course])
    head = SimpleNamespace(hash=b"h" * 32)
    world: Any = SimpleNamespace(
        index=SimpleNamespace(follow=lambda: head), market=SimpleNamespace(events=lambda *names: []), blocks=blocks
    )
    return ChainView(cast(World, world))


def test_a_tree_among_the_blocks_is_part_of_the_snapshot(view: ChainView) -> None:
    snapshot = view.now()
    assert snapshot.trees == {JOB: TREE}
    assert snapshot.by_payee == {bytes([9]) * 20: {JOB}}
    assert view.now() is snapshot


def test_who_asks_while_another_one_looks_for_trees_goes_on_without_them(view: ChainView, blocks: Blocks) -> None:
    blocks.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(view.now)
        assert blocks.asked.wait(60)
        assert view.now().trees == {}
        assert not first.done()
        blocks.gate.set()
        assert first.result(60).trees == {JOB: TREE}
    assert view.now().trees == {JOB: TREE}
