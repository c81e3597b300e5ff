"""The runner's statement about a finished job, signed, and the bundle in which an adapter ships with it.

`provenance.json` is a DSSE envelope around an in-toto Statement of SLSA's shape; sha256 of its bytes is what the runner
posts on chain, so a job has one. Beside it, outside the hash, lies the evidence that a verifier replays. Exact bytes:
docs/format/72-provenance.md.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from consent.chain.account import Account
from consent.grant import Consent
from consent.history import History
from consent.order import Order
from consent.recipe import Recipe
from consent.tree import FEE, SumTree
from consent.typed import keccak
from core.encoding import decode_json, encode_json, to_hex
from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.files import sync_directory, write_atomic
from core.ids import ConsentId
from finetune.card import model_card
from finetune.envelope import IN_TOTO, LIMIT, Envelope
from finetune.ledger import Tally, read_ledger
from finetune.licence import Licence
from finetune.modelsign import PUBLIC_KEY_FILE, SIGNATURE_FILE, public_pem, sign_model
from finetune.plan import Plan, decode_plan
from finetune.workspace import Workspace, licence_name

PREDICATE = "urn:allod:provenance:1"
BUILD_TYPE = "urn:allod:fine-tune:1"
SANDBOX = "UNSANDBOXED"
STATEMENT = "provenance.json"
ADAPTER = "adapter"
CARD = "README.md"
EVIDENCE = "evidence"
_COPIED = (
    "order.cbor", "recipe.json", "committee.json", "tree.cbor", "final.cbor", "receipts.cbor", "refusals.json",
    "plan.cbor", "plan.sig", "transactions.json", "losses.json",
)  # fmt: skip


@dataclass(frozen=True)
class Share:
    """What one consent's data was used for and what it earns; the amount is UNITs."""

    consent: ConsentId
    owner: str
    asset: str
    payee: str
    records: int
    record_epochs: int
    tokens: int
    amount: int

    def document(self) -> dict[str, Any]:
        """As it stands in the statement; amounts are decimal strings, because UNITs may pass 2^53."""
        return {
            "consent": to_hex(self.consent),
            "owner": self.owner,
            "asset": self.asset,
            "payee": self.payee,
            "records": self.records,
            "recordEpochs": self.record_epochs,
            "tokens": self.tokens,
            "amount": str(self.amount),
        }


def shares_of(final: SumTree, consents: Mapping[ConsentId, Consent], tally: Tally, plan: Plan) -> list[Share]:
    """Every consent that the final tree pays or the plan trains on, in the tree's order."""
    records: dict[ConsentId, int] = {}
    for item in plan.objects:
        records[item.consent] = records.get(item.consent, 0) + len(item.tokens)
    out = []
    for leaf in final.leaves:
        if leaf.consent_id == FEE or (leaf.amount == 0 and leaf.consent_id not in records):
            continue
        consent = consents[leaf.consent_id]
        use = tally.used(leaf.consent_id)
        out.append(
            Share(
                consent=leaf.consent_id,
                owner=to_hex(consent.owner),
                asset=to_hex(consent.asset),
                payee=to_hex(leaf.payee),
                records=records.get(leaf.consent_id, 0),
                record_epochs=use.record_epochs,
                tokens=use.tokens,
                amount=leaf.amount,
            )
        )
    return out


def statement_document(
    order: Order,
    recipe: Recipe,
    *,
    plan_hash: bytes,
    tally: Tally,
    shares: list[Share],
    fee: int,
    losses: Mapping[str, Any],
    digests: Mapping[str, bytes],
    model_key: bytes,
) -> dict[str, Any]:
    """The in-toto Statement. `digests` are the adapter's files by name, `model_key` the PEM of the model signature."""
    internal = {
        "plan": to_hex(plan_hash),
        "ledger": {"root": to_hex(tally.root()), "entries": tally.entries, "attempts": tally.attempts},
        "sandbox": SANDBOX,
        "losses": dict(losses),
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": f"{ADAPTER}/{name}", "digest": {"sha256": digest.hex()}}
            for name, digest in sorted(digests.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"job": to_hex(order.job_id), "recipe": recipe.document},
                "internalParameters": internal,
                "resolvedDependencies": dependencies_of(recipe, shares),
            },
            "runDetails": builder_of(order),
            "owners": [share.document() for share in shares],
            "fee": str(fee),
            "modelKey": model_key.decode("ascii"),
        },
    }


def dependencies_of(recipe: Recipe, shares: Sequence[Share]) -> list[dict[str, Any]]:
    """What the adapter was made from: the base model, then every dataset with its consent."""
    base = {"name": recipe.base_name, "digest": {"sha256": recipe.base_hash.hex()}}
    return [base, *({"uri": "urn:allod:asset:" + share.asset, "name": to_hex(share.consent)} for share in shares)]


def builder_of(order: Order) -> dict[str, Any]:
    """Who made it: the runner, and the job."""
    return {
        "builder": {"id": "urn:allod:runner:" + to_hex(order.runner)},
        "metadata": {"invocationId": to_hex(order.job_id)},
    }


