"""Handing a job to the workers of a home: the payer signs its opening, and the job's folder says that it is queued.

The payer's key is needed in `start` and nowhere later; `start_signed` takes what was signed elsewhere. Promises: the
signed opening and the wish to run are one write, so a crash leaves either a quote or a queued job; two starts by one
payer never sign for the same nonce or lane; where the chain refuses, the job is a quote again, nothing is locked, and
the refusal is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from allod.events import EventLog
from allod.trainer import fund_runner
from allod.trees import lay_down
from allod.world import World
from consent.chain.account import Account
from consent.recipe import Recipe
from consent.tree import SumTree
from core.errors import Busy, Conflict, InvalidInput, Refused, Unavailable
from core.files import Lock
from finetune.model.load import base_model_hash
from finetune.opening import adopt_opening, finish_opening, sign_opening
from finetune.workspace import State, Workspace

TURN_SECONDS = 300.0  # that a start waits for other starts of the same payer, or for whoever writes blocks
OPENING_SECONDS = 10.0  # that an opening signed elsewhere is waited for before others have their turn
SIGNATURES = 8  # of one start, where somebody else's transactions use up the nonces


def start(world: World, job: Workspace, payer: Account | None, base: Path | None, **facts: Any) -> None:
    """Open the job and queue it; one that a crash left anywhere is queued again. A quote needs `payer` and `base`.

    `facts` go into the folder, for the worker. Where the chain goes away after the payer signed, the job is queued
    nevertheless, and the worker opens it.
    """
    with job.hold():
        if job.state is State.DONE:
            raise Conflict(f"The job is over: {job.facts.get('outcome', 'done')}.", hint="`allod job show` tells more.")
        facts["queued"] = int(job.facts.get("queued", 0)) + 1
        if job.state is not State.QUOTED:
            job.note(**facts)
            EventLog(job.folder).add("queued")
            return
        if payer is None or base is None:
            raise InvalidInput("The job is not open yet.", hint="Start it as its payer.")
        _make_ready(world, job, base)
        with _turn(world.home, payer):
            _open(world, job, payer, facts)
        EventLog(job.folder).add("queued")


def start_signed(world: World, job: Workspace, raw: bytes, base: Path, **facts: Any) -> None:
    """Queue a quoted job and open it with what its payer signed elsewhere, as drafted; whoever holds it calls this.

    Called again after a crash it goes on. Where the chain does not answer, the worker that has the job opens it.
    """
    if job.state is State.QUOTED:
        _make_ready(world, job, base)
        adopt_opening(world.site(), job, raw, queued=int(job.facts.get("queued", 0)) + 1, **facts)
        EventLog(job.folder).add("queued")
    if job.state is State.OPENING:
        with suppress(Unavailable):
            finish_opening(world.site(), job, seconds=OPENING_SECONDS)


def _make_ready(world: World, job: Workspace, base: Path) -> None:
    """All that comes before money is locked."""
    if base_model_hash(base) != Recipe.decode(job.get("recipe.json")).base_hash:
        raise InvalidInput(
            f"The model in {base} is not the one that the recipe names.",
            hint="Give the folder of the recipe's base model, unchanged.",
        )
    fund_runner(world)
    tree = SumTree.decode(job.get("tree.cbor"))
    _when_free(lambda: lay_down(world.blocks, tree))


def _open(world: World, job: Workspace, payer: Account, facts: dict[str, Any]) -> None:
    site = world.site()
    for attempt in range(1, SIGNATURES + 1):
        sign_opening(site, job, payer, **facts)
        try:
            finish_opening(site, job)
            return
        except Refused as error:
            if not error.detail.get("stale_nonce") or attempt == SIGNATURES:
                raise
        except Unavailable:
            return  # it may or may not have been sent: the worker finds out


@contextmanager
def _turn(home: Path, payer: Account) -> Iterator[None]:
    """One opening of a payer at a time: the next signature needs to see the nonce and the lane of the last."""
    lock = Lock(home / "jobs" / f".{payer.address.hex()}.lock", what="The opening of another job of this payer")
    _when_free(lock.acquire)
    try:
        yield
    finally:
        lock.release()


def _when_free(action: Callable[[], object]) -> None:
    """Do it as soon as no other process is at it."""
    deadline = time.monotonic() + TURN_SECONDS
    while True:
        try:
            action()
            return
        except Busy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def is_queued(job: Workspace) -> bool:
    """Whether workers have something to do for the job: it was started, it is no quote, and not all is published."""
    facts = job.facts
    return bool(facts.get("queued")) and job.state is not State.QUOTED and not facts.get("published")
