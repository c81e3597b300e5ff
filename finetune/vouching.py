"""The sentences of a verification report about the runner's word: ledger, statement, adapter, model signature.

The statement is never believed for what can be known otherwise: it must say what order, trees, licences, plan, ledger
and files say. Left to the runner's word are the tokens that bore loss, the held-out losses and the sandbox.
"""

from __future__ import annotations

from typing import Any

from consent.chain.account import recover
from consent.recipe import Recipe
from consent.typed import keccak
from core.encoding import encode_json, to_hex
from core.errors import InvalidInput, VerificationFailed
from core.ids import ConsentId
from finetune.ledger import owed
from finetune.modelsign import LIMIT, PUBLIC_KEY_FILE, SIGNATURE_FILE, verify_model
from finetune.provenance import (
    ADAPTER,
    builder_of,
    dependencies_of,
    fee_of,
    shares_of,
    statement_hash,
)
from finetune.replay import replay
from finetune.sentences import Case, Check, many, require

_PEM = 4096  # bytes
_NO_STATEMENT = bytes(32)


def is_posted(case: Case) -> bool:
    """Whether the chain has a statement of this job."""
    return case.settlement is not None and case.settlement.args["statement"] != _NO_STATEMENT


def check_plan(case: Case) -> str:
    """The runner signed the plan; it is the recipe's, and names objects of datasets in the tree, as their owners
    published them.
    """
    bundle = case.bundle
    order, plan, recipe = bundle.order, bundle.plan, bundle.recipe
    require(_signer(plan.hash(), bundle.plan_signature) == order.runner, "The runner did not sign the plan.")
    require(plan.job == order.job_id and plan.recipe == order.recipe_hash, "The plan is for another job.")
    said = (plan.seed, plan.epochs, plan.sequence, plan.rows)
    asked = (recipe.seed, recipe.epochs, recipe.sequence, recipe.batch_rows)
    require(said == asked, "The plan is not the one that the recipe asks for.")
    licensed = {leaf.consent_id for leaf in case.leaves}
    objects: dict[ConsentId, dict[bytes, Any]] = {}
    for item in plan.objects:
        name = to_hex(item.consent)
        require(item.consent in licensed, f"The plan trains on {name}, for which the job pays nobody.")
        licence = bundle.licence(item.consent)
        known = objects.setdefault(item.consent, {one.object_id: one for one in licence.objects})
        manifest = known.get(item.object_id)
        published = manifest is not None and manifest.payload.link == item.payload
        require(published and item.owner == licence.consent.owner, f"The plan trains on an object outside of {name}.")
    return f"{many(plan.records, 'record')} in {many(len(plan.objects), 'object')}, plan {to_hex(plan.hash())}"


def check_ledger(case: Case) -> str:
    """The ledger is the whole walk through the plan, and no owner is paid less than it and the terms ask."""
    bundle, tally, paid = case.bundle, case.bundle.tally, case.paid
    replay(bundle.plan, bundle.ledger, bundle.order.job_id)
    for leaf in case.leaves:
        name = to_hex(leaf.consent_id)
        if leaf.consent_id in tally.dropped:
            terms = bundle.licence(leaf.consent_id).terms
            least = owed(terms.flat, terms.per_record_epoch, tally.owed(leaf.consent_id), leaf.amount)
        else:
            released = leaf.consent_id in case.planned or case.receipts.keepers(leaf.consent_id)
            least = leaf.amount if released else 0
        amount = paid.get(leaf.consent_id, 0)
        require(amount >= least, f"{name} is paid {amount} UNITs and is owed {least} UNITs.")
    counted = f"{many(tally.entries, 'entry', 'entries')} in {many(tally.attempts, 'attempt')}"
    return f"{counted}, root {to_hex(tally.root())}"


def check_statement(case: Case) -> str:
    """The runner of the order signed this statement, and it is the one statement that the chain has for this job."""
    order = case.bundle.order
    envelope, document = case.bundle.statement
    signer = _signer(keccak(envelope.signed), envelope.signature)
    named = envelope.key_id == to_hex(order.runner)
    require(signer == order.runner and named, "The statement is not signed by the runner that the job names.")
    if not is_posted(case) or case.settlement is None:
        raise VerificationFailed("Nobody posted a statement for this job: nobody vouches for the adapter.")
    digest = statement_hash(case.bundle.provenance)
    require(case.settlement.args["statement"] == digest, "The chain has another statement for this job than this one.")
    job = document["predicate"]["buildDefinition"]["externalParameters"]["job"]
    require(job == to_hex(order.job_id), "The statement is about another job.")
    return f"sha256 {digest.hex()} in transaction {to_hex(case.settlement.tx_hash)}"


