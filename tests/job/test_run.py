"""Jobs from quote to end on a real EVM with three keepers and a real trainer child."""

from __future__ import annotations

import pytest

from consent.market.earnings import EarningState, claim, earnings
from consent.tree import SumTree
from finetune.run import run_job
from finetune.workspace import State
from tests.job.worlds import FEE_UNITS, FLAT, RATE, World

pytestmark = pytest.mark.needs_trainer


def test_one_owner_is_trained_on_and_paid(world: World) -> None:
    site = world.site()
    job = world.job(["ada"], site)
    done = run_job(site, job, world.work(), payer=world.trainer)
    assert (done.outcome, job.state) == ("confirmed", State.DONE)
    assert set(done.adapter) == {"adapter_config.json", "adapter_model.safetensors"}
    assert done.refusals == []
    assert world.amount(done.final, "ada") == FLAT + 1 + RATE * 12 * 2
    assert done.final.total == world.amount(done.final, "ada") + FEE_UNITS
    assert done.tally.used(world.owners["ada"].consent_id).record_epochs == 24
    assert [entry["what"] for entry in done.transactions] == ["open", "confirm"]
    assert done.losses["ada"]["after"] < done.losses["ada"]["before"]
    assert not site.runner.keys.holds(done.order.job_pk)

    account = world.owners["ada"].account.address
    found = earnings(world.market, account, lambda *_: done.final)
    assert [earning.state for earning in found] == [EarningState.CLAIMABLE]
    claim(world.market, world.relayer, found)
    assert int(world.market.currency.read("balanceOf", account)) == world.amount(done.final, "ada")
    assert world.chain.balance(account) == 0
    assert SumTree.decode(job.get("tree.cbor")) == done.opening
