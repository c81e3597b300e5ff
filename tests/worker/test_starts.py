"""A hundred starts at once on a consent for one use, from two processes: the chain lets one of them win."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from allod.world import World
from core.ids import Address
from finetune.workspace import State, workspaces
from tests.worker.forks import ForkServer
from tests.worker.homes import DEPOSIT, FEE, LEAF, Home, quoted
from tests.worker.outside import Prepared

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]

STARTS = 100


def test_of_a_hundred_parallel_starts_on_a_single_use_consent_exactly_one_wins(
    prepare: Callable[..., tuple[Prepared, Home]], forks: ForkServer, tmp_path: Path
) -> None:
    def quote(world: World, home: Home) -> None:
        for _ in range(STARTS):
            quoted(world, home, ["ada"])

    prepared, home = prepare(quote, max_uses=1)
    with prepared.copy(tmp_path / "site") as outside:
        jobs = {job.folder.name: job for job in workspaces(outside.home / "jobs")}
        names = sorted(jobs)
        spec = {
            "home": str(outside.home),
            "rpc": outside.rpc,
            "keepers": outside.keepers,
            "base": str(home.base),
        }
        said = [tmp_path / "first", tmp_path / "second"]
        processes = [forks.starts({**spec, "jobs": names[half::2], "said": str(said[half])}) for half in range(2)]
        for process in processes:
            assert process.wait(240) == 0, forks.log
        answers = [answer for file in said for answer in json.loads(file.read_text())]
        assert len(answers) == STARTS
        assert Counter(slug for _, slug, _ in answers) == {"started": 1, "refused": STARTS - 1}, answers
        (winner,) = [folder for folder, slug, _ in answers if slug == "started"]
        assert {folder: jobs[folder].state for folder in names} == {
            folder: State.OPEN if folder == winner else State.QUOTED for folder in names
        }
        assert {message for _, slug, message in answers if slug == "refused"} == {"The contract refused: used up."}
        payer = Address(home.payer.address)
        assert outside.locked(payer) == LEAF + FEE
        assert outside.free(payer) == DEPOSIT - LEAF - FEE
        assert outside.in_escrow() == DEPOSIT
