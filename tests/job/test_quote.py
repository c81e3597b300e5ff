"""The quote is the opening tree, and says why whatever is not in it is not."""

from __future__ import annotations

import dataclasses

import pytest

from consent.tree import FEE
from core.errors import Refused
from core.ids import NOBODY, Address
from finetune.opening import new_job
from finetune.quote import quote_job
from finetune.releasing import refusals_of
from tests.job.worlds import FEE_UNITS, FLAT, RATE, World


def test_a_quote_lists_every_payee_and_adds_up(world: World) -> None:
    quote = world.quote(["ada", "bruno", "dario"])
    assert quote.rejected == ()
    amounts = {line.payee: line.amount for line in quote.accepted}
    assert amounts[world.owners["ada"].account.address] == FLAT + 1 + RATE * 12 * 2
    assert quote.total == sum(amounts.values()) + FEE_UNITS
    assert [leaf.consent_id for leaf in quote.tree.leaves] == sorted(leaf.consent_id for leaf in quote.tree.leaves)
    index = quote.tree.find(FEE)
    assert index is not None
    assert quote.tree.leaves[index].payee == quote.runner


def test_more_epochs_cost_more_by_exactly_the_rate(world: World) -> None:
    two, five = world.quote(["ada"], epochs=2), world.quote(["ada"], epochs=5)
    assert five.total - two.total == RATE * 12 * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epochs": 51}, "epochs"),
        ({"purpose": bytes(32)}, "purpose"),
    ],
)
def test_a_recipe_that_terms_do_not_allow_fits_nobody(world: World, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        world.quote(["ada"], **changes)
    assert any(reason in said for reasons in refused.value.detail["reasons"].values() for said in reasons)


def test_another_committee_another_payer_and_another_runner_do_not_fit(world: World) -> None:
    def reasons(**changes: object) -> str:
        given = {
            "payer": world.trainer.address,
            "runner": world.runner.account.address,
            "fee": 0,
            "committee": world.committee,
            "deployment": world.deployment,
            "now": world.chain.block().timestamp,
        }
        with pytest.raises(Refused) as refused:
            quote_job([world.owners["ada"].licence], world.recipe(), **{**given, **changes})  # type: ignore[arg-type]
        return " ".join(said for reasons in refused.value.detail["reasons"].values() for said in reasons)

    members = tuple(reversed(world.committee.keepers))
    swapped = tuple(dataclasses.replace(member, index=i) for i, member in enumerate(members, start=1))
    other = dataclasses.replace(world.committee, keepers=swapped, signatures=())
    assert "another committee" in reasons(committee=other)
    later = dataclasses.replace(world.committee, epoch=2, signatures=())
    assert "another epoch" in reasons(committee=later)
    assert "another trainer" in reasons(payer=Address(b"\x01" * 20))
    assert "expired" in reasons(now=4_000_000_000)
    elsewhere = dataclasses.replace(world.deployment, escrow=Address(b"\x02" * 20))
    assert "another escrow" in reasons(deployment=elsewhere)


def test_a_consent_counts_once_however_often_it_is_listed(world: World) -> None:
    quote = world.quote(["ada", "ada"])
    assert len(quote.accepted) == 1
    assert quote.rejected[0].reasons == ("The consent is listed twice.",)


def test_a_licence_of_foreign_parts_is_left_out_and_named_in_the_jobs_folder(world: World) -> None:
    ada, bruno = world.owners["ada"], world.owners["bruno"]
    world.owners["bruno"] = dataclasses.replace(
        bruno, licence=dataclasses.replace(bruno.licence, manifests=ada.licence.manifests)
    )
    quote = world.quote(["ada", "bruno"])
    assert [line.consent_id for line in quote.accepted] == [ada.consent_id]
    job = new_job(world.site(), quote)
    noted = refusals_of(job)
    assert [(entry["where"], entry["owner"]) for entry in noted] == [("quote", "0x" + bruno.account.address.hex())]
    assert quote.rejected[0].payee == NOBODY


def test_a_fee_of_nothing_has_no_leaf(world: World) -> None:
    quote = quote_job(
        [world.owners["ada"].licence],
        world.recipe(),
        payer=world.trainer.address,
        runner=world.runner.account.address,
        fee=0,
        committee=world.committee,
        deployment=world.deployment,
        now=world.chain.block().timestamp,
    )
    assert quote.tree.find(FEE) is None
