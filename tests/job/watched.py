"""One job in a process of its own, on disk, with every file it opens for writing noted.

`python -m tests.job.watched MODE HOME BASE`: `found` founds a world with a job in it and does no more, `full` runs the
job to its end, `failed` loses the trainer child half-way for good, `killed` is gone by SIGKILL half-way. Where a world
is there already, its job goes on. One JSON document on stdout says how it ended and which files were opened for writing
by the broker and by the child.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHILD = """
import os, runpy, sys
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
def note(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & WRITING and not isinstance(args[0], int):
        os.write(2, f"WROTE {args[0]}\\n".encode())
sys.addaudithook(note)
sys.argv = ["trainer"]
runpy.run_module("finetune.trainer", run_name="__main__")
"""
HALF_WAY = 5  # steps; the checkpoint before it is the one of step 4
EVERY = 2


def main(mode: str, home: Path, base: Path) -> None:
    """Run one mode and print what happened."""
    from consent.chain.client import Chain
    from consent.chain.deployment import Deployment
    from consent.chain.embedded import EmbeddedChain
    from consent.committee import Committee
    from consent.recipe import Lora
    from core.encoding import from_hex
    from core.errors import AllodError
    from core.ids import ConsentId
    from finetune.broker import Progress
    from finetune.checkpoint import Every
    from finetune.run import run_job
    from finetune.trainer_process import TrainerProcess
    from finetune.workspace import workspaces
    from tests.job.worlds import World, found_world
    from vault.carstore import CarStore

    chain, blocks = Chain.embedded(EmbeddedChain(home / "chain"), owned=True), CarStore(home / "blocks")
    founded = (home / "deployment.json").exists()
    if founded:
        deployment = Deployment.load(home / "deployment.json")
        committee = Committee.decode((home / "committee.json").read_bytes())
        world = World(home, chain, deployment, committee, blocks, {}, base)
    else:
        world = found_world(home, chain, blocks, base, {"ada": (12, True), "dario": (4, False)})
    children: list[TrainerProcess] = []

    def trainer() -> TrainerProcess:
        children.append(TrainerProcess(command=[sys.executable, "-P", "-s", "-c", CHILD]))
        return children[-1]

    answer: dict[str, Any] = {"ended": "", "state": "", "outcome": "", "refused": 0, "notes": [], "losses": {}}

    def report(progress: Progress) -> None:
        if progress.note:
            answer["notes"].append(progress.note)
        if progress.loss is not None:
            answer["losses"][progress.step] = progress.loss
        if progress.phase == "train" and progress.step == HALF_WAY:
            if mode == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if mode == "failed":
                children[-1].kill()

    site = world.site(report=report, trainer=trainer, checkpoint=Every(steps=EVERY), restarts=0)
    opened: set[str] = set()
    _note_writes(opened)
    lora = Lora(4, 8, 100_000, ("q_proj", "v_proj"))
    job = next(iter(workspaces(site.jobs))) if founded else world.job(["ada", "dario"], site, lora=lora)
    if mode == "found":
        world.close()
        print(json.dumps({"broker": sorted(opened)}))
        return
    try:
        done = run_job(
            site, job, world.work(heldout={"ada": [{"kind": "text", "text": "A stone."}]}), payer=world.trainer
        )
        answer |= {"outcome": done.outcome, "refused": len(done.refusals), "adapter": sorted(done.adapter)}
        answer["total"] = done.final.total
        answer["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in done.adapter.items()}
        uses = {name: done.tally.used(ConsentId(from_hex(name))) for name in _consents(job)}
        answer["uses"] = {name: [use.record_epochs, use.tokens] for name, use in uses.items()}
        answer["owed"] = {name: done.tally.owed(ConsentId(from_hex(name))) for name in uses}
        answer["heldout"] = done.losses
    except AllodError as error:
        answer["ended"] = error.message
    answer["state"] = str(job.state)
    answer["broker"] = sorted(opened)
    answer["child"] = [
        line.removeprefix("WROTE ")
        for child in children
        for line in child.stderr.splitlines()
        if line.startswith("WROTE ")
    ]
    world.close()
    print(json.dumps(answer))


def _consents(job: Any) -> list[str]:
    return [row["consent"] for row in job.get_value("reading.json")]


def _note_writes(opened: set[str]) -> None:
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def note(event: str, args: tuple[Any, ...]) -> None:
        named = event == "open" and isinstance(args[2], int) and args[2] & writing and not isinstance(args[0], int)
        if named or event == "sqlite3.connect":
            opened.add(os.fsdecode(args[0]))

    sys.addaudithook(note)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
