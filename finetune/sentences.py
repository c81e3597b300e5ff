"""The sentences of a verification report, each a small function that returns its evidence or breaks.

A sentence relies on the chain, on hashes and on signatures; what the bundle says of itself is only ever the thing
compared. The order is the way of one file: chain, committee, order, money, consents, releases, statement, adapter.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from consent.chain.account import recover
from consent.chain.client import Chain
from consent.history import History, Life
from consent.recipe import Recipe
from consent.tree import FEE, Leaf, SumTree
from consent.typed import keccak
from consent.validity import check_leaf, check_licence, check_tree
from core.encoding import encode_json, to_hex
from core.errors import AllodError, InvalidInput, VerificationFailed
from core.ids import ConsentId
from finetune.envelope import pre_authentication
from finetune.ledger import owed
from finetune.modelsign import PUBLIC_KEY_FILE, SIGNATURE_FILE
from finetune.provenance import ADAPTER, shares_of, statement_hash
from vault.blocks import BlockStore

if TYPE_CHECKING:
    from finetune.verify import Evidence, Trust


@dataclass(frozen=True)
class Case:
    """What one verification works with: the bundle, the chain's history, and what the verifier trusts."""

    evidence: Evidence
    chain: Chain
    history: History
    trust: Trust
    blocks: BlockStore | None


def require(holds: bool, why: str) -> None:
    """The sentence breaks here, for this reason."""
    if not holds:
        raise VerificationFailed(why)


def check_place(case: Case) -> str:
    """The order names the chain and the escrow that the verifier accepts, and the endpoint serves that chain."""
    order, trust = case.evidence.order, case.trust
    require(order.chain_id == trust.chain_id, f"The job is on chain {order.chain_id}, not {trust.chain_id}.")
    require(case.chain.check_chain_id() == trust.chain_id, "The RPC endpoint serves another chain.")
    require(order.escrow == trust.escrow, f"The job's escrow {to_hex(order.escrow)} is not the one you accept.")
    for name, address in (("registry", trust.registry), ("token", trust.consent_token), ("escrow", trust.escrow)):
        require(bool(case.chain.code(address)), f"There is no {name} contract at {to_hex(address)}.")
    return f"chain {order.chain_id}, escrow {to_hex(order.escrow)}"


def check_committee(case: Case) -> str:
    """The committee is one that the verifier accepts; every keeper signed its document; the order names it."""
    committee = case.evidence.committee
    committee.verify()
    require(committee.hash in case.trust.committees, "The job's keepers are not a committee that you accept.")
    require(committee.hash == case.evidence.order.committee, "The order names other keepers than the document.")
    return f"{committee.t} of {committee.n} keepers release, {committee.q} settle"


def check_order(case: Case) -> str:
    """The escrow opened exactly this order: same payer, lane, runner, recipe, job key, committee, tree."""
    order = case.evidence.order
    opened = case.history.opening(order)
    require(opened is not None, f"The escrow never opened a job {to_hex(order.job_id)}.")
    assert opened is not None
    return f"job {to_hex(order.job_id)} in block {opened.block_number}, transaction {to_hex(opened.tx_hash)}"


def check_recipe(case: Case) -> str:
    """The recipe in the bundle is the one that the job committed to."""
    recipe = case.evidence.recipe
    require(recipe.hash == case.evidence.order.recipe_hash, "The job was opened with another recipe.")
    return f"recipe {to_hex(recipe.hash)} on base model {to_hex(recipe.base_hash)}"


def check_opening(case: Case) -> str:
    """The opening tree is whole, pays the fee of the order, and its sum is what the escrow locked."""
    order, tree = case.evidence.order, case.evidence.opening
    for reason in check_tree(order, tree):
        require(False, reason)
    return f"{len(tree.leaves)} leaves, {tree.total} UNITs locked"


def check_settlement(case: Case) -> str:
    """What the chain pays is the final tree of the bundle; only the keepers' statement lowered it."""
    order, final, opening = case.evidence.order, case.evidence.final, case.evidence.opening
    settled = case.history.settlements(order)
    require(len(settled) <= 1, "The chain settled this job more than once.")
    root = settled[0].args["root"] if settled else order.root
    require(final.root == root, "The chain pays another tree than the bundle shows.")
    require(len(final.leaves) == len(opening.leaves), "The final tree has other leaves than the opening tree.")
    for before, after in zip(opening.leaves, final.leaves, strict=True):
        same = before.consent_id == after.consent_id and before.payee == after.payee and after.amount <= before.amount
        require(same, "The final tree moves or raises a leaf of the opening tree.")
    if not settled:
        return "nobody confirmed or settled: the opening tree stands"
    return f"{final.total} of {opening.total} UNITs are paid, {opening.total - final.total} were refunded"


