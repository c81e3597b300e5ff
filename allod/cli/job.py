"""`allod job quote | run | show | list | settle | try | verify | reclaim`, and those of `job_queue`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli import job_queue
from allod.cli.acting import PassphraseFile, unlock, who, world_of
from allod.cli.money import money
from allod.cli.shown import Screen, Shown, command, plain, table
from core.encoding import to_hex
from core.errors import InvalidInput, VerificationFailed

if TYPE_CHECKING:
    from allod.world import World
    from finetune.broker import Progress
    from finetune.run import Finished
    from finetune.verify import Report
    from finetune.workspace import Workspace

app = typer.Typer(name="job", no_args_is_help=True)
app.registered_commands += job_queue.app.registered_commands
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Its number, or the start of its 0x id.")]
Base = Annotated[str, typer.Option(help="`demo`, a local folder, or a Hugging Face id (safetensors).")]
SameBase = Annotated[str | None, typer.Option(help="Where the base model lies now, if not where it was quoted from.")]


@app.callback()
def job() -> None:
    """Fine-tunes on consented data."""


@command(app, "quote")
def quote(
    screen: Screen,
    consents: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONSENT…", help="As `consent list` names them; all live ones if none."),
    ] = None,
    base: Base = "demo",
    purpose: Annotated[str, typer.Option(help="What the adapter is for.")] = "academic-research",
    epochs: Annotated[int, typer.Option(min=1)] = 3,
    rank: Annotated[int, typer.Option(min=1, help="LoRA's r.")] = 16,
    alpha: Annotated[int, typer.Option(min=1, help="LoRA's alpha.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0, help="The peak.")] = 2e-4,
    warmup_steps: Annotated[int, typer.Option(min=0)] = 10,
    batch_rows: Annotated[int, typer.Option(min=1, help="Packed rows in one optimizer step.")] = 8,
    sequence: Annotated[int, typer.Option(min=8, help="Tokens in one row.")] = 512,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    fee: Annotated[str, typer.Option(help="What the runner gets, in tokens.")] = "0",
) -> Shown:
    """Every payee and amount of a job, before any money moves. The job gets a number; `job run` starts it."""
    from allod import trainer
    from consent.money import parse_units
    from consent.validity import TokenStatus

    with world_of(screen) as world:
        me = who(screen, world).address
        if consents:
            chosen = [trainer.find_consent(world, name, me).consent for name in consents]
        else:
            chosen = [one.consent for one in trainer.held_consents(world, me) if one.status is TokenStatus.LIVE]
        with screen.progress("Preparing the base model") as bar:
            folder = trainer.base_folder(world, base, lambda done, total, _: bar(done, f"{done}/{total}"))
        recipe = trainer.write_recipe(
            folder,
            folder.name if Path(base).expanduser().is_dir() else base,  # it is public: no path of this machine
            purpose,
            epochs=epochs,
            rank=rank,
            alpha=alpha,
            learning_rate_nano=round(learning_rate * 1e9),
            warmup_steps=warmup_steps,
            batch_rows=batch_rows,
            sequence=sequence,
            seed=seed,
        )
        found = trainer.quote(world, me, chosen, recipe, parse_units(fee, world.market.decimals))
        row, job_folder = trainer.begin(world, found)
        job_folder.note(base=base if base == trainer.DEMO_BASE else str(folder))
        items: list[dict[str, Any]] = [
            {
                "consent": to_hex(line.consent_id),
                "owner": to_hex(line.licence.consent.owner),
                "payee": to_hex(line.payee),
                "records": line.licence.counts.records if not line.reasons else 0,
                "amount": money(world, line.amount),
                "reasons": list(line.reasons),
            }
            for line in found.lines
        ]
        data = {
            "job": row.number,
            "recipe": to_hex(recipe.hash),
            "lines": items,
            "fee": money(world, found.fee),
            "total": money(world, found.total),
        }
    rows = [[i["owner"][:12] + "…", i["records"], i["amount"], "; ".join(i["reasons"]) or "fits"] for i in items]
    lines = [table(f"Job {row.number}", ["owner", "records", "amount", ""], rows, numbers=[1, 2])]
    lines += [f"fee {data['fee']}, total {data['total']}", f"`allod job run {row.number}` locks that and starts."]
    return Shown(data, lines)


def _reporter(screen: Screen, bar: Callable[[int, str], None]) -> Callable[[Progress], None]:
    """Progress as a bar for steps, and a line for each sentence that a phase brings."""
    said: list[str] = []

    def report(progress: Progress) -> None:
        if progress.note and progress.note not in said:
            said.append(progress.note)
            screen.say(f"  {progress.phase}: {plain(progress.note)}")
        if progress.loss is not None:
            speed = f"{progress.tokens_per_second:,.0f} tokens/s"
            bar(progress.step, f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  {speed}")
        else:
            bar(progress.step, progress.phase)

    return report


def describe(world: World, number: int, folder: Workspace, done: Finished) -> dict[str, Any]:
    """A finished job as JSON."""
    from consent.tree import FEE

    paid = [
        {
            "consent": to_hex(after.consent_id),
            "payee": to_hex(after.payee),
            "locked": money(world, before.amount),
            "paid": money(world, after.amount),
            "fee": after.consent_id == FEE,
        }
        for before, after in zip(done.opening.leaves, done.final.leaves, strict=True)
    ]
    from allod.jobs import bundle_of

    return {
        "job": number,
        "id": to_hex(done.order.job_id),
        "outcome": done.outcome,
        "leaves": paid,
        "refunded": money(world, done.opening.total - done.final.total),
        "refusals": done.refusals,
        "losses": done.losses,
        "transactions": done.transactions,
        "bundle": str(bundle_of(folder)),
        "sandbox": done.sandbox,
    }


@command(app, "run")
def run(
    screen: Screen,
    name: JobName,
    base: SameBase = None,
    heldout: Annotated[
        Path | None, typer.Option(help="JSON with held-out records by owner: their loss is measured before and after.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Lock the money, have keys released, train, pay. Run it again after a crash: it goes on or settles."""
    from allod import jobs, trainer
    from finetune.workspace import State, needs_training

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
        account = unlock(screen, world, passphrase_file).account if folder.state is State.QUOTED else None
        records = jobs.read_heldout(heldout) if heldout else None
        path = _base_of(world, folder, base) if needs_training(folder) else folder.folder
        with screen.progress("Running") as bar:
            done = jobs.run(
                world, row.number, folder, path, payer=account, heldout=records, report=_reporter(screen, bar)
            )
        data = describe(world, row.number, folder, done)
    return Shown(data, _lines(data))


