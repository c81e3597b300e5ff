"""The quote: who is paid how much for a recipe, before any money moves.

A pure function of the licences, the recipe and the clock. What does not fit is left out with its reasons; what fits
is exactly the opening tree, so the quote and the escrow can never differ. Whether a consent still holds is for the
chain to say, and for keepers when the job runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from consent.committee import Committee
from consent.recipe import Recipe
from consent.terms import quote as price_of
from consent.tree import FEE, Leaf, SumTree
from consent.validity import check_licence
from core.errors import AllodError, InvalidInput, Refused
from core.ids import NOBODY, Address, ConsentId
from finetune.frames import MAX_STEP_TOKENS
from finetune.licence import Licence

if TYPE_CHECKING:
    from consent.chain.deployment import Deployment


@dataclass(frozen=True)
class QuoteLine:
    """One licence's part: its consent's id, who is paid, UNITs, and why it is not in the job (empty: it is)."""

    licence: Licence
    consent_id: ConsentId
    payee: Address
    amount: int
    reasons: tuple[str, ...]

    @property
    def counted(self) -> bool:
        """Whether opening the job spends one of the consent's uses."""
        return self.licence.consent.max_uses != 0


@dataclass(frozen=True)
class Quote:
    """What a job costs. `lines` are all licences in the order of their consent ids; `tree` pays those that fit."""

    recipe: Recipe
    payer: Address
    runner: Address
    fee: int
    committee: Committee
    lines: tuple[QuoteLine, ...]
    tree: SumTree

    @property
    def accepted(self) -> tuple[QuoteLine, ...]:
        """The lines that the job pays."""
        return tuple(line for line in self.lines if not line.reasons)

    @property
    def rejected(self) -> tuple[QuoteLine, ...]:
        """The lines that do not fit, each with its reasons."""
        return tuple(line for line in self.lines if line.reasons)

    @property
    def total(self) -> int:
        """What the payer locks, in UNITs."""
        return self.tree.total

    @property
    def counted(self) -> tuple[ConsentId, ...]:
        """Consents with limited uses, as `open` takes them."""
        return tuple(line.consent_id for line in self.accepted if line.counted)


def quote_job(
    licences: Sequence[Licence],
    recipe: Recipe,
    *,
    payer: Address,
    runner: Address,
    fee: int,
    committee: Committee,
    deployment: Deployment,
    now: int,
) -> Quote:
    """Quote `recipe` over `licences`; `fee` in UNITs goes to `runner`, `now` is Unix seconds.

    `Refused` if no licence fits, with the reasons in its detail; `InvalidInput` for steps too large to be fed.
    """
    if recipe.batch_rows * recipe.sequence > MAX_STEP_TOKENS:
        raise InvalidInput(
            f"A step of {recipe.batch_rows} rows of {recipe.sequence} tokens is more than a trainer takes at once.",
            hint=f"Choose rows and sequence so that a step has at most {MAX_STEP_TOKENS} tokens.",
        )
    lines = []
    for licence in licences:
        consent_id = licence.consent.id(
            deployment.chain_id,
            deployment.consent_token,
            licence.consent.grantee if not licence.consent.is_offer else payer,
        )
        lines.append(_line(licence, consent_id, recipe, payer, runner, committee, deployment.escrow, now))
    lines.sort(key=lambda line: line.consent_id)
    lines = [_once(line, lines[:index]) for index, line in enumerate(lines)]
    leaves = [Leaf(line.consent_id, line.payee, line.amount) for line in lines if not line.reasons]
    if not leaves:
        why = " ".join(sorted({reason for line in lines for reason in line.reasons}))
        raise Refused(
            f"No consent fits this job. {why}".strip(),
            hint="Change the recipe, or ask the owners for other terms.",
            reasons={line.consent_id.hex(): list(line.reasons) for line in lines},
        )
    # The fee's id is 32 zero bytes, so it stands first wherever leaves are sorted.
    tree = SumTree([*([Leaf(FEE, runner, fee)] if fee else []), *leaves])
    return Quote(recipe, payer, runner, fee, committee, tuple(lines), tree)


def _line(
    licence: Licence,
    consent_id: ConsentId,
    recipe: Recipe,
    payer: Address,
    runner: Address,
    committee: Committee,
    escrow: Address,
    now: int,
) -> QuoteLine:
    consent = licence.consent
    try:
        licence.check()
        terms = licence.terms
        amount = price_of(terms, recipe, licence.counts)
    except AllodError as error:
        return QuoteLine(licence, consent_id, NOBODY, 0, (error.message,))
    reasons = check_licence(consent, terms, recipe, runner=runner, escrow=escrow, committee=committee.hash, times=[now])
    if consent.grantee not in (NOBODY, payer):
        reasons.append("The owner consented to another trainer.")
    if licence.table.head.committee_id != committee.id:
        reasons.append("The keys were shared with another epoch of the committee; the owner must share them again.")
    return QuoteLine(licence, consent_id, terms.payee, amount, tuple(reasons))


def _once(line: QuoteLine, before: Sequence[QuoteLine]) -> QuoteLine:
    if any(other.consent_id == line.consent_id for other in before):
        return QuoteLine(line.licence, line.consent_id, line.payee, line.amount, ("The consent is listed twice.",))
    return line
