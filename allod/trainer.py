"""What trainers do in a home: find consents, quote, run, settle and try jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allod.listing import publication_of
from allod.world import World
from consent.chain.account import Account
from consent.grant import Consent
from consent.market import granting
from consent.market.granting import SignedConsent
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.records import ConsentRow
from consent.validity import TokenStatus
from core.errors import InvalidInput, NotFound
from core.ids import Address, Asset, ConsentId
from finetune.licence import Licence
from finetune.model.load import base_model_hash, locate_base
from finetune.opening import new_job
from finetune.quote import Quote, quote_job
from finetune.workspace import Workspace

if TYPE_CHECKING:
    from finetune.records import JobRow

DEMO_BASE = "demo"
RUNNER_GAS = 10**18  # wei that a development chain gives its runner


@dataclass(frozen=True)
class Held:
    """A consent as a trainer sees it: the struct, its id for this trainer, and what the chain says of the token."""

    signed: SignedConsent
    consent_id: ConsentId
    status: TokenStatus | None

    @property
    def consent(self) -> Consent:
        """The struct that the owner signed."""
        return self.signed.consent


def read_row(row: ConsentRow) -> SignedConsent:
    """A listed consent with its signature."""
    return SignedConsent(Consent.decode(row.consent), row.signature)


def held_consents(world: World, trainer: Address) -> list[Held]:
    """Every known consent that names this trainer, and every offer, with the state of the trainer's own token."""
    out = []
    for row in world.consents.consents():
        signed = read_row(row)
        if signed.consent.is_offer or signed.consent.grantee == trainer:
            consent_id = granting.consent_id(world.market, signed.consent, trainer)
            out.append(Held(signed, consent_id, granting.status(world.market, signed.consent, trainer)))
    return out


def licence_for(world: World, consent: Consent) -> Licence:
    """The documents behind a consent, from the dataset's publication; quoting and the job check them."""
    found = publication_of(world, Asset(consent.asset), consent.terms)
    return Licence(consent, found.terms_bytes, found.header_bytes, found.shares, found.manifests)


def base_folder(world: World, base: str, progress: Callable[[int, int, float], None] | None = None) -> Path:
    """The folder of a base model: the demo's own, made at its first use, or a local path or Hugging Face id."""
    if base != DEMO_BASE:
        return locate_base(base)
    from finetune.model.base import ensure_base

    return ensure_base(world.settings.demo_base, progress)


def demo_recipe(folder: Path, purpose_code: str) -> Recipe:
    """The recipe with which the demo's base model learns the example owners' facts."""
    from finetune.model import demo_settings as numbers

    return write_recipe(
        folder,
        DEMO_BASE,
        purpose_code,
        epochs=numbers.EPOCHS,
        rank=numbers.RANK,
        alpha=numbers.ALPHA,
        learning_rate_nano=numbers.LEARNING_RATE_NANO,
        warmup_steps=numbers.WARMUP_STEPS,
        batch_rows=numbers.ROWS_PER_STEP,
        sequence=numbers.SEQUENCE,
        seed=numbers.SEED,
        targets=numbers.TARGETS,
    )


def write_recipe(
    folder: Path,
    name: str,
    purpose_code: str,
    *,
    epochs: int,
    rank: int = 16,
    alpha: int = 32,
    learning_rate_nano: int = 200_000,
    warmup_steps: int = 10,
    batch_rows: int = 8,
    sequence: int = 512,
    seed: int = 0,
    targets: Sequence[str] = ("all-linear",),
) -> Recipe:
    """A recipe for the base model in `folder`, from the numbers people type."""
    return Recipe(
        base_name=name,
        base_hash=base_model_hash(folder),
        lora=Lora(rank, alpha, 0, tuple(sorted(set(targets)))),
        epochs=epochs,
        seed=seed,
        purpose=purpose(purpose_code).hash,
        learning_rate_nano=learning_rate_nano,
        warmup_steps=warmup_steps,
        batch_rows=batch_rows,
        sequence=sequence,
    )


def quote(world: World, payer: Address, consents: Sequence[Consent], recipe: Recipe, fee: int) -> Quote:
    """What a job over these consents costs; whether each still holds is for the chain and the keepers to say."""
    if not consents:
        raise InvalidInput("No consent is chosen.", hint="`allod consent list` shows those you hold.")
    return quote_job(
        [licence_for(world, consent) for consent in consents],
        recipe,
        payer=payer,
        runner=world.runner.account.address,
        fee=fee,
        committee=world.committee,
        deployment=world.deployment,
        now=world.chain.block().timestamp,
    )


def begin(world: World, found: Quote, *, folder: str | None = None) -> tuple[JobRow, Workspace]:
    """Give a quoted job its folder (of the name `folder`, if given) and number; no money moves."""
    job = new_job(world.site(), found, name=folder)
    return world.jobs.add(job.folder.name, found.payer), job


def job_of(world: World, name: str) -> tuple[JobRow, Workspace]:
    """A job of this home by its number or the start of its id."""
    row = world.jobs.find(name)
    return row, Workspace(world.home / "jobs" / row.folder)


def fund_runner(world: World) -> None:
    """On a development chain, give the runner gas for its one transaction; elsewhere its operator does."""
    account = world.runner.account
    if world.chain.is_development and world.chain.balance(account.address) < RUNNER_GAS // 10:
        world.chain.send(world.developer, account.address, value=RUNNER_GAS)


def take_offer(world: World, trainer: Account, offer: SignedConsent) -> ConsentId:
    """Take an open offer in a transaction of the trainer's own."""
    granting.check_signature(world.market, offer)
    consent_id, sent = granting.take(world.market, trainer, offer)
    world.remember(sent)
    return consent_id


def find_consent(world: World, name: str, trainer: Address | None = None) -> SignedConsent:
    """A known consent by its number in the list, or the start of its token id (for this holder) or of its digest."""
    found = []
    for number, row in enumerate(world.consents.consents(), start=1):
        signed = read_row(row)
        if name == str(number):
            return signed
        names = ["0x" + row.digest.hex()]
        holder = signed.consent.grantee if not signed.consent.is_offer else trainer
        if holder is not None:
            names.append("0x" + granting.consent_id(world.market, signed.consent, holder).hex())
        if len(name) >= 6 and any(known.startswith(name.lower()) for known in names):
            found.append(signed)
    if len(found) != 1:
        raise NotFound(f"No single consent is called {name}.", hint="`allod consent list` shows them.")
    return found[0]
