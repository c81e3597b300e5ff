"""Running a job to its end in a home, with its statement and bundle; trying what came of it; verifying it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allod.cancelling import Cancelled, carry_out, is_wanted
from allod.recorder import Recorder
from allod.trainer import fund_runner
from allod.trees import lay_down
from allod.world import World
from consent.chain.account import Account
from consent.history import History
from consent.recipe import Recipe
from consent.tree import SumTree
from core.encoding import from_hex
from core.errors import InvalidInput, NotFound
from core.settings import Settings
from finetune.bundle import Bundle
from finetune.provenance import EVIDENCE, bundle_job, write_statement
from finetune.run import Finished, run_job
from finetune.settle import StatementHook
from finetune.stages import Work
from finetune.verify import Report, Trust, verify
from finetune.workspace import Workspace

if TYPE_CHECKING:
    from finetune.broker import Progress
    from finetune.model.tokenizer import RecordTokenizer
    from finetune.trainer_process import TrainerProcess

BUNDLES = "bundles"
MAX_NEW_TOKENS = 64
Heldout = Mapping[str, Sequence[Mapping[str, Any]]]
OnTrained = Callable[["TrainerProcess", "RecordTokenizer"], None]


def bundle_of(job: Workspace) -> Path:
    """Where a job's adapter and its provenance lie: outside of its folder, for all of it is public."""
    old = job.folder / "bundle"  # where it lay before there was a server
    return old if old.exists() else job.folder.parents[1] / BUNDLES / job.folder.name


def published_bundle(home: Path, folder: str) -> Bundle:
    """The bundle of the job whose folder has this name, without a look into that; `NotFound` until it is whole."""
    for place in (home / BUNDLES / folder, home / "jobs" / folder / "bundle"):
        if (place / EVIDENCE).is_dir():
            return Bundle(place)
    raise NotFound("The bundle of this job is not published yet.", hint="Ask again when the job is over.")


def run(
    world: World,
    number: int,
    job: Workspace,
    base: Path,
    *,
    payer: Account | None,
    heldout: Heldout | None = None,
    report: Callable[[Progress], None] | None = None,
    on_trained: OnTrained | None = None,
) -> Finished:
    """Begin a job or go on with it; at its end the bundle is complete and the transactions are remembered."""
    fund_runner(world)
    lay_down(world.blocks, SumTree.decode(job.get("tree.cbor")))  # before any money is locked under it
    recorder = Recorder(job, report)

    def reported(progress: Progress) -> None:
        recorder(progress)
        if is_wanted(job):
            raise Cancelled

    site, work = world.site(reported), Work(base, heldout or {}, statement_of(world), on_trained)
    try:
        done = run_job(site, job, work, payer=payer)
    except Cancelled:
        carry_out(world.site(recorder), job)
        done = run_job(site, job, work)  # to its end, which is near; a job that is not open stays a quote
    close(world, number, job)
    return done


def statement_of(world: World) -> StatementHook:
    """Writes the statement of a job, and its bundle, as this home's runner."""
    runner = world.runner.account
    return lambda job, final: write_statement(job, final, runner, bundle_of(job))


def close(world: World, number: int, job: Workspace) -> None:
    """Complete the bundle with its evidence, lay the final tree down, remember the job's id and transactions."""
    from consent.records import TransactionRow

    if "job_id" in job.facts:
        job_id = from_hex(job.facts["job_id"], 32)
        world.jobs.opened(number, job_id)
        listed = job.get_value("transactions.json") if job.has("transactions.json") else []
        for item in listed:
            receipt = world.chain.receipt(from_hex(item["hash"], 32))
            if receipt is not None:
                world.consents.sent(
                    TransactionRow(
                        hash=receipt.tx_hash,
                        what=item["what"],
                        sender=receipt.sender,
                        gas=receipt.gas_used,
                        block=receipt.block_number,
                        job=job_id,
                    )
                )
    for name in ("tree.cbor", "final.cbor"):
        if job.has(name):
            lay_down(world.blocks, SumTree.decode(job.get(name)))
    bundle_job(job, History.of(world.chain, world.deployment), bundle_of(job))


def own_trust(world: World) -> Trust:
    """What this home accepts: its chain, its contracts, its committee."""
    deployment = world.deployment
    return Trust(
        chain_id=deployment.chain_id,
        registry=deployment.registry,
        consent_token=deployment.consent_token,
        escrow=deployment.escrow,
        committees=(world.committee.hash,),
    )


def verify_own(world: World, bundle: Path) -> Report:
    """Verify a bundle against this home's chain, blocks and trust."""
    return verify(bundle, world.chain, own_trust(world), world.blocks)


def verify_foreign(bundle: Path, rpc_url: str, trust_file: Path, settings: Settings) -> Report:
    """Verify a bundle without any home: over RPC, with a trust file, and the block store that the settings name."""
    from allod.storage import open_blocks
    from consent.chain.client import Chain

    trust = Trust.decode(trust_file.read_bytes())
    with Chain.http(rpc_url, chain_id=trust.chain_id) as chain:
        if settings.blocks is None and settings.kubo is None:
            return verify(bundle, chain, trust)
        with closing(open_blocks(settings, read_only=True)) as store:
            return verify(bundle, chain, trust, store)


@dataclass(frozen=True)
class Tried:
    """What base and tuned model say after a prompt."""

    prompt: str
    base: str
    tuned: str


def require_adapter(job: Workspace) -> dict[str, bytes]:
    """The files of the job's adapter; `NotFound` if it has none."""
    adapter = job.adapter()
    if not adapter:
        raise NotFound("This job has no adapter.", hint="`allod job show` tells how it ended.")
    return adapter


def try_prompts(job: Workspace, base: Path, prompts: Sequence[str], *, chat: bool, threads: int = 0) -> list[Tried]:
    """Greedy answers of the base model and of the job's adapter, side by side."""
    from finetune.model.tokenizer import load_tokenizer
    from finetune.recipe_settings import TrainSettings
    from finetune.trainer_process import TrainerProcess

    adapter = require_adapter(job)
    recipe = Recipe.decode(job.get("recipe.json"))
    tokenizer = load_tokenizer(base)
    with TrainerProcess() as trainer:
        trainer.configure(TrainSettings.of_recipe(recipe, base=str(base), total_steps=1, threads=threads), adapter)
        return answer(trainer, tokenizer, prompts, chat=chat)


def answer(trainer: TrainerProcess, tokenizer: RecordTokenizer, prompts: Sequence[str], *, chat: bool) -> list[Tried]:
    """Greedy answers of a running trainer, with and without its adapter."""
    from finetune.model.tokenizer import decode_tokens, encode_prompt

    asked = [encode_prompt(tokenizer, prompt, chat=chat) for prompt in prompts]
    base = trainer.generate(asked, MAX_NEW_TOKENS, tokenizer.stops, base=True)
    tuned = trainer.generate(asked, MAX_NEW_TOKENS, tokenizer.stops)
    said = [
        (decode_tokens(tokenizer, plain), decode_tokens(tokenizer, own)) for plain, own in zip(base, tuned, strict=True)
    ]
    return [Tried(prompt, plain, own) for prompt, (plain, own) in zip(prompts, said, strict=True)]


def read_heldout(path: Path) -> Heldout:
    """Held-out records by owner from a JSON file; `InvalidInput` if it is none."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read: {type(error).__name__}.", hint="It is a JSON object.") from None
    if not isinstance(document, dict) or not all(isinstance(records, list) for records in document.values()):
        raise InvalidInput(f"{path} does not hold lists of records by name.", hint="See examples/heldout.json.")
    return document
