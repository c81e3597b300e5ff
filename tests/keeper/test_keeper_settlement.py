"""What keepers sign at a job's end: a final tree that pays for every share they released, once, and only once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consent.chain.account import Account
from consent.keeper.client import (
    Closing,
    close_job,
    collect_settlement,
    hand_in_ledger,
    read_log,
    release,
    revoke_everywhere,
)
from consent.keeper.proposal import NO_STATEMENT, Proposal
from consent.keeper.revocation import Revoke, RevokeAll, RevokeNonces
from consent.keeper.wire import read_reply, sign
from consent.market.paying import settle
from consent.market.place import Market, Relayer
from consent.tree import FEE, Leaf, SumTree
from core.errors import AllodError, Conflict, NotFound, Refused

STATEMENT = bytes([5]) * 32


def released(world: Any, name: str = "ada") -> None:
    """Every keeper releases its share of one object."""
    for keeper in (1, 2, 3):
        world.ask(world.request(name, ids=world.datasets[name].ids[:1]), keeper=keeper)


def final(world: Any, **amounts: int) -> SumTree:
    named = {FEE if name == "fee" else world.consent_id(name): amount for name, amount in amounts.items()}
    return world.tree.lowered(named)


def propose(
    world: Any,
    tree: SumTree | None,
    *,
    statement: bytes = NO_STATEMENT,
    signer: Account | None = None,
    order: Any = None,
) -> bytes:
    """One keeper's signature, or its refusal as an exception."""
    proposal = Proposal(order or world.order, tree.encode() if tree else b"", statement)
    data = sign(proposal.encode(), (signer or world.runner).sign_hash(proposal.digest))
    fields = ("signature",) if tree else ("released", "ledgers", "root")
    return read_reply(world.keepers[0].handle("settlement", data), fields, "The reply").get("signature")


def test_the_keepers_statement_refunds_what_nobody_released_and_the_escrow_takes_it(world: Any) -> None:
    released(world)
    closing = close_job(world.ports, world.order, world.runner)
    terms = {world.consent_id(name): data.terms for name, data in world.datasets.items()}
    tree = closing.lowest(world.tree, terms, keep_fee=True)
    assert [leaf.amount for leaf in tree.leaves] == [1_600, 0, 0, 250]
    signatures = collect_settlement(world.ports, world.committee, world.order, tree, STATEMENT, world.runner)
    market = Market(world.chain, world.place)
    by_address = {world.committee.addresses[index - 1]: signature for index, signature in signatures.items()}
    before = market.escrow.read("deposits", world.trainer.address)
    settle(market, Relayer(world.chain, world.stranger), world.order, tree.root, STATEMENT, by_address)
    assert market.escrow.read("deposits", world.trainer.address) - before == world.tree.total - tree.total


def test_a_closed_job_gets_no_further_share(world: Any) -> None:
    close_job(world.ports, world.order, world.trainer)
    with pytest.raises(Refused, match="closed"):
        world.ask(world.request())


def test_a_job_stays_closed_across_a_restart(world: Any) -> None:
    close_job(world.ports, world.order, world.trainer)
    world.stop_keepers()
    world.start_keepers()
    with pytest.raises(Refused, match="closed"):
        world.ask(world.request())


def test_a_strangers_proposal_neither_closes_nor_settles(world: Any) -> None:
    with pytest.raises(Refused, match="Only the job's payer or its runner"):
        propose(world, final(world, ada=0), signer=world.stranger)
    assert world.ask(world.request())["shares"]


def test_a_leaf_of_which_a_share_was_released_keeps_its_amount(world: Any) -> None:
    released(world)
    for amount in (0, 1_599):
        with pytest.raises(Refused, match="below what its owner is owed"):
            propose(world, final(world, ada=amount))
    assert propose(world, final(world, bob=0))


def test_a_final_tree_has_the_same_leaves_and_none_rises(world: Any) -> None:
    leaves = world.tree.leaves
    crossed = SumTree([replace(leaves[1], amount=0), replace(leaves[0], amount=0), *leaves[2:]])
    with pytest.raises(Refused, match="other leaves"):
        propose(world, crossed)
    with pytest.raises(Refused, match="other leaves"):
        propose(world, SumTree(leaves[:3]))
    with pytest.raises(Refused, match="other leaves"):
        propose(world, SumTree([*leaves[:3], replace(leaves[3], payee=world.stranger.address)]))
    raised = SumTree([Leaf(x.consent_id, x.payee, 2 if x.consent_id == FEE else x.amount + 1) for x in leaves])
    with pytest.raises(Refused, match="higher than in the opening tree"):
        propose(world, raised)
    with pytest.raises(Refused, match="refunds nothing"):
        propose(world, world.tree)