def check_datasets(case: Case) -> str:
    """Every paid asset was put on chain by its owner, and its documents follow from its id."""
    for leaf in case.evidence.paid:
        licence = case.evidence.licence(leaf.consent_id)
        licence.check()
        consent = licence.consent
        require(
            case.history.registration(consent.owner, consent.asset) is not None,
            f"No owner registered the asset {to_hex(consent.asset)}.",
        )
    return f"{len(case.evidence.paid)} datasets"


def check_consents(case: Case) -> str:
    """Every paid consent was granted on chain to this payer and lived when each key was released."""
    order = case.evidence.order
    released = _releases(case)
    for leaf in case.evidence.paid:
        consent = case.evidence.licence(leaf.consent_id).consent
        derived = consent.id(order.chain_id, case.trust.consent_token, order.payer)
        require(
            derived == leaf.consent_id, f"The tree pays {to_hex(leaf.consent_id)}, which is no consent of its owner."
        )
        if consent.max_uses:
            require(leaf.consent_id in order.counted, "The job did not count a consent that limits its uses.")
        life = case.history.life(consent, order.payer)
        ended_since = case.history.nonce_ended(consent)
        for block in released.get(leaf.consent_id, []):
            _require_live(life, leaf, block)
            # The bits of revoke_nonces leave no log. Set now, they may have been set later: the state at that block
            # says so where the node keeps it; elsewhere the keepers' signed receipts are the only witness.
            if ended_since and case.history.nonce_ended(consent, block):
                require(
                    False, f"{to_hex(leaf.consent_id)} had ended before its keys were released: its nonce was revoked."
                )
    return ", ".join(to_hex(leaf.consent_id) for leaf in case.evidence.paid) or "none was paid"


def _require_live(life: Life, leaf: Leaf, block: int) -> None:
    name = to_hex(leaf.consent_id)
    require(life.minted is not None, f"The consent {name} was never granted on chain.")
    assert life.minted is not None
    require(life.minted <= block, f"The consent {name} was granted only after its keys were released.")
    for ended, reason in life.ends:
        require(ended > block, f"The consent {name} had ended before its keys were released: {reason}.")


def check_terms(case: Case) -> str:
    """The owner's terms allow this recipe, runner and committee, and each leaf pays exactly what they ask."""
    order, recipe = case.evidence.order, case.evidence.recipe
    moments = {block: case.chain.block(block).timestamp for blocks in _releases(case).values() for block in blocks}
    released = _releases(case)
    for leaf in case.evidence.paid:
        licence = case.evidence.licence(leaf.consent_id)
        times = [moments[block] for block in released.get(leaf.consent_id, [])] or [order.opened]
        reasons = check_licence(
            licence.consent,
            licence.terms,
            recipe,
            runner=order.runner,
            escrow=order.escrow,
            committee=order.committee,
            times=times,
        )
        reasons += check_leaf(leaf.consent_id, licence.terms, recipe, licence.counts, case.evidence.opening)
        require(not reasons, " ".join(reasons))
    return f"{sum(leaf.amount for leaf in case.evidence.paid)} UNITs for the owners"


def _releases(case: Case) -> dict[ConsentId, list[int]]:
    """For each consent the numbers of the blocks by which keepers released its keys."""
    committee, order = case.evidence.committee, case.evidence.order
    out: dict[ConsentId, list[int]] = defaultdict(list)
    for receipt in case.evidence.receipts:
        require(receipt.job == order.job_id, "A receipt is for another job.")
        require(1 <= receipt.keeper <= committee.n, "A receipt is of no keeper of this committee.")
        receipt.verify(order.chain_id, order.escrow, committee.addresses[receipt.keeper - 1])
        for block_hash in (receipt.safe, receipt.latest):
            block = case.chain.block(block_hash)
            require(
                case.chain.block(block.number).hash == block_hash, "A receipt names a block that the chain dropped."
            )
            require(block.timestamp >= order.opened, "A receipt names a block from before the job.")
            out[receipt.consent].append(block.number)
    return out


def check_releases(case: Case) -> str:
    """For every paid consent at least t different keepers signed that they released to this job."""
    committee = case.evidence.committee
    _releases(case)
    keepers: dict[ConsentId, set[int]] = defaultdict(set)
    for receipt in case.evidence.receipts:
        keepers[receipt.consent].add(receipt.keeper)
    for leaf in case.evidence.paid:
        signed = len(keepers[leaf.consent_id])
        name = to_hex(leaf.consent_id)
        require(signed >= committee.t, f"{signed} keepers signed a release for {name}; it takes {committee.t}.")
    return f"{len(case.evidence.receipts)} receipts"