def _base_of(world: World, folder: Workspace, base: str | None) -> Path:
    """The base model's folder: where it lies now, else where the job was quoted from."""
    from allod import trainer

    return trainer.base_folder(world, base or str(folder.facts.get("base", trainer.DEMO_BASE)))


def _lines(data: dict[str, Any]) -> list[Any]:
    rows = [
        ["runner's fee" if leaf["fee"] else leaf["payee"][:12] + "…", leaf["locked"], leaf["paid"]]
        for leaf in data["leaves"]
    ]
    lines: list[Any] = [f"Job {data['job']} {data['id']}: {data['outcome']}. {data['sandbox']}"]
    lines.append(table("Paid", ["payee", "locked", "to be claimed"], rows, numbers=[1, 2]))
    for refusal in data["refusals"]:
        reasons = sorted({one["reason"] for one in refusal["reasons"]})
        lines.append(f"not used: {refusal['owner'][:12]}… ({refusal['where']}): {plain(' '.join(reasons))}")
    if data["losses"]:
        measured = [
            [who, f"{one['before'] / 1e6:.3f}", f"{one['after'] / 1e6:.3f}"] for who, one in data["losses"].items()
        ]
        lines.append(table("Held-out loss", ["records of", "before", "after"], measured, numbers=[1, 2]))
    lines.append(f"Adapter and provenance: {data['bundle']}")
    return lines


@command(app, "list")
def list_(screen: Screen) -> Shown:
    """The jobs of this home."""
    from finetune.workspace import Workspace

    with world_of(screen) as world:
        items = [
            {
                "job": row.number,
                "id": None if row.job_id is None else to_hex(row.job_id),
                "state": Workspace(world.home / "jobs" / row.folder).state.value,
                "created": row.created.isoformat(),
            }
            for row in world.jobs.all()
        ]
    rows = [[item["job"], item["id"] or "not opened", item["state"], item["created"]] for item in items]
    return Shown({"jobs": items}, [table("Jobs", ["#", "id", "state", "created"], rows, numbers=[0])])


@command(app, "show")
def show(screen: Screen, name: JobName) -> Shown:
    """How a job stands here and on chain, and what happens to its money if nothing more is done."""
    from allod import trainer
    from consent.market.paying import standing
    from core.encoding import from_hex
    from core.ids import JobId
    from finetune.run import money as fate

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
        facts = folder.facts
        data: dict[str, Any] = {"job": row.number, "state": folder.state.value, "money": fate(folder)}
        if "job_id" in facts:
            found = standing(world.market, JobId(from_hex(facts["job_id"], 32)))
            data |= {
                "id": facts["job_id"],
                "claims_begin": found.claims_begin,
                "claims_end": found.claims_end,
                "remaining": money(world, found.remaining),
                "total": money(world, found.total),
                "statement": None if found.statement is None else to_hex(found.statement),
            }
        sent = world.consents.transactions(row.job_id) if row.job_id else []
        data["transactions"] = [{"what": one.what, "gas": one.gas, "hash": to_hex(one.hash)} for one in sent]
    return Shown(data, [f"{key}: {plain(value)}" for key, value in data.items() if key != "transactions"])


