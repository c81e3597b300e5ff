"""Valid for a job means every condition at once: each one broken alone is refused, in its own words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consent.grant import Consent
from consent.purposes import purpose
from consent.terms import Counts
from consent.tree import FEE, Leaf, SumTree
from consent.validity import TokenStatus, check_consent, check_licence, check_token, check_tree
from core.ids import NOBODY, Address, ConsentId

TOKEN = Address(bytes([0xC0]) * 20)
NOW = 1_800_000_100


def facts(sample, **changes):
    out = {
        "consent": sample.consent,
        "holder": sample.trainer.address,
        "token": TOKEN,
        "order": sample.order,
        "terms": sample.terms,
        "recipe": sample.recipe,
        "counts": Counts(3, 40),
        "tree": sample.tree,
        "statuses": [0, 0],
        "times": [NOW, NOW + 5],
    }
    return out | changes


def retold(sample, *, consent: Consent, terms=None, **changes):
    """The same job, with tree and counted list rewritten for another consent."""
    holder = changes.get("holder", sample.trainer.address)
    consent_id = consent.id(31337, TOKEN, holder)
    tree = SumTree([Leaf(consent_id, sample.owner.address, 1_600), sample.tree.leaves[1]])
    order = replace(sample.order, root=tree.root, counted=(consent_id,))
    return facts(sample, consent=consent, terms=terms or sample.terms, tree=tree, order=order, **changes)


def test_a_consent_that_meets_every_condition_is_valid(sample):
    assert check_consent(**facts(sample)) == []


def test_an_offer_is_valid_for_the_trainer_who_took_it(sample):
    assert check_consent(**retold(sample, consent=replace(sample.consent, grantee=NOBODY))) == []


def test_a_use_that_this_job_counted_may_be_the_last(sample):
    assert check_consent(**facts(sample, statuses=[TokenStatus.USED_UP] * 2)) == []
    assert check_token([TokenStatus.USED_UP], counted=False) == ["This consent's uses are all spent."]


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, 6, 8, 255, -1])
def test_any_status_but_live_at_any_block_refuses(sample, status):
    for statuses in ([status, 0], [0, status]):
        assert len(check_consent(**facts(sample, statuses=statuses))) == 1


def test_unread_facts_refuse(sample):
    assert check_consent(**facts(sample, statuses=[])) == ["Nobody asked the chain about this consent."]
    assert check_consent(**facts(sample, times=[])) == ["Nobody read the time."]


def test_another_payers_job_is_refused(sample):
    order = replace(sample.order, payer=sample.owner.address)
    assert "payer" in " ".join(check_consent(**facts(sample, order=order)))


def test_a_consent_for_another_trainer_is_refused(sample):
    consent = replace(sample.consent, grantee=sample.owner.address)
    assert check_consent(**facts(sample, consent=consent)) == ["The owner consented to another trainer."]


@pytest.mark.parametrize(
    ("times", "word"),
    [
        ([1_699_999_999, NOW], "not valid yet"),
        ([NOW, 1_900_000_000], "expired"),
    ],
)
def test_block_time_and_clock_both_count(sample, times, word):
    assert word in " ".join(check_consent(**facts(sample, times=times)))


def test_not_before_is_inclusive_and_expiry_exclusive(sample):
    assert check_consent(**facts(sample, times=[1_700_000_000])) == []
    assert check_consent(**facts(sample, times=[1_899_999_999])) == []


def test_a_consent_bound_to_another_runner_is_refused(sample):
    bound = replace(sample.consent, runner=sample.owner.address)
    assert check_consent(**retold(sample, consent=bound)) == ["The owner allows another runner only."]
    bound = replace(sample.consent, runner=sample.runner.address)
    assert check_consent(**retold(sample, consent=bound)) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"runner": Address(bytes([5]) * 20)}, "The owner allows another runner only."),
        ({"committee": bytes(32)}, "The terms name another committee of keepers."),
        ({"expiry": NOW}, "The terms have expired."),
        ({"max_uses": 1}, "The consent allows more uses than its terms."),
        ({"purposes": ("academic-research",)}, "The terms do not allow the purpose 'service-provision'."),
        ({"base_models": (bytes(32),)}, "The terms do not allow this base model."),
        ({"max_epochs": 2}, "The recipe runs 3 epochs; the terms allow 2."),
        ({"flat": 999}, "The job pays 1600 for this consent; its terms ask 1599."),
        ({"payee": Address(bytes([5]) * 20)}, "The job pays for this consent to another account than its terms name."),
    ],
)
def test_each_term_counts(sample, change, reason):
    terms = replace(sample.terms, **change)
    consent = replace(sample.consent, terms=terms.hash)
    assert check_consent(**retold(sample, consent=consent, terms=terms)) == [reason]


def test_terms_that_were_not_signed_are_refused(sample):
    terms = replace(sample.terms, salt=bytes(32))
    assert check_consent(**facts(sample, terms=terms)) == ["The terms are not those that the owner signed."]


def test_an_unlimited_consent_exceeds_limited_terms(sample):
    consent = replace(sample.consent, max_uses=0)
    assert check_consent(**retold(sample, consent=consent)) == ["The consent allows more uses than its terms."]


def test_a_limited_consent_must_be_counted(sample):
    order = replace(sample.order, counted=())
    assert len(check_consent(**facts(sample, order=order))) == 1


def test_another_recipe_than_the_jobs_is_refused(sample):
    recipe = replace(sample.recipe, seed=8)
    assert check_consent(**facts(sample, recipe=recipe)) == ["The recipe is not the one that the job was opened with."]


def test_another_purpose_than_the_consents_is_refused(sample):
    consent = replace(sample.consent, purpose=purpose("academic-research").hash)
    assert check_consent(**retold(sample, consent=consent)) == ["The owner consented to another purpose."]


def test_another_escrow_is_refused(sample):
    consent = replace(sample.consent, escrow=Address(bytes([1]) * 20))
    assert check_consent(**retold(sample, consent=consent)) == ["The owner is paid through another escrow."]


def test_a_job_that_pays_nothing_for_it_is_refused(sample):
    tree = SumTree([Leaf(ConsentId(bytes([1]) * 32), sample.owner.address, 1_600), sample.tree.leaves[1]])
    order = replace(sample.order, root=tree.root)
    assert check_consent(**facts(sample, tree=tree, order=order)) == ["The job pays nothing for this consent."]


def test_a_tree_of_another_job_is_refused(sample):
    tree = SumTree([*sample.tree.leaves, Leaf(ConsentId(bytes([1]) * 32), sample.owner.address, 0)])
    assert check_tree(sample.order, tree)
    assert len(check_consent(**facts(sample, tree=tree))) == 1


def test_the_fee_stands_in_the_tree_as_in_the_order(sample):
    owners = sample.tree.leaves[0]
    runner = sample.runner.address
    for leaves, fee, fine in [
        ([owners, Leaf(FEE, runner, 250)], 250, True),
        ([owners], 0, True),
        ([owners, Leaf(FEE, runner, 0)], 0, True),
        ([owners, Leaf(FEE, runner, 251)], 250, False),
        ([owners], 250, False),
        ([owners, Leaf(FEE, sample.owner.address, 250)], 250, False),
    ]:
        tree = SumTree(leaves)
        order = replace(sample.order, root=tree.root, fee=fee)
        assert (check_tree(order, tree) == []) is fine


def test_counts_decide_the_price(sample):
    assert len(check_consent(**facts(sample, counts=Counts(3, 41)))) == 1
    assert len(check_consent(**facts(sample, counts=Counts(1, 2**64 - 1)))) == 1


def test_a_trainer_can_ask_before_a_job_exists(sample):
    assert (
        check_licence(
            sample.consent,
            sample.terms,
            sample.recipe,
            runner=sample.runner.address,
            escrow=sample.order.escrow,
            committee=sample.committee.hash,
            times=[NOW],
        )
        == []
    )
