"""Documents of a bundle exchanged for others, ledgers rewritten, chains and nodes that are not the right ones."""

from __future__ import annotations

import hashlib
import shutil
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consent.chain.client import Chain
from consent.recipe import Recipe
from consent.tree import FEE, Leaf, SumTree
from core.encoding import decode_cbor, encode_cbor
from core.ids import Address, ConsentId, ObjectId
from finetune.ledger import split_ledger
from finetune.licence import Licence
from finetune.plan import PlannedObject, decode_plan
from finetune.provenance import EVIDENCE
from finetune.workspace import Workspace, licence_name
from tests.prove.proofs import (
    FORGER,
    Broken,
    Elsewhere,
    Proof,
    changed,
    edit_receipts,
    embedded_of,
    put,
)

pytestmark = pytest.mark.needs_trainer


def test_a_final_tree_that_differs_from_the_chain_fails(whole: Proof, lowered: Proof, tmp_path: Path) -> None:
    for proof in (whole, lowered):
        bundle = proof.copy(tmp_path / proof.bundle.parent.name)
        final = SumTree.decode(proof.job.get("final.cbor"))
        paid = next(i for i, leaf in enumerate(final.leaves) if leaf.consent_id != FEE and leaf.amount)
        for data in (
            changed(final, paid, amount=final.leaves[paid].amount - 1),
            changed(final, paid, payee=FORGER.address),
            SumTree(final.leaves[:-1]).encode(),
        ):
            put(bundle, "final.cbor", data)
            assert "settlement" in proof.verify(bundle).broken
    put(bundle, "final.cbor", proof.job.get("tree.cbor"))
    assert "settlement" in proof.verify(bundle).broken, "the opening tree is not what is paid"