def sign_statement(document: Mapping[str, Any], account: Account) -> bytes:
    """`provenance.json`: the statement in an envelope signed by the runner's on-chain key over keccak256(PAE)."""
    unsigned = Envelope(IN_TOTO, encode_json(dict(document)), to_hex(account.address), b"")
    signature = account.sign_hash(keccak(unsigned.signed))
    return Envelope(unsigned.payload_type, unsigned.payload, unsigned.key_id, signature).encode()


def statement_hash(provenance: bytes) -> bytes:
    """What `confirm` or `settle` posts: sha256 of provenance.json as it lies in the bundle."""
    return hashlib.sha256(provenance).digest()


def write_statement(job: Workspace, final: SumTree, account: Account, bundle: Path) -> bytes:
    """Write adapter, card, signatures and statement of a trained job into `bundle`, durably; the hash to post.

    It fits `finetune.settle.StatementHook`. Until the hash is posted a statement may be written again: the later one
    replaces the one before, which nobody has seen.
    """
    order = Order.decode(job.get("order.cbor"))
    if account.address != order.runner:
        raise Conflict(
            "Only the runner of a job signs its statement.", hint="Run this on the machine that ran the job."
        )
    files = job.adapter()
    if not files:
        raise NotFound("This job has no adapter to vouch for.", hint="Settle it without a statement.")
    recipe = Recipe.decode(job.get("recipe.json"))
    tally = read_ledger(job.ledger.read_bytes(), order.job_id)
    plan = decode_plan(job.get("plan.cbor"))
    consents = {
        leaf.consent_id: Licence.decode(job.get(licence_name(leaf.consent_id))).consent
        for leaf in final.leaves
        if leaf.consent_id != FEE
    }
    shares = shares_of(final, consents, tally, plan)
    losses = job.get_value("losses.json") if job.has("losses.json") else {}
    files[CARD] = model_card(order, recipe, shares, losses).encode()
    digests = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    key = ec.generate_private_key(ec.SECP256R1())
    document = statement_document(
        order,
        recipe,
        plan_hash=plan.hash(),
        tally=tally,
        shares=shares,
        fee=fee_of(final),
        losses=losses,
        digests=digests,
        model_key=public_pem(key.public_key()),
    )
    provenance = sign_statement(document, account)
    _write_adapter(bundle, files)
    write_atomic(bundle / SIGNATURE_FILE, sign_model(ADAPTER, digests, key), mode=0o644)
    write_atomic(bundle / PUBLIC_KEY_FILE, public_pem(key.public_key()), mode=0o644)
    write_atomic(bundle / STATEMENT, provenance, mode=0o644)
    return statement_hash(provenance)


def fee_of(tree: SumTree) -> int:
    """What a tree pays the runner, in UNITs."""
    index = tree.find(FEE)
    return 0 if index is None else tree.leaves[index].amount


def bundle_job(job: Workspace, history: History, bundle: Path) -> None:
    """Complete the bundle of a job that is over: evidence, and a statement only if it is the one that was posted.

    A statement that came too late, or after another end of the job, vouches for nothing and is taken away; the adapter
    stays, without card and signature.
    """
    posted = history.settlement(Order.decode(job.get("order.cbor"))) if job.has("order.cbor") else None
    path = bundle / STATEMENT
    if path.exists() and (posted is None or posted.args["statement"] != statement_hash(path.read_bytes())):
        for name in (STATEMENT, SIGNATURE_FILE, PUBLIC_KEY_FILE):
            (bundle / name).unlink(missing_ok=True)
    if not path.exists():
        _write_adapter(bundle, job.adapter())
    write_evidence(job, bundle)


def write_evidence(job: Workspace, bundle: Path) -> None:
    """Copy what a verifier replays into the bundle; the whole folder appears at once, again replaces it.

    A final tree that was agreed to and never posted stays out: the opening tree stands.
    """
    fresh = bundle / f".{EVIDENCE}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in _COPIED:
        if job.has(name) and (name != "final.cbor" or job.facts.get("outcome") != "stands"):
            write_atomic(fresh / name, job.get(name), mode=0o644)
    if job.ledger.exists():
        write_atomic(fresh / "ledger", job.ledger.read_bytes(), mode=0o644)
    for name in job.names("licences"):
        write_atomic(fresh / name, job.get(name), mode=0o644)
    shutil.rmtree(bundle / EVIDENCE, ignore_errors=True)
    fresh.rename(bundle / EVIDENCE)
    sync_directory(bundle)


def _write_adapter(bundle: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(bundle / ADAPTER, ignore_errors=True)
    for name, data in files.items():
        write_atomic(bundle / ADAPTER / name, data, mode=0o644)


def read_statement(provenance: bytes) -> tuple[Envelope, dict[str, Any]]:
    """The envelope and the in-toto Statement inside it; `Corrupted` if it is not one of ours."""
    envelope = Envelope.decode(provenance)
    if envelope.payload_type != IN_TOTO:
        raise Corrupted("The envelope does not hold an in-toto Statement.")
    try:
        document = decode_json(envelope.payload, limit=LIMIT)
        predicate = document["predicate"]
        if document["_type"] != "https://in-toto.io/Statement/v1" or document["predicateType"] != PREDICATE:
            raise InvalidInput("another type")
        if predicate["buildDefinition"]["buildType"] != BUILD_TYPE:
            raise InvalidInput("another build type")
    except (InvalidInput, KeyError, TypeError):
        raise Corrupted("The statement is not an Allod provenance statement.") from None
    return envelope, document