def check_ledger(case: Case) -> str:
    """The ledger replays, follows the signed plan, and every amount is what it and the terms ask."""
    evidence = case.evidence
    order, plan, tally = evidence.order, evidence.plan, evidence.tally
    require(plan.job == order.job_id and plan.recipe == order.recipe_hash, "The plan is for another job.")
    require(tally.plan == plan.hash(), "The ledger follows another plan.")
    signature = evidence.plan_signature
    require(recover(plan.hash(), signature) == order.runner, "The runner did not sign the plan.")
    paid = {leaf.consent_id for leaf in evidence.paid}
    for item in plan.objects:
        require(item.consent in paid, f"The plan trains on {to_hex(item.consent)}, which is not paid.")
        licence = evidence.licence(item.consent)
        require(item.object_id in licence.object_ids, "The plan trains on an object outside of a licensed dataset.")
    for leaf in evidence.paid:
        licence = evidence.licence(leaf.consent_id)
        opening = _amount(evidence.opening, leaf.consent_id)
        dropped = leaf.consent_id in tally.dropped
        terms = licence.terms
        least = owed(terms.flat, terms.per_record_epoch, tally.owed(leaf.consent_id), opening) if dropped else opening
        require(leaf.amount >= least, f"{to_hex(leaf.consent_id)} is paid {leaf.amount} UNITs and is owed {least}.")
    return f"{tally.entries} entries, root {to_hex(tally.root())}"


def _amount(tree: SumTree, consent: ConsentId) -> int:
    index = tree.find(consent)
    require(index is not None, f"The opening tree does not pay {to_hex(consent)}.")
    assert index is not None
    return tree.leaves[index].amount


def check_statement(case: Case) -> str:
    """The runner of the order signed this statement, and it is the one statement that the chain has for this job."""
    order = case.evidence.order
    envelope, document = case.evidence.statement
    signer = _signer(envelope)
    require(signer == order.runner, "The statement is not signed by the runner that the job was opened with.")
    settled = case.history.settlements(order)
    require(bool(settled), "Nobody posted a statement for this job: the adapter is unvouched.")
    digest = statement_hash(case.evidence.provenance or b"")
    require(settled[0].args["statement"] == digest, "The chain has another statement for this job than this one.")
    job = document["predicate"]["buildDefinition"]["externalParameters"]["job"]
    require(job == to_hex(order.job_id), "The statement is about another job.")
    return f"sha256 {digest.hex()} in transaction {to_hex(settled[0].tx_hash)}"


def _signer(envelope: Any) -> bytes | None:
    try:
        return recover(keccak(envelope.signed), envelope.signature)
    except InvalidInput:
        return None


def check_recipe_stated(case: Case) -> str:
    """The statement speaks of the recipe and base model that the job committed to."""
    build = _predicate(case)["buildDefinition"]
    stated = Recipe.decode(encode_json(build["externalParameters"]["recipe"]))
    require(stated.hash == case.evidence.order.recipe_hash, "The statement names another recipe than the job's.")
    base = build["resolvedDependencies"][0]["digest"]["sha256"]
    require(base == stated.base_hash.hex(), "The statement names another base model than its recipe.")
    return f"base model {stated.base_name}"


def check_payees(case: Case) -> str:
    """The statement lists exactly the owners that the chain pays, with the tree's amounts and the ledger's counts."""
    evidence = case.evidence
    stated = _predicate(case)["owners"]
    licences = {leaf.consent_id: evidence.licence(leaf.consent_id) for leaf in evidence.paid}
    plan_bytes = evidence.plan.encode()
    expected = [share.document() for share in shares_of(evidence.final, licences, evidence.tally, plan_bytes)]
    named = {row.get("consent") for row in stated}
    for row in expected:
        require(row["consent"] in named, f"The statement leaves out {row['consent']}, which the chain pays.")
    for row in stated:
        match = [one for one in expected if one["consent"] == row.get("consent")]
        require(
            bool(match), f"The statement names {row.get('consent')}, which no consent and no payment stands behind."
        )
        for key, value in match[0].items():
            require(
                row.get(key) == value, f"The statement says {key} {row.get(key)} for {row['consent']}; it is {value}."
            )
    require(len(stated) == len(expected), "The statement names an owner twice.")
    fee = evidence.final.find(FEE)
    amount = evidence.final.leaves[fee].amount if fee is not None else 0
    require(_predicate(case)["fee"] == str(amount), "The statement names another fee than the tree.")
    ledger = _predicate(case)["buildDefinition"]["internalParameters"]
    require(ledger["ledger"]["root"] == to_hex(evidence.tally.root()), "The statement names another ledger.")
    require(ledger["plan"] == to_hex(evidence.plan.hash()), "The statement names another plan.")
    return f"{len(expected)} owners"


