"""`allod job start | cancel | watch`: jobs that workers run, and what a payer sees and stops from any process."""

from __future__ import annotations

import datetime
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.acting import PassphraseFile, unlock, world_of
from allod.cli.money import money
from allod.cli.shown import Screen, Shown, command, plain, table
from core.encoding import from_hex, to_hex
from core.errors import Busy, Denied, Refused, Unavailable

if TYPE_CHECKING:
    from allod.world import World
    from consent.tree import SumTree

app = typer.Typer(name="job")
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Its number, or the start of its 0x id.")]
_AGAIN = "`allod job start` tries it again, `allod job cancel` ends it."


@command(app, "start")
def start(
    screen: Screen,
    name: JobName,
    base: Annotated[
        str | None, typer.Option(help="Where the base model lies now, if not where it was quoted from.")
    ] = None,
    heldout: Annotated[
        Path | None, typer.Option(help="JSON with held-out records by owner: their loss is measured before and after.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Lock the money and leave the job to the workers of this home (`allod worker`)."""
    from allod import jobs, starting, trainer
    from allod.worker import live_workers
    from finetune.workspace import State

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
        facts: dict[str, Any] = {}
        account, path = None, None
        if folder.state is State.QUOTED or base is not None:
            path = trainer.base_folder(world, base or str(folder.facts.get("base", trainer.DEMO_BASE)))
        if folder.state is State.QUOTED:
            account = unlock(screen, world, passphrase_file).account
        if base is not None:
            facts["base"] = base if base == trainer.DEMO_BASE else str(path)
        if heldout is not None:
            jobs.read_heldout(heldout)
            facts["heldout"] = str(heldout.resolve())
        starting.start(world, folder, account, path, **facts)
        workers = live_workers(world.home)
        data = {
            "job": row.number,
            "id": folder.facts.get("job_id"),
            "state": folder.state.value,
            "workers": workers,
        }
    who = f"{workers} workers serve this home" if workers else "no worker serves this home yet: `allod worker`"
    return Shown(
        data, [f"Job {row.number} is queued ({data['state']}); {who}.", f"`allod job watch {row.number}` follows it."]
    )


@command(app, "cancel")
def cancel(
    screen: Screen,
    name: JobName,
    yes: Annotated[bool, typer.Option("--yes", help="Pay what is owed by now, and end the job.")] = False,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Stop a job. Before the first release all comes back, the fee too; later this says what is owed, and to whom."""
    from allod import cancelling, jobs, trainer
    from consent.tree import SumTree
    from finetune.workspace import State

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
        account = unlock(screen, world, passphrase_file).account
        if account.address != from_hex(folder.facts["payer"], 20):
            raise Denied("Only the job's payer cancels it.", hint="Act as its payer: --as NAME.")
        opening = SumTree.decode(folder.get("tree.cbor"))
        if folder.state is State.QUOTED:
            answer = "not-open"
        elif folder.state in cancelling.BEFORE_RELEASE or (yes and not cancelling.is_earned(folder)):
            answer = cancelling.cancel(world.site(), folder, agreed=yes)
        else:
            answer = "declined"
        if folder.state is State.DONE:
            with suppress(Busy):  # then a worker is at it
                jobs.close(world, row.number, folder)
        owed = cancelling.due(folder)
        data = {
            "job": row.number,
            "answer": answer,
            "state": folder.state.value,
            "owed": _owed(world, owed),
            "total": money(world, owed.total),
            "refund": money(world, opening.total - owed.total if folder.state is not State.QUOTED else 0),
        }
    return Shown(data, _said(data, earned=cancelling.is_earned(folder)))


def _owed(world: World, tree: SumTree) -> list[dict[str, Any]]:
    from consent.tree import FEE

    return [
        {"payee": to_hex(leaf.payee), "amount": money(world, leaf.amount), "fee": leaf.consent_id == FEE}
        for leaf in tree.leaves
        if leaf.amount
    ]


def _said(data: dict[str, Any], *, earned: bool) -> list[Any]:
    if data["answer"] == "not-open":
        return [f"Job {data['job']} is a quote: no money has moved, and no worker runs it."]
    rows = [["runner's fee" if one["fee"] else one["payee"], one["amount"]] for one in data["owed"]]
    owed = [table("Owed", ["payee", "amount"], rows, numbers=[1])] if rows else []
    if data["answer"] == "cancelled":
        return [f"Job {data['job']} is cancelled: {data['refund']} are back in your deposit.", *owed]
    if data["state"] == "done":
        return [f"Job {data['job']} is over already; {data['refund']} were refunded.", *owed]
    if earned:
        return [f"Job {data['job']} is trained, so it cannot be cancelled any more.", *owed]
    return [
        f"Data was released for job {data['job']}: {data['total']} are owed, {data['refund']} would come back.",
        *owed,
        f"`allod job cancel {data['job']} --yes` pays that and ends it. A share whose receipt was lost adds to it.",
    ]


@command(app, "watch", stream=True)
def watch(
    screen: Screen,
    name: JobName,
    after: Annotated[int, typer.Option(min=0, help="Begin behind the event of this number.")] = 0,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Watch so long at most; by default until the job is over.")
    ] = None,
) -> Shown:
    """Follow a job, from any process and across restarts of its worker, until it is over.

    With --json every line of stdout is a document: one for each event, and the last as every command has it.
    """
    from allod import trainer
    from allod.events import Reader
    from finetune.workspace import State

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
    reader, last, newest = Reader(folder.folder, after=after), after, {"kind": ""}
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        over = folder.state is State.DONE  # before the look, so that the last events are not missed
        for event in reader.wait(0.0 if over else 0.2):
            last, newest = event["n"], event
            screen.stream({"event": event}, _line(event))
        if newest["kind"] == "failed" and not over:
            raise Refused(str(newest.get("note")), hint=str(newest.get("next") or _AGAIN), job=row.number, last=last)
        if over or (deadline is not None and time.monotonic() >= deadline):
            break
    data = {"job": row.number, "state": folder.state.value, "outcome": folder.facts.get("outcome"), "last": last}
    if not over:
        raise Unavailable("The job is not over yet.", hint=f"`allod job watch {name} --after {last}` goes on.", **data)
    return Shown(data, [f"Job {row.number} is over: {data['outcome']}."])


def _line(event: dict[str, Any]) -> str:
    at = event.get("at")
    when = f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%H:%M:%S} " if isinstance(at, int | float) else ""
    told = {name: value for name, value in event.items() if name not in ("n", "at", "kind") and value not in ("", None)}
    return when + plain(event["kind"]) + "".join(f"  {plain(name)} {plain(value)}" for name, value in told.items())
