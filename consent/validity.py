"""Valid for a job: every condition of DESIGN §4.5, as pure functions over facts that the caller read itself.

Each returns the reasons why not, one sentence each, fit to be shown to people; an empty list is the only yes. Keepers,
runners and trainers use the same functions, so what a quote promises is what a keeper grants.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from consent.grant import Consent
from consent.order import Order
from consent.recipe import Recipe
from consent.terms import Counts, Terms, allows, quote
from consent.tree import FEE, SumTree
from core.errors import InvalidInput
from core.ids import NOBODY, Address, ConsentId


class TokenStatus(IntEnum):
    """What ConsentToken.status answers."""

    LIVE = 0
    NEVER_MINTED = 1
    BURNED = 2
    OTHER_EPOCH = 3
    NONCE_REVOKED = 4
    NOT_YET = 5
    EXPIRED = 6
    USED_UP = 7


_STATUS_REASONS = {
    TokenStatus.NEVER_MINTED: "This consent was never granted on chain.",
    TokenStatus.BURNED: "The owner revoked this consent, or its holder gave it back.",
    TokenStatus.OTHER_EPOCH: "The owner revoked all consents of this consent's epoch.",
    TokenStatus.NONCE_REVOKED: "The owner revoked this consent.",
    TokenStatus.NOT_YET: "This consent is not valid yet.",
    TokenStatus.EXPIRED: "This consent has expired.",
    TokenStatus.USED_UP: "This consent's uses are all spent.",
}


def check_token(statuses: Iterable[int], *, counted: bool) -> list[str]:
    """Why a token with these on-chain statuses (one per block that was read) is not live.

    `counted` says that the job in question took one of its uses: then "used up" may be that very use.
    """
    reasons: list[str] = []
    seen = False
    for status in statuses:
        seen = True
        if status == TokenStatus.LIVE or (counted and status == TokenStatus.USED_UP):
            continue
        known = status in TokenStatus.__members__.values()
        reason = _STATUS_REASONS[TokenStatus(status)] if known else "The chain gave a status that is not known here."
        if reason not in reasons:
            reasons.append(reason)
    return reasons if seen else ["Nobody asked the chain about this consent."]


def check_licence(
    consent: Consent,
    terms: Terms,
    recipe: Recipe,
    *,
    runner: Address,
    escrow: Address,
    committee: bytes,
    times: Iterable[int],
) -> list[str]:
    """Why consent and terms do not fit a job of this recipe, runner, escrow and committee at any of these times.

    `times` are Unix seconds: block times and the reader's own clock.
    """
    reasons = []
    if terms.hash != consent.terms:
        reasons.append("The terms are not those that the owner signed.")
    if consent.purpose != recipe.purpose:
        reasons.append("The owner consented to another purpose.")
    reasons += allows(terms, recipe)
    if consent.runner not in (NOBODY, runner) or terms.runner not in (NOBODY, runner):
        reasons.append("The owner allows another runner only.")
    if consent.escrow != escrow:
        reasons.append("The owner is paid through another escrow.")
    if terms.committee != committee:
        reasons.append("The terms name another committee of keepers.")
    if terms.max_uses and not 0 < consent.max_uses <= terms.max_uses:
        reasons.append("The consent allows more uses than its terms.")
    moments = list(times)
    if not moments:
        reasons.append("Nobody read the time.")
    if any(moment < consent.not_before for moment in moments):
        reasons.append("This consent is not valid yet.")
    if any(moment >= consent.expiry for moment in moments):
        reasons.append("This consent has expired.")
    if any(moment >= terms.expiry for moment in moments):
        reasons.append("The terms have expired.")
    return reasons


def check_tree(order: Order, tree: SumTree) -> list[str]:
    """Why this is not the whole opening tree of the order, with the runner's fee as the order states it."""
    if tree.root != order.root:
        return ["The tree of payments is not the one that the job was opened with."]
    index = tree.find(FEE)
    fee = tree.leaves[index].amount if index is not None else 0
    if fee != order.fee or (index is not None and tree.leaves[index].payee != order.runner):
        return ["The tree pays another fee than the order, or pays it to another account than the runner's."]
    return []


def check_leaf(consent_id: ConsentId, terms: Terms, recipe: Recipe, counts: Counts, tree: SumTree) -> list[str]:
    """Why the tree does not pay for this consent exactly what its terms ask, to the payee they name."""
    index = tree.find(consent_id)
    if index is None:
        return ["The job pays nothing for this consent."]
    leaf = tree.leaves[index]
    try:
        due = quote(terms, recipe, counts)
    except InvalidInput as error:
        return [error.message]
    if leaf.amount != due:
        return [f"The job pays {leaf.amount} for this consent; its terms ask {due}."]
    if leaf.payee != terms.payee:
        return ["The job pays for this consent to another account than its terms name."]
    return []


def check_consent(
    consent: Consent,
    holder: Address,
    *,
    token: Address,
    order: Order,
    terms: Terms,
    recipe: Recipe,
    counts: Counts,
    tree: SumTree,
    statuses: Iterable[int],
    times: Iterable[int],
) -> list[str]:
    """Every reason why this consent is not valid for this job; empty only if all of DESIGN §4.5 holds.

    `token` is the ConsentToken's address, `counts` come from the dataset's verified header, `statuses` are
    ConsentToken.status(consent, holder) at each block that was read, `times` those blocks' times and the own clock.
    """
    if holder != order.payer:
        return ["The consent's holder is not the payer of this job."]
    if consent.grantee not in (NOBODY, holder):
        return ["The owner consented to another trainer."]
    reasons = []
    consent_id = consent.id(order.chain_id, token, holder)
    if recipe.hash != order.recipe_hash:
        reasons.append("The recipe is not the one that the job was opened with.")
    counted = consent_id in order.counted
    if consent.max_uses and not counted:
        reasons.append("The consent limits its uses, and the job did not count this one.")
    reasons += check_token(statuses, counted=counted)
    reasons += check_licence(
        consent,
        terms,
        recipe,
        runner=order.runner,
        escrow=order.escrow,
        committee=order.committee,
        times=times,
    )
    reasons += check_tree(order, tree)
    reasons += check_leaf(consent_id, terms, recipe, counts, tree)
    return reasons