def test_keepers_that_settle_another_tree_than_the_opening_lowered_are_seen(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    opening = SumTree.decode(whole.job.get("tree.cbor"))
    owner = 1
    for data in (
        changed(opening, owner, payee=FORGER.address),
        changed(opening, owner, amount=opening.leaves[owner].amount + 1),
        changed(opening, owner, consent_id=b"\x99" * 32),
        SumTree(opening.leaves[:-1]).encode(),
        SumTree([*opening.leaves, Leaf(ConsentId(b"\x99" * 32), FORGER.address, 1)]).encode(),
        SumTree([opening.leaves[1], opening.leaves[0], *opening.leaves[2:]]).encode(),
    ):
        put(bundle, "final.cbor", data)
        chain = whole.posting(bundle, SumTree.decode(data))
        report = whole.verify(bundle, chain=chain)
        assert "settlement" in report.broken
        assert "chain pays another" not in next(one.evidence for one in report.findings if one.slug == "settlement")


def test_keepers_that_settle_a_released_owner_below_the_flat_part_are_seen(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    opening = SumTree.decode(whole.job.get("tree.cbor"))
    ada = opening.find(whole.world.owners["ada"].consent_id)
    assert ada is not None
    for amount, broken in ((101, {"ledger", "payees"}), (100, {"settlement", "ledger", "payees"})):
        data = changed(opening, ada, amount=amount)
        put(bundle, "final.cbor", data)
        assert set(whole.verify(bundle, chain=whole.posting(bundle, SumTree.decode(data))).broken) == broken


def test_another_opening_tree_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    tree = SumTree.decode(whole.job.get("tree.cbor"))
    for index in range(len(tree.leaves)):
        put(bundle, "tree.cbor", changed(tree, index, amount=1))
        assert "opening" in whole.verify(bundle).broken


def test_another_recipe_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    recipe = Recipe.decode(whole.job.get("recipe.json"))
    for other in (replace(recipe, seed=8), replace(recipe, base_hash=bytes(32)), replace(recipe, warmup_steps=2)):
        put(bundle, "recipe.json", other.encode())
        assert whole.verify(bundle).broken[0] == "recipe"


def test_another_committee_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    true = whole.world.committee
    forger = [FORGER, *(type(FORGER)(bytes([9, n]) * 16) for n in (1, 2))]
    members = tuple(replace(member, address=key.address) for member, key in zip(true.keepers, forger, strict=True))
    own = replace(true, keepers=members, signatures=())
    put(bundle, "committee.json", own.signed([key.sign_hash(own.digest) for key in forger]).encode())
    assert set(whole.verify(bundle).broken) == {"committee", "releases"}
    assert "committee" in whole.verify(bundle, committees=(own.hash,)).broken, "the order names the true one"
    easier = replace(true, t=1, signatures=())
    put(bundle, "committee.json", replace(easier, signatures=true.signatures).encode())
    assert whole.verify(bundle).broken == ["committee"], "fewer shares than the keepers signed for"
    put(bundle, "committee.json", replace(true, signatures=()).encode())
    assert whole.verify(bundle).broken == ["committee"]


def test_contracts_and_committees_that_the_verifier_does_not_accept_fail(whole: Proof) -> None:
    empty = Address(b"\x44" * 20)
    assert whole.verify(committees=(bytes(32),)).broken == ["committee"]
    assert whole.verify(committees=()).broken == ["committee"]
    assert "place" in whole.verify(chain_id=1).broken
    assert set(whole.verify(escrow=empty).broken) >= {"place", "order", "statement"}
    assert set(whole.verify(consent_token=empty).broken) == {"place", "consents"}
    assert set(whole.verify(registry=empty).broken) == {"place", "datasets"}
    other = whole.world.deployment.currency
    assert set(whole.verify(consent_token=other).broken) == {"consents"}, "code is there, but no consent of this job"
    assert set(whole.verify(escrow=other).broken) >= {"place", "order"}


def test_an_endpoint_of_another_chain_fails_however_right_its_logs_are(whole: Proof) -> None:
    elsewhere = Chain(Elsewhere(embedded_of(whole.world.chain)))
    assert whole.verify(chain=elsewhere).broken == ["place"]


@pytest.mark.parametrize(("method", "slugs"), [
    ("eth_chainId", {"place"}),
    ("eth_getCode", {"place"}),
    ("eth_getLogs", {"order", "settlement", "datasets", "consents", "statement"}),
    ("eth_getBlockByHash", {"releases"}),
    ("eth_call", {"consents"}),
])  # fmt: skip
def test_what_a_failing_node_does_not_say_does_not_hold(whole: Proof, method: str, slugs: set[str]) -> None:
    chain = Chain(Broken(embedded_of(whole.world.chain), method))
    report = whole.verify(chain=chain)
    assert slugs & set(report.broken) == slugs
    assert not report.vouched


def test_receipts_from_after_the_end_of_a_job_fail(whole: Proof, tmp_path: Path) -> None:
    with Chain.embedded(embedded_of(whole.world.chain).duplicate(), owned=True) as later:
        late = later.advance(whole.order.start - later.block().timestamp).hash
        bundle = whole.copy(tmp_path / "bundle")
        domain = (whole.order.chain_id, whole.order.escrow)
        edit_receipts(bundle, lambda receipts: [
            replace(one, latest=late).signed(whole.keeper(one.keeper), *domain) for one in receipts
        ])  # fmt: skip
        assert whole.verify(bundle, chain=later).broken == ["releases"]


@pytest.mark.parametrize("change", [
    {"runner": FORGER.address}, {"payer": FORGER.address}, {"lane": 7}, {"fee": 0}, {"q": 2}, {"job_pk": bytes(1216)},
    {"recipe_hash": bytes(32)}, {"root": 7}, {"counted": (ConsentId(bytes(32)),)},
])  # fmt: skip
def test_an_order_that_was_never_opened_fails(whole: Proof, tmp_path: Path, change: dict[str, Any]) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    put(bundle, "order.cbor", replace(whole.order, **change).encode())
    assert "order" in whole.verify(bundle).broken


def test_an_order_for_another_chain_or_escrow_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    for other in (replace(whole.order, chain_id=1), replace(whole.order, escrow=FORGER.address)):
        put(bundle, "order.cbor", other.encode())
        assert "place" in whole.verify(bundle).broken


def test_an_order_at_another_time_or_not_opened_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    order = whole.order
    for other in (replace(order, opened=order.opened - 1), replace(order, start=order.start + 1), order.opened_at(0)):
        put(bundle, "order.cbor", other.encode())
        assert "order" in whole.verify(bundle).broken


def test_another_jobs_evidence_fails(whole: Proof, unvouched: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    shutil.rmtree(bundle / EVIDENCE)
    shutil.copytree(unvouched.bundle / EVIDENCE, bundle / EVIDENCE)
    report = unvouched.verify(bundle)
    assert {"statement", "payees"} <= set(report.broken)
    assert not report.vouched


def ada_licence(proof: Proof) -> tuple[str, Licence]:
    consent = proof.world.owners["ada"].consent_id
    return licence_name(consent), Licence.decode(proof.job.get(licence_name(consent)))


def test_licences_that_are_not_the_owners_documents_fail(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    name, licence = ada_licence(whole)
    header, other = licence.header, whole.world.owners["bruno"].licence
    cheaper = replace(licence.terms, flat=1)
    for slug, wrong in (
        ("datasets", replace(licence, header_bytes=replace(header, records=1).encode())),
        ("datasets", replace(licence, header_bytes=other.header_bytes)),
        ("datasets", replace(licence, manifests=licence.manifests[1:])),
        ("datasets", replace(licence, manifests=(other.manifests[0], *licence.manifests[1:]))),
        ("datasets", replace(licence, table=other.table)),
        ("datasets", replace(licence, table=replace(licence.table, rows=licence.table.rows[1:]))),
        ("terms", replace(licence, terms_bytes=cheaper.encode())),
        ("consents", replace(licence, consent=replace(licence.consent, max_uses=3))),
        ("consents", replace(licence, consent=replace(licence.consent, owner=FORGER.address))),
    ):
        put(bundle, name, wrong.encode())
        assert slug in whole.verify(bundle).broken


# -- the runner's own books --------------------------------------------------------------------------------------------


def rechained(data: bytes, change: Callable[[list[dict[str, Any]]], object], job: bytes) -> bytes:
    """A ledger with changed entries whose chain is whole again."""
    entries = [decode_cbor(entry) for entry in split_ledger(data)]
    change(entries)
    head, out = hashlib.sha256(b"allod/ledger/v1\0" + job).digest(), b""
    for entry in entries:
        encoded = encode_cbor({**entry, "previous": head})
        head = hashlib.sha256(b"allod/ledger-entry/v1\0" + encoded).digest()
        out += len(encoded).to_bytes(4, "big") + encoded
    return out


def first_use(entries: list[dict[str, Any]]) -> list[Any]:
    return next(entry for entry in entries if entry["kind"] == "step")["uses"][0]  # type: ignore[no-any-return]


BOOKS: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "cut": lambda entries: entries.pop(),
    "with a step left out": lambda entries: entries.pop(3),
    "with a count raised": lambda entries: first_use(entries).__setitem__(1, 99),
    "with a count lowered": lambda entries: first_use(entries).__setitem__(1, 0),
    "with more tokens than there are": lambda entries: first_use(entries).__setitem__(2, 10**6),
    "with another consent": lambda entries: first_use(entries).__setitem__(0, bytes(32)),
    "with a step too many": lambda entries: entries.append({**entries[-1], "step": 10**6}),
    "of another plan": lambda entries: entries[0].update(plan=bytes(32)),
    "with a drop that ends everything": lambda entries: entries.__setitem__(
        slice(1, None),
        [{"v": 1, "kind": "drop", "step": 0, "consents": sorted({use[0] for e in entries[1:] for use in e["uses"]})}],
    ),
}


@pytest.mark.parametrize("book", BOOKS)
def test_a_ledger_changed_afterwards_fails(whole: Proof, tmp_path: Path, book: str) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    put(bundle, "ledger", rechained(whole.job.ledger.read_bytes(), BOOKS[book], whole.order.job_id))
    broken = set(whole.verify(bundle).broken)
    assert broken == ({"payees"} if book == "with a drop that ends everything" else {"ledger", "payees"})


@pytest.mark.parametrize("book", [name for name in BOOKS if name != "with a drop that ends everything"])
def test_a_runner_that_signs_a_ledger_beside_its_plan_fails_at_the_ledger(
    whole: Proof, tmp_path: Path, book: str
) -> None:
    def doctor(job: Workspace) -> None:
        job.ledger.write_bytes(rechained(job.ledger.read_bytes(), BOOKS[book], whole.order.job_id))

    bundle = whole.retold(tmp_path, doctor)
    assert whole.verify(bundle, chain=whole.posting(bundle)).broken == ["ledger"]


def test_a_plan_that_the_runner_did_not_sign_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    plan = decode_plan(whole.job.get("plan.cbor"))
    for signature in (plan.sign(FORGER), bytes(65), b""):
        put(bundle, "plan.sig", signature)
        assert whole.verify(bundle).broken == ["plan"]


def test_a_runner_that_plans_what_nobody_licensed_fails_at_the_plan(whole: Proof, tmp_path: Path) -> None:
    plan = decode_plan(whole.job.get("plan.cbor"))
    first, *rest = plan.objects
    for place, objects in enumerate((
        (replace(first, object_id=ObjectId(bytes(32))), *rest),
        (replace(first, payload=rest[0].payload), *rest),
        (replace(first, owner=FORGER.address), *rest),
        (replace(first, consent=ConsentId(bytes(32))), *rest),
    )):  # fmt: skip
        other = replace(plan, objects=objects)
        bundle = whole.copy(tmp_path / str(place))
        put(bundle, "plan.cbor", other.encode())
        put(bundle, "plan.sig", other.sign(whole.runner))
        assert "plan" in whole.verify(bundle).broken
    fields: list[dict[str, Any]] = [{"epochs": plan.epochs - 1}, {"job": bytes(32)}, {"recipe": bytes(32)}]
    for number, changes in enumerate(fields):
        bundle = whole.copy(tmp_path / f"other-{number}")
        other = replace(plan, **changes)
        put(bundle, "plan.cbor", other.encode())
        put(bundle, "plan.sig", other.sign(whole.runner))
        assert "plan" in whole.verify(bundle).broken


def test_a_runner_that_plans_data_nobody_is_paid_for_fails(whole: Proof, tmp_path: Path) -> None:
    """Dario's licence is true and in the bundle, but the job's tree has no leaf for him."""
    dario = whole.world.owners["dario"]
    plan = decode_plan(whole.job.get("plan.cbor"))
    manifest = dario.licence.objects[0]
    more = PlannedObject(
        manifest.object_id, dario.consent_id, dario.account.address, manifest.payload.link, array("I", [7])
    )
    other = replace(plan, objects=(*plan.objects, more))
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / EVIDENCE / licence_name(dario.consent_id)).write_bytes(dario.licence.encode())
    put(bundle, "plan.cbor", other.encode())
    put(bundle, "plan.sig", other.sign(whole.runner))
    broken = {one.slug: one.evidence for one in whole.verify(bundle).findings if not one.holds}
    assert "pays nobody" in broken["plan"]
    assert "releases" in broken


def test_a_runner_that_pays_less_than_its_ledger_says_is_seen(lowered: Proof, tmp_path: Path) -> None:
    """Bruno's due is recomputed from the ledger: a runner that trained on more than the keepers were told shows."""
    bundle = lowered.copy(tmp_path / "bundle")
    final = SumTree.decode(lowered.job.get("final.cbor"))
    index = final.find(lowered.world.owners["bruno"].consent_id)
    assert index is not None
    put(bundle, "final.cbor", changed(final, index, amount=final.leaves[index].amount - 3))
    assert {"settlement", "ledger", "payees"} <= set(lowered.verify(bundle).broken)