@command(app, "settle")
def settle(screen: Screen, name: JobName, passphrase_file: PassphraseFile = None) -> Shown:
    """For the payer whose runner vanished: refund everything of which no keeper released a share."""
    from allod import jobs, trainer
    from consent.tree import SumTree
    from finetune.settle import settle_job

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
        account = unlock(screen, world, passphrase_file).account
        opening = SumTree.decode(folder.get("tree.cbor"))
        final = settle_job(world.site(), folder, account)
        jobs.close(world, row.number, folder)
        data = {
            "job": row.number,
            "paid": money(world, final.total),
            "refunded": money(world, opening.total - final.total),
        }
    return Shown(data, [f"Job {data['job']} is settled: {data['paid']} to be claimed, {data['refunded']} refunded."])


@command(app, "try")
def try_(
    screen: Screen,
    name: JobName,
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT…")],
    base: SameBase = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask as a user of a chat.")] = False,
) -> Shown:
    """What the base model and the tuned one say after a prompt, side by side."""
    from allod import jobs, trainer

    with world_of(screen) as world:
        _, folder = trainer.job_of(world, name)
        jobs.require_adapter(folder)
        found = jobs.try_prompts(folder, _base_of(world, folder, base), prompts, chat=chat)
    rows = [[one.prompt, one.base, one.tuned] for one in found]
    data = {"answers": [{"prompt": one.prompt, "base": one.base, "tuned": one.tuned} for one in found]}
    return Shown(data, [table("", ["prompt", "base", "tuned"], rows)])


@command(app, "verify")
def verify(
    screen: Screen,
    name: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a job of this home.")],
    rpc: Annotated[str | None, typer.Option(help="A JSON-RPC endpoint; with --trust no home is needed.")] = None,
    trust: Annotated[Path | None, typer.Option(help="What you accept: chain, contracts, committees (JSON).")] = None,
    blocks: Annotated[
        Path | None, typer.Option(help="A block store's folder; or ALLOD_BLOCKS, or a kubo node by ALLOD_KUBO.")
    ] = None,
) -> Shown:
    """Check every sentence about a finished job: consents, releases, payments, adapter. No server of ours is asked."""
    from allod import jobs

    if (rpc is None) != (trust is None):
        raise InvalidInput("--rpc and --trust go together.", hint="Trust nothing that the bundle says of itself.")
    folder = Path(name)
    if rpc is not None and trust is not None:
        settings = screen.settings
        if blocks is not None:
            settings = settings.model_copy(update={"blocks": blocks, "kubo": None})
        report = jobs.verify_foreign(folder, rpc, trust, settings)
    else:
        from allod.trainer import job_of

        with world_of(screen) as world:
            bundle = folder if folder.is_dir() else jobs.bundle_of(job_of(world, name)[1])
            report = jobs.verify_own(world, bundle)
    data = report_document(report)
    lines = report_lines(report)
    if not report.holds:
        screen.say(*lines)
        broken = ", ".join(report.broken)
        raise VerificationFailed(f"The bundle does not verify: {broken}.", hint="Do not rely on it.", **data)
    return Shown(data, lines)


def report_document(report: Report) -> dict[str, Any]:
    """A verification report as JSON."""
    return {
        "job": report.job,
        "holds": report.holds,
        "vouched": report.vouched,
        "sentences": [
            {
                "slug": one.slug,
                "sentence": one.sentence,
                "holds": one.holds,
                "evidence": one.evidence,
                "raw": one.raw,
                "how_to_check": one.how_to_check,
            }
            for one in report.findings
        ],
    }


def report_lines(report: Report) -> list[str]:
    """A verification report for people."""
    marks = {True: "[green]✓[/green]", False: "[red]✗[/red]"}
    lines = [f"{marks[one.holds]} {plain(one.sentence)} [dim]{plain(one.evidence)}[/dim]" for one in report.findings]
    if report.holds and not report.vouched:
        lines.append("Nobody vouches for an adapter of this job: consents, releases and payments were checked.")
    lines.append("verify ✓" if report.holds else "verify ✗")
    return lines


@command(app, "reclaim")
def reclaim(screen: Screen, name: JobName, passphrase_file: PassphraseFile = None) -> Shown:
    """Take back what nobody claimed, once the owners' 180 days have ended."""
    from allod import trainer
    from consent.market import paying
    from core.encoding import from_hex
    from core.ids import JobId

    with world_of(screen) as world:
        row, folder = trainer.job_of(world, name)
        account = unlock(screen, world, passphrase_file).account
        sent = paying.reclaim(world.market, account, JobId(from_hex(folder.facts["job_id"], 32)))
        world.remember(sent, from_hex(folder.facts["job_id"], 32))
        data = {"job": row.number, "transaction": to_hex(sent.tx_hash)}
    return Shown(data, [f"What nobody claimed of job {row.number} is back in your deposit."])
