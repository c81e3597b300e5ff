"""Where jobs run: the contracts, the keepers, the block store, the runner's machine, and who is told of progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from consent.committee import Committee
from consent.keeper.client import Patience, Ports
from consent.keeper.port import KeeperPort
from consent.market.place import Market
from finetune.broker import Progress
from finetune.checkpoint import Every
from finetune.jobkey import Runner
from finetune.trainer_process import TrainerProcess
from finetune.watch import Pace
from vault.blocks import BlockStore


def in_silence(_: Progress) -> None:
    """A report that nobody reads."""


@dataclass(frozen=True)
class Site:
    """One runner's surroundings. `ports` lead to the committee's keepers, in the order of their indices.

    A trainer child that dies or stalls is replaced by another `restarts` times; then the stage fails.
    """

    market: Market
    committee: Committee
    ports: Sequence[KeeperPort]
    blocks: BlockStore
    runner: Runner
    jobs: Path
    report: Callable[[Progress], None] = in_silence
    clock: Callable[[], float] = time.time
    pace: Pace = field(default_factory=Pace)
    patience: Patience = field(default_factory=Patience)
    threads: int = 0
    trainer: Callable[[], TrainerProcess] = TrainerProcess
    checkpoint: Every = field(default_factory=Every)
    restarts: int = 3

    @property
    def keepers(self) -> Ports:
        """The ports by keeper index."""
        return dict(enumerate(self.ports, start=1))