def check_recipe_stated(case: Case) -> str:
    """The statement speaks of the recipe, the base model and the runner that the job committed to."""
    predicate = _predicate(case)
    build = predicate["buildDefinition"]
    recipe = Recipe.decode(encode_json(build["externalParameters"]["recipe"]))
    require(recipe.hash == case.bundle.order.recipe_hash, "The statement names another recipe than the job's.")
    base = dependencies_of(recipe, [])[0]
    require(build["resolvedDependencies"][0] == base, "The statement names another base model than its recipe.")
    require(predicate["runDetails"] == builder_of(case.bundle.order), "The statement names another runner or job.")
    return f"base model {recipe.base_name}"


def check_payees(case: Case) -> str:
    """The statement lists exactly the owners of the job, with the final tree's amounts and the ledger's counts."""
    bundle, predicate = case.bundle, _predicate(case)
    stated = predicate["owners"]
    shares = shares_of(case.final, case.consents, bundle.tally, bundle.plan)
    expected = [share.document() for share in shares]
    named = {row["consent"] for row in stated}
    for row in expected:
        require(row["consent"] in named, f"The statement leaves out {row['consent']}.")
    known = {row["consent"]: row for row in expected}
    for row in stated:
        require(row["consent"] in known, f"The statement names {row['consent']!s:.80}, which the job does not have.")
        for key, value in known[row["consent"]].items():
            told = row.get(key)
            require(told == value, f"The statement says {key} {told!s:.80} for {row['consent']}; it is {value}.")
    require(stated == expected, "The statement lists the owners twice, in another order or with more than is known.")
    require(predicate["fee"] == str(fee_of(case.final)), "The statement names another fee than the tree.")
    build = predicate["buildDefinition"]
    assets = dependencies_of(bundle.recipe, shares)[1:]
    require(build["resolvedDependencies"][1:] == assets, "The statement names other datasets than its owners'.")
    internal, tally = build["internalParameters"], bundle.tally
    ledger = {"root": to_hex(tally.root()), "entries": tally.entries, "attempts": tally.attempts}
    require(internal["ledger"] == ledger, "The statement names another ledger.")
    require(internal["plan"] == to_hex(bundle.plan.hash()), "The statement names another plan.")
    return many(len(expected), "owner")


def check_adapter(case: Case) -> str:
    """Every file of the adapter is the one that the statement names, and no other is there."""
    stated = _subject(case)
    found = set()
    for name in case.bundle.adapter_names():
        require(name in stated, f"The adapter holds a file that the statement does not name: {name}.")
        found.add(name)
    for name, digest in stated.items():
        require(name in found, f"The bundle lacks {ADAPTER}/{name}.")
        require(case.bundle.adapter_digest(name) == digest, f"{name} is not the file that the runner vouched for.")
    return ", ".join(f"{name} {digest.hex()[:16]}…" for name, digest in sorted(stated.items()))


def check_model_signature(case: Case) -> str:
    """The OpenSSF signature covers the files that the statement names, under the key that it vouches for."""
    pem = case.bundle.read(PUBLIC_KEY_FILE, _PEM)
    require(pem == _predicate(case)["modelKey"].encode(), "The model key is not the one that the runner vouched for.")
    signed = verify_model(case.bundle.read(SIGNATURE_FILE, LIMIT), ADAPTER, pem)
    require(signed == _subject(case), "The model signature covers other files than the statement.")
    return "P-256, as `model_signing verify key` checks it"


def _signer(digest: bytes, signature: bytes) -> bytes | None:
    try:
        return recover(digest, signature)
    except InvalidInput:
        return None


def _predicate(case: Case) -> dict[str, Any]:
    return case.bundle.statement[1]["predicate"]  # type: ignore[no-any-return]


def _subject(case: Case) -> dict[str, bytes]:
    """The adapter's files that the statement names, by their name in the folder."""
    subject = case.bundle.statement[1]["subject"]
    named = {item["name"].removeprefix(f"{ADAPTER}/"): bytes.fromhex(item["digest"]["sha256"]) for item in subject}
    whole = len(named) == len(subject) > 0 and all(item["name"].startswith(f"{ADAPTER}/") for item in subject)
    require(whole, "The statement does not name the adapter's files, each once.")
    return named


VOUCHED: tuple[tuple[str, str, Check], ...] = (
    ("plan", "The runner signed what was trained on: only what these consents license.", check_plan),
    ("ledger", "The ledger follows the plan, and every owner is paid what it says is owed.", check_ledger),
    ("statement", "The runner signed this statement, and the chain has it as the only one.", check_statement),
    ("stated recipe", "The statement names the job's recipe and base model.", check_recipe_stated),
    ("payees", "The statement names exactly the job's owners, with the right amounts.", check_payees),
    ("adapter", "The adapter's files are those that the runner vouched for.", check_adapter),
    ("model signature", "The OpenSSF model signature covers them under the vouched key.", check_model_signature),
)