def check_adapter(case: Case) -> str:
    """Every file of the adapter is the one that the statement names, and no other is there."""
    _, document = case.evidence.statement
    stated = {item["name"]: item["digest"]["sha256"] for item in document["subject"]}
    folder = case.evidence.bundle / ADAPTER
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[f"{ADAPTER}/{path.relative_to(folder).as_posix()}"] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    for name, digest in stated.items():
        require(name in found, f"The bundle lacks {name}.")
        require(found[name] == digest, f"{name} is not the file that the runner vouched for.")
    require(set(found) == set(stated), "The adapter holds a file that the statement does not name.")
    return ", ".join(f"{name} {digest[:16]}…" for name, digest in sorted(stated.items()))


def check_model_signature(case: Case) -> str:
    """The OpenSSF signature covers these files, under the key that the statement vouches for."""
    bundle = case.evidence.bundle
    pem = (bundle / PUBLIC_KEY_FILE).read_bytes() if (bundle / PUBLIC_KEY_FILE).exists() else b""
    require(pem.decode("ascii", "replace") == _predicate(case)["modelKey"], "The model key is not the one vouched for.")
    _, document = case.evidence.statement
    try:
        signed = decode_signature((bundle / SIGNATURE_FILE).read_bytes(), pem)
    except (OSError, ValueError, KeyError, TypeError, IndexError, InvalidSignature, AllodError):
        require(False, "The model signature does not verify.")
    resources = {f"{ADAPTER}/{item['name']}": item["digest"] for item in signed["predicate"]["resources"]}
    stated = {item["name"]: item["digest"]["sha256"] for item in document["subject"]}
    require(resources == stated, "The model signature covers other files than the statement.")
    return "P-256, as `model_signing verify key` checks it"


def decode_signature(data: bytes, pem: bytes) -> dict[str, Any]:
    """The in-toto statement inside a model signature, after verifying it under the key of `pem`."""
    import base64
    import json

    envelope = json.loads(data)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"], validate=True)
    signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidInput("The model key is not an elliptic curve key.")
    key.verify(signature, pre_authentication(envelope["payloadType"], payload), ec.ECDSA(hashes.SHA256()))
    return json.loads(payload)  # type: ignore[no-any-return]


def check_blocks(case: Case) -> str:
    """The sealed objects that the plan names lie in the block store, whole at their roots."""
    if case.blocks is None:
        return "no block store was given: not looked at"
    from vault.unixfs import leaf_cids

    for leaf in case.evidence.paid:
        for manifest in case.evidence.licence(leaf.consent_id).objects:
            missing = case.blocks.missing(leaf_cids(manifest.payload, case.blocks))
            require(not missing, f"The block store lacks {len(missing)} blocks of {manifest.payload}.")
    return f"{sum(len(case.evidence.licence(leaf.consent_id).objects) for leaf in case.evidence.paid)} objects"


def _predicate(case: Case) -> dict[str, Any]:
    return case.evidence.statement[1]["predicate"]  # type: ignore[no-any-return]


Check = Callable[[Case], str]
ALWAYS: tuple[tuple[str, str, Check], ...] = (
    ("place", "The job is on the chain and in the contracts that you accept.", check_place),
    ("committee", "Its keepers are a committee that you accept, and each signed its document.", check_committee),
    ("order", "The escrow opened exactly this job.", check_order),
    ("recipe", "The recipe is the one that the job committed to.", check_recipe),
    ("opening", "The opening tree is whole, and its sum was locked.", check_opening),
    ("settlement", "The chain pays the final tree shown here.", check_settlement),
    ("datasets", "Every paid dataset was registered by its owner.", check_datasets),
    ("consents", "Every paid owner's consent token was live when keys were released.", check_consents),
    ("terms", "The owners' terms allow this job, and it pays exactly what they ask.", check_terms),
    ("releases", "Enough keepers signed for every release.", check_releases),
    ("blocks", "The sealed objects are there.", check_blocks),
)
VOUCHED: tuple[tuple[str, str, Check], ...] = (
    ("ledger", "The ledger replays, and every owner is paid what it says is owed.", check_ledger),
    ("statement", "The runner signed this statement, and the chain has it as the only one.", check_statement),
    ("stated recipe", "The statement names the job's recipe and base model.", check_recipe_stated),
    ("payees", "The statement names exactly the paid owners, with the right amounts.", check_payees),
    ("adapter", "The adapter's files are those that the runner vouched for.", check_adapter),
    ("model signature", "The OpenSSF model signature covers them under the vouched key.", check_model_signature),
)
