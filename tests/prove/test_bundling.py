"""Writing a bundle: what it holds, who may sign it, and that doing it again changes nothing that was posted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from consent.recipe import Recipe
from consent.tree import SumTree
from core.errors import Conflict, Corrupted, NotFound
from finetune.card import model_card
from finetune.checkpoint import Every
from finetune.provenance import (
    ADAPTER,
    EVIDENCE,
    STATEMENT,
    bundle_job,
    read_statement,
    statement_hash,
    write_evidence,
    write_statement,
)
from finetune.run import run_job
from tests.job.paper import PaperTrainer
from tests.job.worlds import World
from tests.prove.proofs import FORGER, Proof, found, history_of

pytestmark = pytest.mark.needs_trainer


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def final(proof: Proof) -> SumTree:
    return SumTree.decode(proof.job.get("final.cbor"))


def test_a_bundle_holds_the_adapter_and_what_a_verifier_replays(whole: Proof) -> None:
    found = contents(whole.bundle)
    licences = {f"{EVIDENCE}/{name}" for name in whole.job.names("licences")}
    assert len(licences) == 3
    assert found.keys() == licences | {
        "provenance.json", "model.sig", "model.pub", "adapter/README.md", "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        *(f"{EVIDENCE}/{name}" for name in (
            "order.cbor", "recipe.json", "committee.json", "tree.cbor", "final.cbor", "receipts.cbor", "plan.cbor",
            "plan.sig", "ledger", "transactions.json", "losses.json",
        )),
    }  # fmt: skip
    for name in ("order.cbor", "receipts.cbor", "plan.sig"):
        assert found[f"{EVIDENCE}/{name}"] == whole.job.get(name)
    assert found[f"{EVIDENCE}/ledger"] == whole.job.ledger.read_bytes()


def test_what_was_posted_is_the_hash_of_what_is_bundled(whole: Proof) -> None:
    settled = history_of(whole.world).settlement(whole.order)
    assert settled is not None
    assert settled.args["statement"] == statement_hash((whole.bundle / STATEMENT).read_bytes())


def test_bundling_again_changes_nothing(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / f".{EVIDENCE}").mkdir()  # what a crash left
    (bundle / f".{EVIDENCE}" / "half").write_bytes(b"")
    (bundle / EVIDENCE / "stale").write_bytes(b"")
    bundle_job(whole.job, history_of(whole.world), bundle)
    assert contents(bundle) == contents(whole.bundle)


def test_a_bundle_of_nothing_but_a_quote_is_evidence_alone(small_world: World, tmp_path: Path) -> None:
    job = small_world.job(["ada"])
    bundle_job(job, history_of(small_world), tmp_path)
    names = set(contents(tmp_path))
    assert {f"{EVIDENCE}/recipe.json", f"{EVIDENCE}/tree.cbor"} < names
    assert all(name.startswith(EVIDENCE) for name in names)


def test_only_the_runner_of_a_job_signs_its_statement(whole: Proof, tmp_path: Path) -> None:
    with pytest.raises(Conflict):
        write_statement(whole.job, final(whole), FORGER, tmp_path)
    assert contents(tmp_path) == {}


def test_without_an_adapter_there_is_nothing_to_vouch_for(whole: Proof, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        whole.retold(tmp_path, lambda job: job.put_adapter({}))


def test_a_statement_written_anew_before_it_is_posted_replaces_the_one_before(whole: Proof, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    first = write_statement(whole.job, final(whole), whole.runner, bundle)
    (bundle / ADAPTER / "stale").write_bytes(b"")
    second = write_statement(whole.job, final(whole), whole.runner, bundle)
    assert first != second, "each has a model key of its own"
    assert statement_hash((bundle / STATEMENT).read_bytes()) == second
    write_evidence(whole.job, bundle)
    assert whole.verify(bundle, chain=whole.posting(bundle)).holds


def test_a_job_that_was_trained_twice_verifies_by_its_last_attempt(small_world: World, tmp_path: Path) -> None:
    def fail(step: int) -> None:
        if step == 3:
            raise ConnectionError

    site, bundle = small_world.site(trainer=lambda: PaperTrainer(fail)), tmp_path / "bundle"
    job = small_world.job(["ada", "bruno"], site)
    with pytest.raises(ConnectionError):
        run_job(site, job, small_world.work(), payer=small_world.trainer)
    runner = small_world.runner.account
    work = small_world.work(statement_hook=lambda of, tree: write_statement(of, tree, runner, bundle))
    run_job(small_world.site(trainer=PaperTrainer), job, work)
    bundle_job(job, history_of(small_world), bundle)
    proof = Proof(small_world, job, bundle)
    report = proof.verify()
    assert report.vouched, [(one.slug, one.evidence) for one in report.findings if not one.holds]
    _, document = read_statement((bundle / STATEMENT).read_bytes())
    assert document["predicate"]["buildDefinition"]["internalParameters"]["ledger"]["attempts"] == 2


def test_a_job_that_went_on_from_a_checkpoint_verifies(small_world: World, tmp_path: Path) -> None:
    def fail(step: int) -> None:
        if step == 3:
            raise ConnectionError

    bundle, often = tmp_path / "bundle", Every(steps=2)
    world = found(tmp_path / "world", small_world.base)  # one of its own, in which an owner revokes
    site = world.site(trainer=lambda: PaperTrainer(fail), checkpoint=often)
    job = world.job(["ada", "bruno"], site)
    with pytest.raises(ConnectionError):
        run_job(site, job, world.work(), payer=world.trainer)
    world.revoke("ada")
    runner = world.runner.account
    work = world.work(statement_hook=lambda of, tree: write_statement(of, tree, runner, bundle))
    run_job(world.site(trainer=PaperTrainer, checkpoint=often), job, work)
    bundle_job(job, history_of(world), bundle)
    report = Proof(world, job, bundle).verify()
    world.close()
    assert report.vouched, [(one.slug, one.evidence) for one in report.findings if not one.holds]
    assert not {"shares.cbor", "checkpoint"} & {path.name for path in bundle.rglob("*")}


def test_names_in_a_card_add_no_row_and_no_field(whole: Proof) -> None:
    recipe = replace(Recipe.decode(whole.job.get("recipe.json")), base_name='a\n---\nlicense: "x"|<b>`')
    losses = {"ada | 0 | 0 |\n| b": {"before": 1, "after": 2, "tokens": 3}}
    card = model_card(whole.order, recipe, [], losses)
    assert card.count("\n---\n") == 1
    assert 'base_model: "a_---_license: \\"x\\"__b__"' in card
    assert "| ada _ 0 _ 0 ___ b | 0.000 | 0.000 |" in card


def test_a_statement_of_another_type_is_none_of_ours(whole: Proof) -> None:
    data = (whole.bundle / STATEMENT).read_bytes()
    with pytest.raises(Corrupted):
        read_statement(data.replace(b"application/vnd.in-toto+json", b"application/vnd.in-toto+yaml"))
    with pytest.raises(Corrupted):
        read_statement(b"{}")