def test_the_fee_falls_only_for_the_runner_or_when_nothing_was_released(world: Any) -> None:
    assert propose(world, final(world, fee=0, ada=0), signer=world.trainer)
    order = world.open_job(world.tree, lane=1)
    world.hand_in(order)
    world.ask(world.request(order=order))
    with pytest.raises(Refused, match="fee falls only"):
        propose(world, final(world, fee=0), signer=world.trainer, order=order)
    assert propose(world, final(world, fee=0), signer=world.runner, order=order)


def test_only_the_runner_posts_a_statement(world: Any) -> None:
    with pytest.raises(Refused, match="Only the runner may post a statement"):
        propose(world, final(world, ada=0), statement=STATEMENT, signer=world.trainer)
    assert propose(world, final(world, ada=0), statement=STATEMENT)


def test_a_keeper_signs_one_settlement_and_repeats_only_that(world: Any) -> None:
    first = propose(world, final(world, ada=0), statement=STATEMENT)
    assert propose(world, final(world, ada=0), statement=STATEMENT) == first
    with pytest.raises(Conflict, match="signs no second one"):
        propose(world, final(world, ada=0))
    with pytest.raises(Conflict, match="signs no second one"):
        propose(world, final(world, bob=0), statement=STATEMENT)
    assert [entry.kind for entry in read_log(world.ports[1])] == ["closed", "settlement"]


def test_a_confirmed_or_ended_job_is_not_settled(world: Any) -> None:
    order = world.order
    args = (order.payer, order.lane, order.times, order.spec, order.root, order.counted_hash, bytes(32))
    world.transact(world.runner, "escrow", "confirm", *args)
    with pytest.raises(Refused, match="No open job on chain"):
        propose(world, final(world, ada=0))
    late = world.open_job(world.tree, lane=1, span=100)
    world.hand_in(late)
    world.chain.advance(101)
    with pytest.raises(Refused, match="time to settle has passed"):
        propose(world, final(world, ada=0), order=late)


def test_without_the_tree_nothing_is_signed(world: Any) -> None:
    order = world.open_job(world.tree, lane=1)
    with pytest.raises(NotFound, match="does not hold the job's tree"):
        propose(world, final(world, ada=0), order=order)


def test_the_quorum_is_demanded_and_each_refusal_is_told(world: Any) -> None:
    world.ask(world.request(ids=world.datasets["ada"].ids[:1]), keeper=3)
    with pytest.raises(Refused, match="2 of the 3 keepers") as caught:
        collect_settlement(world.ports, world.committee, world.order, final(world, ada=0), NO_STATEMENT, world.runner)
    assert list(caught.value.detail["reasons"]) == [3]


# -- ledgers -----------------------------------------------------------------------------------------------------------


def revoke(world: Any, name: str = "ada") -> Any:
    owner = world.datasets[name].owner
    message = Revoke(owner.address, (world.consent_id(name),))
    signature = owner.sign_hash(message.digest(world.place.chain_id, world.place.consent_token))
    place = (world.place.chain_id, world.place.consent_token)
    return revoke_everywhere(world.ports, world.committee, *place, message, signature)


def hand_in(world: Any, record_epochs: int, signer: Account | None = None, order: Any = None) -> dict[int, str]:
    consent = world.datasets["ada"].consent
    who = signer or world.runner
    return hand_in_ledger(world.ports, order or world.order, world.place.consent_token, consent, record_epochs, who)


def test_after_the_owners_revocation_the_rate_falls_to_the_ledger_and_the_flat_part_stays(world: Any) -> None:
    released(world)
    revoke(world)
    assert hand_in(world, 40) == {}
    with pytest.raises(Refused, match="below what its owner is owed"):
        propose(world, final(world, ada=1_199))
    closing = close_job(world.ports, world.order, world.runner)
    terms = {world.consent_id("ada"): world.datasets["ada"].terms}
    tree = closing.lowest(world.tree, terms, keep_fee=True)
    assert tree.leaves[0].amount == 1_000 + 5 * 40
    assert len(collect_settlement(world.ports, world.committee, world.order, tree, STATEMENT, world.runner)) == 3


def test_a_ledger_total_needs_the_owners_own_revocation(world: Any) -> None:
    released(world)
    assert "knows no revocation" in hand_in(world, 40)[1]
    world.transact(world.trainer, "consent_token", "surrender", [world.datasets["ada"].consent.as_tuple()])
    assert "knows no revocation" in hand_in(world, 40)[1]


def test_a_revocation_seen_on_chain_counts_for_a_ledger_total(world: Any) -> None:
    released(world)
    owner = world.datasets["ada"].owner
    message = RevokeNonces(owner.address, 7, 1 << 3)
    signature = owner.sign_hash(message.digest(world.place.chain_id, world.place.consent_token))
    world.transact(world.stranger, "consent_token", "revoke_nonces_by_sig", owner.address, 7, 1 << 3, signature)
    assert hand_in(world, 40) == {}


