"""The sentences of a verification report about a job itself: contracts, order, money, consents, releases.

Each is a small function that returns its evidence or raises. It relies on the chain, on hashes and on signatures; what
the bundle says of itself is only ever the thing compared. `vouching` has the sentences about the runner's statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from consent.chain.client import Block, Chain
from consent.chain.contract import Event
from consent.grant import Consent
from consent.history import History, Life
from consent.keeper.receipt import Receipt
from consent.tree import FEE, Leaf, SumTree
from consent.validity import check_leaf, check_licence, check_tree
from core.encoding import to_hex
from core.errors import AllodError, NotFound, VerificationFailed
from core.ids import ConsentId
from finetune.bundle import Bundle
from vault.blocks import BlockStore
from vault.unixfs import leaf_cids

if TYPE_CHECKING:
    from finetune.verify import Trust


@dataclass(frozen=True)
class Case:
    """What one verification works with: the bundle, the chain's history, and what the verifier trusts."""

    bundle: Bundle
    chain: Chain
    history: History
    trust: Trust
    blocks: BlockStore | None

    @cached_property
    def settlement(self) -> Event | None:
        """The job's Settled event, if it has one."""
        return self.history.settlement(self.bundle.order)

    @cached_property
    def opened(self) -> Event | None:
        """The job's Opened event, if the escrow ever opened exactly this order."""
        return self.history.opening(self.bundle.order)

    @cached_property
    def lives(self) -> dict[ConsentId, Life]:
        """What the chain's logs say of the consents' tokens."""
        return self.history.lives(self.consents, self.bundle.order.payer)

    @property
    def paid_root(self) -> int:
        """The root of the tree that the chain pays."""
        return self.bundle.order.root if self.settlement is None else int(self.settlement.args["root"])

    @property
    def final(self) -> SumTree:
        """The tree that the bundle shows as paid; `settlement` says whether it is."""
        return self.bundle.final

    @property
    def leaves(self) -> list[Leaf]:
        """The owners' leaves of the opening tree."""
        return [leaf for leaf in self.bundle.opening.leaves if leaf.consent_id != FEE]

    @cached_property
    def consents(self) -> dict[ConsentId, Consent]:
        """The consents of those leaves, as their licences show them."""
        return {leaf.consent_id: self.bundle.licence(leaf.consent_id).consent for leaf in self.leaves}

    @property
    def paid(self) -> dict[ConsentId, int]:
        """What the final tree pays for each consent, in UNITs."""
        return {leaf.consent_id: leaf.amount for leaf in self.final.leaves if leaf.consent_id != FEE}

    @cached_property
    def planned(self) -> frozenset[ConsentId]:
        """The consents whose data the plan trains on, if the bundle has a plan."""
        return frozenset(item.consent for item in self.bundle.plan.objects) if self.bundle.has_plan else frozenset()

    @cached_property
    def receipts(self) -> Receipts:
        """The keepers' receipts, each checked on its own."""
        return _check_receipts(self)


@dataclass(frozen=True)
class Receipts:
    """The receipts that hold, by consent, with the blocks that each names; and why the others do not hold."""

    good: dict[ConsentId, list[tuple[int, tuple[Block, Block]]]]
    wrong: tuple[str, ...]

    def blocks(self, consent: ConsentId) -> list[Block]:
        """The blocks by which keepers released this consent's shares, oldest first, each once."""
        found = {block.number: block for _, blocks in self.good.get(consent, []) for block in blocks}
        return [found[number] for number in sorted(found)]

    def keepers(self, consent: ConsentId) -> set[int]:
        """The keepers who signed a release for this consent."""
        return {keeper for keeper, _ in self.good.get(consent, [])}


