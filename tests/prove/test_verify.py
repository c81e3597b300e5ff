"""What verification says of honest jobs: whole ones, lowered ones, ones without a statement, ones revoked since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consent.chain.client import Chain
from consent.chain.embedded import developer
from consent.market.granting import consent_id, draft, grant, sign
from consent.market.place import Market, Relayer
from consent.market.revoking import relay_revocation, sign_revoke, sign_revoke_all, sign_revoke_nonces
from consent.tree import SumTree
from core.encoding import to_hex
from core.errors import InvalidInput
from finetune.provenance import STATEMENT, bundle_job, read_statement, write_statement
from finetune.run import run_job
from finetune.sentences import ALWAYS
from finetune.settle import settle_job
from finetune.verify import Report, Trust, verify
from finetune.vouching import VOUCHED
from finetune.workspace import Workspace
from tests.job.paper import PaperTrainer
from tests.job.worlds import FEE_UNITS, PURPOSE, World
from tests.prove.proofs import Forgetful, Proof, edit_receipts, embedded_of, finish, found, history_of, put, trust_of

pytestmark = pytest.mark.needs_trainer
SLUGS = [slug for slug, _, _ in (*ALWAYS, *VOUCHED)]


def everything_holds(report: Report) -> bool:
    assert report.broken == [], [(one.slug, one.evidence) for one in report.findings if not one.holds]
    assert [one.slug for one in report.findings] == SLUGS
    return report.holds and report.vouched


def test_every_sentence_holds_about_a_finished_job(whole: Proof) -> None:
    report = whole.verify()
    assert everything_holds(report)
    assert report.job == to_hex(whole.order.job_id)


def test_verifying_changes_nothing_in_the_bundle(whole: Proof) -> None:
    def look() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in whole.bundle.rglob("*"))

    before = look()
    assert whole.verify().holds
    assert look() == before


def test_a_job_that_an_owner_left_verifies_with_what_it_still_owed(lowered: Proof) -> None:
    assert everything_holds(lowered.verify())
    _, statement = read_statement((lowered.bundle / STATEMENT).read_bytes())
    owners = {row["consent"]: row for row in statement["predicate"]["owners"]}
    named = {name: to_hex(owner.consent_id) for name, owner in lowered.world.owners.items()}
    assert set(owners) == {named["ada"], named["bruno"]}
    assert owners[named["ada"]]["recordEpochs"] == 24
    left = owners[named["bruno"]]
    assert 0 < left["recordEpochs"] < 16
    assert int(left["amount"]) == 102 + 3 * left["recordEpochs"]
    assert statement["predicate"]["fee"] == str(FEE_UNITS)
    assert next(one.evidence for one in lowered.verify().findings if one.slug == "settlement").endswith("refunded")


def test_without_a_statement_the_job_verifies_and_the_adapter_is_unvouched(unvouched: Proof) -> None:
    report = unvouched.verify()
    assert report.holds
    assert not report.vouched
    assert [one.slug for one in report.findings] == [slug for slug, _, _ in ALWAYS]
    assert not (unvouched.bundle / STATEMENT).exists()
    assert {path.name for path in (unvouched.bundle / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


@pytest.fixture
def later(whole: Proof) -> Iterator[tuple[Market, Relayer]]:
    """The world of the whole job, going on elsewhere."""
    chain = Chain.embedded(embedded_of(whole.world.chain).duplicate(), owned=True)
    yield Market(chain, whole.world.deployment), Relayer(chain, developer())
    chain.close()


@pytest.mark.parametrize("way", ["revoke", "revoke_nonces", "revoke_all"])
def test_a_consent_revoked_after_the_job_leaves_the_job_verifiable(
    whole: Proof, later: tuple[Market, Relayer], way: str
) -> None:
    market, relayer = later
    ada = whole.world.owners["ada"]
    consent = ada.signed.consent
    signed = {
        "revoke": lambda: sign_revoke(market, ada.account, [(consent, whole.order.payer)]),
        "revoke_nonces": lambda: sign_revoke_nonces(market, ada.account, [consent]),
        "revoke_all": lambda: [sign_revoke_all(market, ada.account)],
    }[way]()
    for message in signed:
        relay_revocation(market, relayer, message)
    assert int(market.token.read("status", consent.as_tuple(), whole.order.payer)) != 0
    assert everything_holds(whole.verify(chain=market.chain))
    forgetful = Forgetful(embedded_of(market.chain))
    assert everything_holds(whole.verify(chain=Chain(forgetful)))
    assert (forgetful.refused > 0) == (way == "revoke_nonces")


@pytest.fixture
def world(small_world: World, tmp_path: Path) -> Iterator[World]:
    """A world whose clock this test may move."""
    one = found(tmp_path / "home", small_world.base)
    yield one
    one.close()


def test_a_consent_of_limited_uses_is_counted_by_the_job(world: World, tmp_path: Path) -> None:
    ada = world.owners["ada"]
    terms = ada.licence.terms
    begins, trainer = ada.signed.consent.not_before, world.trainer.address
    limited = draft(
        world.market, ada.account.address, ada.signed.consent.asset, terms, PURPOSE, [ada.signed.consent],
        grantee=trainer, not_before=begins, max_uses=2,
    )  # fmt: skip
    signed = sign(world.market, ada.account, limited)
    assert grant(world.market, world.relayer, [signed]).minted
    licence, identity = replace(ada.licence, consent=limited), consent_id(world.market, limited)
    world.owners["ada"] = replace(ada, licence=licence, signed=signed, consent_id=identity)
    proof = finish(world, ["ada", "bruno"], tmp_path / "bundle")
    assert proof.order.counted == (identity,)
    assert everything_holds(proof.verify())
    other = replace(proof.order, counted=())
    put(proof.bundle, "order.cbor", other.encode())
    domain = (other.chain_id, other.escrow)
    edit_receipts(
        proof.bundle,
        lambda receipts: [replace(one, job=other.job_id).signed(proof.keeper(one.keeper), *domain) for one in receipts],
    )
    broken = {one.slug: one.evidence for one in proof.verify().findings if not one.holds}
    assert "order" in broken
    assert "did not count" in broken["consents"], "keepers who collude do not make up for the count"


def test_the_opening_tree_of_a_runner_that_vanished_verifies_once_it_stands(world: World, tmp_path: Path) -> None:
    site, bundle = world.site(trainer=PaperTrainer), tmp_path / "bundle"
    job = world.job(["ada", "bruno"], site)

    def vanish(*_: object) -> bytes:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        run_job(site, job, world.work(statement_hook=vanish), payer=world.trainer)
    world.chain.advance(25 * 3600)
    assert run_job(site, job, world.work()).outcome == "stands"
    bundle_job(job, history_of(world), bundle)
    report = verify(bundle, world.chain, trust_of(world), world.blocks)
    assert report.holds, report.broken
    assert not report.vouched
    settlement = next(one for one in report.findings if one.slug == "settlement")
    assert "stands" in settlement.evidence


def test_a_statement_that_was_never_posted_is_not_bundled(world: World, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    site = world.site(trainer=PaperTrainer)
    job = world.job(["ada", "dario"], site)

    def write_and_vanish(of: Workspace, final: SumTree) -> bytes:
        write_statement(of, final, world.runner.account, bundle)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        run_job(site, job, world.work(statement_hook=write_and_vanish), payer=world.trainer)
    assert (bundle / STATEMENT).exists()
    settle_job(site, job, world.trainer)
    bundle_job(job, history_of(world), bundle)
    assert not (bundle / STATEMENT).exists()
    report = verify(bundle, world.chain, trust_of(world), world.blocks)
    assert report.holds, [(one.slug, one.evidence) for one in report.findings if not one.holds]
    assert not report.vouched


def test_a_trust_file_comes_back_and_nothing_else_is_one(whole: Proof) -> None:
    data = whole.trust.encode()
    assert Trust.decode(data + b"\n") == whole.trust
    for wrong in (
        b"",
        b"{}",
        b"[]",
        data[:-1],
        data.replace(b"31337", b'"31337"'),
        data.replace(b"31337", b"0"),
        data.replace(b'"chain_id"', b'"chain"'),
        data.replace(b'"committees":[', b'"committees":[7,'),
        data.replace(b'"escrow":"0x', b'"escrow":"0x00'),
        data.replace(b"{", b'{"a":1,', 1),
    ):
        with pytest.raises(InvalidInput):
            Trust.decode(wrong)