def test_a_late_ledger_total_leaves_the_leaf_in_full(world: Any) -> None:
    released(world)
    revoke(world)
    world.chain.advance(601)
    world.clock.offset = 601
    assert "too late" in hand_in(world, 40)[1]
    with pytest.raises(Refused, match="below what its owner is owed"):
        propose(world, final(world, ada=1_200))


def test_a_ledger_total_is_the_runners_alone_and_the_first_stands(world: Any) -> None:
    released(world)
    revoke(world)
    assert "not signed by the job's runner" in hand_in(world, 40, signer=world.trainer)[1]
    assert "worth more" in hand_in(world, 121)[1]
    assert hand_in(world, 40) == {}
    assert hand_in(world, 40) == {}
    assert "the first one stands" in hand_in(world, 10)[1]


def test_a_ledger_total_for_what_was_never_released_is_refused(world: Any) -> None:
    revoke(world)
    assert "released nothing" in hand_in(world, 40)[1]


def test_a_leaf_falls_only_where_every_keeper_that_released_holds_the_total(world: Any) -> None:
    ada = world.consent_id("ada")
    opening, terms = world.tree, {ada: world.datasets["ada"].terms}
    both = {1: frozenset({ada}), 2: frozenset({ada}), 3: frozenset()}
    partial = Closing(both, {1: {ada: 40}, 2: {}, 3: {}}, {})
    assert partial.lowest(opening, terms, keep_fee=True).leaves[0].amount == 1_600
    whole = Closing(both, {1: {ada: 40}, 2: {ada: 50}, 3: {}}, {})
    assert whole.lowest(opening, terms, keep_fee=True).leaves[0].amount == 1_250


# -- revocations -------------------------------------------------------------------------------------------------------


def test_a_revocation_handed_to_keepers_counts_before_any_block_has_it(world: Any) -> None:
    done = revoke(world)
    assert (done.stored, done.needed, done.certain) == ((1, 2, 3), 2, True)
    for keeper in (1, 2, 3):
        with pytest.raises(Refused, match="The owner revoked this consent"):
            world.ask(world.request(), keeper=keeper)
    assert world.ask(world.request("bob"))["shares"]


@pytest.mark.parametrize("kind", ["nonces", "all"])
def test_revoked_nonces_and_epochs_count_at_keepers(world: Any, kind: str) -> None:
    owner = world.datasets["ada"].owner
    message = RevokeNonces(owner.address, 7, 1 << 3 | 1) if kind == "nonces" else RevokeAll(owner.address, 0)
    place = (world.place.chain_id, world.place.consent_token)
    done = revoke_everywhere(world.ports, world.committee, *place, message, owner.sign_hash(message.digest(*place)))
    assert done.certain
    with pytest.raises(Refused, match="The owner revoked this consent"):
        world.ask(world.request())


def test_a_forged_revocation_is_not_stored(world: Any) -> None:
    owner = world.datasets["ada"].owner
    place = (world.place.chain_id, world.place.consent_token)
    message = Revoke(owner.address, (world.consent_id(),))
    done = revoke_everywhere(
        world.ports, world.committee, *place, message, world.stranger.sign_hash(message.digest(*place))
    )
    assert (done.stored, done.certain) == ((), False)
    foreign = Revoke(world.stranger.address, (world.consent_id(),))
    signature = world.stranger.sign_hash(foreign.digest(*place))
    assert revoke_everywhere(world.ports, world.committee, *place, foreign, signature).certain
    assert world.ask(world.request())["shares"]


def test_a_revocation_is_stored_once_with_the_time_it_was_first_seen(world: Any) -> None:
    revoke(world)
    world.clock.offset = 30
    revoke(world)
    assert [entry.kind for entry in read_log(world.ports[1])] == ["revocation"]


def test_too_few_stored_revocations_are_not_called_certain(world: Any) -> None:
    class Dead:
        def call(self, path: str, body: bytes) -> bytes:
            raise AllodError("The keeper does not answer.")

    owner = world.datasets["ada"].owner
    place = (world.place.chain_id, world.place.consent_token)
    message = Revoke(owner.address, (world.consent_id(),))
    ports = {**world.ports, 1: Dead(), 2: Dead()}
    done = revoke_everywhere(ports, world.committee, *place, message, owner.sign_hash(message.digest(*place)))
    assert (done.stored, done.needed, done.certain) == ((3,), 2, False)
    assert release(
        {1: world.ports[1], 2: world.ports[2]},
        world.committee,
        world.place.consent_token,
        world.request(),
        world.runner,
        world.check(),
    ).shares