def many(count: int, one: str, more: str = "") -> str:
    """`1 dataset`, `2 datasets`."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def require(holds: bool, why: str) -> None:
    """The sentence breaks here, for this reason."""
    if not holds:
        raise VerificationFailed(why)


def _check_receipts(case: Case) -> Receipts:
    blocks: dict[bytes, Block] = {}
    good: dict[ConsentId, list[tuple[int, tuple[Block, Block]]]] = {}
    wrong = []
    for receipt in case.bundle.receipts:
        try:
            pair = _check_receipt(case, receipt, blocks)
        except AllodError as error:
            wrong.append(error.message)
        else:
            good.setdefault(receipt.consent, []).append((receipt.keeper, pair))
    return Receipts(good, tuple(wrong))


def _check_receipt(case: Case, receipt: Receipt, known: dict[bytes, Block]) -> tuple[Block, Block]:
    order, committee = case.bundle.order, case.bundle.committee
    require(receipt.job == order.job_id, "A receipt is for another job.")
    require(receipt.keeper <= committee.n, "A receipt is of no keeper of this committee.")
    receipt.verify(order.chain_id, order.escrow, committee.addresses[receipt.keeper - 1])
    found = []
    for block_hash in (receipt.safe, receipt.latest):
        if block_hash not in known:
            try:
                block = case.chain.block(block_hash)
                if case.chain.block(block.number).hash != block_hash:
                    raise NotFound("a block that was dropped")
            except NotFound:
                raise VerificationFailed("A receipt names a block that is not on the chain.") from None
            known[block_hash] = block
        block = known[block_hash]
        in_time = order.opened <= block.timestamp < min(order.start, committee.end)
        require(in_time, "A receipt names a block from outside of the time in which this job was open.")
        found.append(block)
    return found[0], found[1]


def check_place(case: Case) -> str:
    """The order names the chain and the escrow that the verifier accepts, and the endpoint serves that chain."""
    order, trust = case.bundle.order, case.trust
    require(case.chain.check_chain_id() == trust.chain_id, f"The RPC endpoint does not serve chain {trust.chain_id}.")
    require(order.chain_id == trust.chain_id, f"The job is on chain {order.chain_id}, not {trust.chain_id}.")
    require(order.escrow == trust.escrow, f"The job's escrow {to_hex(order.escrow)} is not the one you accept.")
    for name, address in (("registry", trust.registry), ("token", trust.consent_token), ("escrow", trust.escrow)):
        require(bool(case.chain.code(address)), f"There is no {name} contract at {to_hex(address)}.")
    return f"chain {order.chain_id}, escrow {to_hex(order.escrow)}"


def check_committee(case: Case) -> str:
    """The committee is one that the verifier accepts; every keeper signed its document; the order names it."""
    committee = case.bundle.committee
    committee.verify()
    require(committee.hash in case.trust.committees, "The job's keepers are not a committee that you accept.")
    require(committee.hash == case.bundle.order.committee, "The order names other keepers than the document.")
    return f"{committee.t} of {committee.n} keepers release, {committee.q} settle"


def check_order(case: Case) -> str:
    """The escrow opened exactly this order: same payer, lane, times, runner, recipe, job key, committee, tree."""
    order = case.bundle.order
    opened = case.opened
    if opened is None:
        raise VerificationFailed(f"The escrow never opened a job {to_hex(order.job_id)}.")
    return f"job {to_hex(order.job_id)} in block {opened.block_number}, transaction {to_hex(opened.tx_hash)}"


def check_recipe(case: Case) -> str:
    """The recipe in the bundle is the one that the job committed to."""
    recipe = case.bundle.recipe
    require(recipe.hash == case.bundle.order.recipe_hash, "The job was opened with another recipe.")
    return f"recipe {to_hex(recipe.hash)} on base model {to_hex(recipe.base_hash)}"


def check_opening(case: Case) -> str:
    """The opening tree is whole, pays the fee of the order, and its sum is what the escrow locked."""
    tree = case.bundle.opening
    reasons = check_tree(case.bundle.order, tree)
    require(not reasons, " ".join(reasons))
    return f"{many(len(tree.leaves), 'leaf', 'leaves')}, {tree.total} UNITs locked"


def check_settlement(case: Case) -> str:
    """What the chain pays is the final tree of the bundle. It has no other leaves, none rose, and released means paid:
    no leaf of which a keeper released a share fell below its flat part.
    """
    final, opening = case.final, case.bundle.opening
    require(final.root == case.paid_root, "The chain pays another tree than the bundle shows.")
    require(len(final.leaves) == len(opening.leaves), "The final tree has other leaves than the opening tree.")
    for before, after in zip(opening.leaves, final.leaves, strict=True):
        same = before.consent_id == after.consent_id and before.payee == after.payee and after.amount <= before.amount
        require(same, "The final tree moves or raises a leaf of the opening tree.")
        if after.amount < before.amount and case.receipts.keepers(before.consent_id):
            flat = min(before.amount, case.bundle.licence(before.consent_id).terms.flat)
            name = to_hex(before.consent_id)
            require(after.amount >= flat, f"Shares of {name} were released, and its owner is paid {after.amount}.")
    if case.settlement is None:
        return f"nobody confirmed or settled: the opening tree of {opening.total} UNITs stands"
    refunded = opening.total - final.total
    return f"{final.total} UNITs of {opening.total} UNITs are paid, {refunded} UNITs were refunded"


def check_datasets(case: Case) -> str:
    """Every dataset of the job was put on chain by its owner, and its documents follow from its id."""
    consents = case.consents
    for consent_id in consents:
        case.bundle.licence(consent_id).check()
    registered = case.history.registered({consent.asset for consent in consents.values()})
    for consent in consents.values():
        known = (consent.owner, consent.asset) in registered
        require(known, f"The owner never registered the dataset {to_hex(consent.asset)}.")
    return many(len(consents), "dataset")


def check_consents(case: Case) -> str:
    """Every consent of the job is its owner's to this payer; one that is paid or trained on was granted on chain, and
    it lived at every block by which a keeper released its keys.
    """
    order, consents, paid, lives = case.bundle.order, case.consents, case.paid, case.lives
    live = 0
    for consent_id, consent in consents.items():
        name = to_hex(consent_id)
        derived = consent.id(order.chain_id, case.trust.consent_token, order.payer)
        require(derived == consent_id, f"The tree pays {name}, which is no consent of its owner to this payer.")
        blocks = case.receipts.blocks(consent_id)
        if blocks or paid.get(consent_id) or consent_id in case.planned:
            require(lives[consent_id].minted is not None, f"The consent {name} was never granted on chain.")
        if blocks:
            counted = not consent.max_uses or consent_id in order.counted
            require(counted, f"The consent {name} limits its uses, and the job did not count this one.")
        for block in blocks:
            reason = lives[consent_id].why_dead(block.number)
            require(reason is None, f"The consent {name} was not live when its keys were released: {reason}.")
        ended = bool(blocks) and case.history.nonce_ended_by(consent, [block.hash for block in blocks])
        require(not ended, f"The consent {name} was not live when its keys were released: its nonce was revoked.")
        live += bool(blocks)
    return f"{many(live, 'consent was', 'consents were')} live when keys were released"


def check_terms(case: Case) -> str:
    """Each leaf of the opening tree pays exactly what the owner's terms ask, and the terms of every consent whose keys
    were released allow this recipe, runner, escrow and committee at that time.
    """
    order, recipe = case.bundle.order, case.bundle.recipe
    total = 0
    for leaf in case.leaves:
        licence = case.bundle.licence(leaf.consent_id)
        reasons = check_leaf(leaf.consent_id, licence.terms, recipe, licence.counts, case.bundle.opening)
        times = [block.timestamp for block in case.receipts.blocks(leaf.consent_id)]
        if times or leaf.consent_id in case.planned:
            reasons += check_licence(
                licence.consent,
                licence.terms,
                recipe,
                runner=order.runner,
                escrow=order.escrow,
                committee=order.committee,
                times=times or [order.opened],
            )
        require(not reasons, f"{to_hex(leaf.consent_id)}: {' '.join(reasons)}")
        total += leaf.amount
    return f"{total} UNITs for the owners"


def check_releases(case: Case) -> str:
    """Every receipt is a keeper's, for this job and for a consent in its tree; of what was trained on t keepers signed
    the release.
    """
    committee, receipts = case.bundle.committee, case.receipts
    require(not receipts.wrong, " ".join(sorted(set(receipts.wrong))))
    leaves = {leaf.consent_id for leaf in case.leaves}
    require(receipts.good.keys() <= leaves, "A receipt is for a consent that is not in the job's tree.")
    for consent_id in case.planned:
        signed = len(receipts.keepers(consent_id))
        name = to_hex(consent_id)
        require(signed >= committee.t, f"{signed} keepers signed a release for {name}; it takes {committee.t}.")
    opened = sum(len(receipts.keepers(consent_id)) >= committee.t for consent_id in leaves)
    silent = len(leaves) - opened
    lacking = f"; for {silent} too few receipts are shown" if silent else ""
    return f"{many(opened, 'dataset was', 'datasets were')} released{lacking}"


def check_blocks(case: Case) -> str:
    """The sealed objects of what was released lie in the block store."""
    if case.blocks is None:
        return "no block store was given: not looked at"
    count = 0
    for leaf in case.leaves:
        if not case.receipts.keepers(leaf.consent_id):
            continue
        for manifest in case.bundle.licence(leaf.consent_id).objects:
            missing = case.blocks.missing(leaf_cids(manifest.payload, case.blocks, manifest.size))
            require(not missing, f"The block store lacks {len(missing)} blocks of {manifest.payload}.")
            count += 1
    return many(count, "object")


Check = Callable[[Case], str]
ALWAYS: tuple[tuple[str, str, Check], ...] = (
    ("place", "The job is on the chain and in the contracts that you accept.", check_place),
    ("committee", "Its keepers are a committee that you accept, and each signed its document.", check_committee),
    ("order", "The escrow opened exactly this job.", check_order),
    ("recipe", "The recipe is the one that the job committed to.", check_recipe),
    ("opening", "The opening tree is whole, and its sum was locked.", check_opening),
    ("settlement", "The chain pays the final tree shown here.", check_settlement),
    ("datasets", "Every dataset was registered by its owner.", check_datasets),
    ("consents", "Every owner's consent token was live when keys were released.", check_consents),
    ("terms", "The owners' terms allow this job, and it pays exactly what they ask.", check_terms),
    ("releases", "Enough keepers signed for every release.", check_releases),
    ("blocks", "The sealed objects are there.", check_blocks),
)
