"""Forgers: each alters a finished job's bundle, signs it anew where he can, and fails at the sentence he broke."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.encoding import to_hex
from finetune.modelsign import PUBLIC_KEY_FILE, SIGNATURE_FILE, public_pem, sign_model
from finetune.provenance import ADAPTER, STATEMENT, read_statement, sign_statement
from tests.prove.proofs import (
    FORGER,
    Edit,
    Proof,
    edit_statement,
)

pytestmark = pytest.mark.needs_trainer
NOBODYS = "0x" + "77" * 32


def owners(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document["predicate"]["owners"]  # type: ignore[no-any-return]


def build(document: dict[str, Any]) -> dict[str, Any]:
    return document["predicate"]["buildDefinition"]  # type: ignore[no-any-return]


LIES: dict[str, tuple[Edit, set[str]]] = {
    "an amount raised": (lambda d: owners(d)[0].update(amount="1000000"), {"payees"}),
    "an amount as a number": (lambda d: owners(d)[0].update(amount=int(owners(d)[0]["amount"])), {"payees"}),
    "a payee changed": (lambda d: owners(d)[0].update(payee=to_hex(FORGER.address)), {"payees"}),
    "an owner changed": (lambda d: owners(d)[1].update(owner=to_hex(FORGER.address)), {"payees"}),
    "a payee dropped": (lambda d: owners(d).pop(1), {"payees"}),
    "all payees dropped": (lambda d: owners(d).clear(), {"payees"}),
    "a payee twice": (lambda d: owners(d).append(owners(d)[0]), {"payees"}),
    "an unconsented owner": (lambda d: owners(d).append({**owners(d)[0], "consent": NOBODYS}), {"payees"}),
    "an unconsented asset": (lambda d: owners(d)[0].update(asset=NOBODYS), {"payees"}),
    "an asset among what it was made from": (
        lambda d: build(d)["resolvedDependencies"].append({"uri": "urn:allod:asset:" + NOBODYS, "name": NOBODYS}),
        {"payees"},
    ),
    "an owner with more to say": (lambda d: owners(d)[0].update(note="and more"), {"payees"}),
    "more records": (lambda d: owners(d)[0].update(records=99), {"payees"}),
    "fewer tokens": (lambda d: owners(d)[0].update(tokens=1), {"payees"}),
    "another fee": (lambda d: d["predicate"].update(fee="0"), {"payees"}),
    "another ledger": (lambda d: build(d)["internalParameters"]["ledger"].update(root=NOBODYS), {"payees"}),
    "another plan": (lambda d: build(d)["internalParameters"].update(plan=NOBODYS), {"payees"}),
    "another recipe": (lambda d: build(d)["externalParameters"]["recipe"].update(epochs=9), {"stated recipe"}),
    "another base model": (
        lambda d: build(d)["resolvedDependencies"][0]["digest"].update(sha256="77" * 32),
        {"stated recipe"},
    ),
    "no base model": (lambda d: build(d)["resolvedDependencies"].pop(0), {"stated recipe", "payees"}),
    "another runner": (
        lambda d: d["predicate"]["runDetails"]["builder"].update(id="urn:allod:runner:" + to_hex(FORGER.address)),
        {"stated recipe"},
    ),
    "another job": (lambda d: build(d)["externalParameters"].update(job=NOBODYS), {"statement"}),
    "another adapter": (
        lambda d: d["subject"][0]["digest"].update(sha256="77" * 32),
        {"adapter", "model signature"},
    ),
    "one file fewer": (lambda d: d["subject"].pop(), {"adapter", "model signature"}),
    "no files": (lambda d: d["subject"].clear(), {"adapter", "model signature"}),
    "a file outside of the adapter": (
        lambda d: d["subject"].append({"name": "adapter/../../etc/passwd", "digest": {"sha256": "77" * 32}}),
        {"adapter", "model signature"},
    ),
    "another model key": (
        lambda d: d["predicate"].update(
            modelKey=public_pem(ec.generate_private_key(ec.SECP256R1()).public_key()).decode()
        ),
        {"model signature"},
    ),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("signed", ["by nobody", "by the forger", "by the runner"])
def test_a_changed_statement_fails_at_what_was_changed_and_as_not_the_posted_one(
    whole: Proof, tmp_path: Path, lie: str, signed: str
) -> None:
    edit, broken = LIES[lie]
    bundle = whole.copy(tmp_path / "bundle")
    edit_statement(bundle, edit, {"by nobody": None, "by the forger": FORGER, "by the runner": whole.runner}[signed])
    report = whole.verify(bundle)
    assert not report.vouched
    assert set(report.broken) == broken | {"statement"}


@pytest.mark.parametrize("lie", LIES)
def test_a_runner_that_posts_a_lie_fails_at_the_sentence_it_lies_about(whole: Proof, tmp_path: Path, lie: str) -> None:
    edit, broken = LIES[lie]
    bundle = whole.copy(tmp_path / "bundle")
    edit_statement(bundle, edit, whole.runner)
    assert set(whole.verify(bundle, chain=whole.posting(bundle)).broken) == broken


def test_the_true_statement_signed_by_another_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    edit_statement(bundle, lambda document: None, FORGER)
    assert whole.verify(bundle).broken == ["statement"]
    assert whole.verify(bundle, chain=whole.posting(bundle)).broken == ["statement"]


def test_a_second_statement_of_the_true_runner_is_not_the_one_that_was_posted(whole: Proof, tmp_path: Path) -> None:
    other = whole.retold(tmp_path, lambda job: job.put_adapter({"adapter_model.safetensors": b"another adapter"}))
    assert whole.verify(other).broken == ["statement"]
    assert whole.verify(other, chain=whole.posting(other)).holds


def test_a_statement_taken_away_is_missed(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / STATEMENT).unlink()
    report = whole.verify(bundle)
    assert {"statement", "payees", "adapter"} <= set(report.broken)
    assert not report.vouched


def test_a_statement_put_beside_a_job_that_posted_none_fails(unvouched: Proof, whole: Proof, tmp_path: Path) -> None:
    bundle = unvouched.copy(tmp_path / "bundle")
    _, document = read_statement((whole.bundle / STATEMENT).read_bytes())
    build(document)["externalParameters"]["job"] = to_hex(unvouched.order.job_id)
    for account in (FORGER, unvouched.runner):
        (bundle / STATEMENT).write_bytes(sign_statement(document, account))
        report = unvouched.verify(bundle)
        assert "statement" in report.broken
        assert not report.vouched


# -- files -------------------------------------------------------------------------------------------------------------


def test_another_adapter_file_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / ADAPTER / "adapter_model.safetensors").write_bytes(b"Paper")
    assert whole.verify(bundle).broken == ["adapter"]


def test_an_extra_adapter_file_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / ADAPTER / "pytorch_model.bin").write_bytes(b"")
    assert whole.verify(bundle).broken == ["adapter"]


def test_a_missing_adapter_file_fails(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / ADAPTER / "README.md").unlink()
    assert whole.verify(bundle).broken == ["adapter"]


@pytest.mark.parametrize("key_too", [True, False])
def test_a_swapped_model_signature_fails(whole: Proof, tmp_path: Path, key_too: bool) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    digests = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in (bundle / ADAPTER).iterdir()}
    key = ec.generate_private_key(ec.SECP256R1())
    (bundle / SIGNATURE_FILE).write_bytes(sign_model(ADAPTER, digests, key))
    if key_too:
        (bundle / PUBLIC_KEY_FILE).write_bytes(public_pem(key.public_key()))
    assert whole.verify(bundle).broken == ["model signature"]
