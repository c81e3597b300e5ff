"""Each thing a release hangs on, changed alone: the keeper says no and why, and nothing was released."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent.chain.client import Chain
from consent.grant import nonce_of
from consent.keeper.client import read_log
from consent.keeper.founding import found_committee
from consent.keeper.keys import KeeperKeys
from consent.keeper.request import ReleaseRequest
from consent.keeper.trees import write_deposit
from consent.keeper.wire import read_reply, sign, write
from consent.market.publication import asset_of
from consent.order import Order
from consent.tree import FEE, Leaf, SumTree
from core.encoding import decode_cbor
from core.errors import AllodError, Corrupted, InvalidInput, Refused
from core.ids import Asset
from vault.manifest import DatasetHeader
from vault.sharetable import SIGN_CONTEXT, build_table, verify_row
from vault.sharing import Scope, share_objects


def refuses(world: Any, words: str, request: ReleaseRequest, **how: Any) -> None:
    with pytest.raises(AllodError) as caught:
        world.ask(request, **how)
    assert words in str(caught.value), caught.value
    assert not [entry for entry in read_log(world.ports[how.get("keeper", 1)]) if entry.kind == "release"]


def tree_with(world: Any, name: str, **changes: Any) -> SumTree:
    index = world.tree.find(world.consent_id(name))
    leaves = list(world.tree.leaves)
    leaves[index] = replace(leaves[index], **changes)
    return SumTree(leaves)


# -- whose request -----------------------------------------------------------------------------------------------------


def test_a_request_for_another_keeper_is_refused(world: Any) -> None:
    refuses(world, "for keeper 2 of the committee", world.request(), keeper=1, named=2)


def test_a_request_that_the_runner_did_not_sign_is_refused(world: Any) -> None:
    refuses(world, "not signed by the job's runner", world.request(), signer=world.stranger)
    refuses(world, "not signed by the job's runner", world.request(), signer=world.trainer)


def test_a_signature_does_not_cover_another_body(world: Any) -> None:
    from consent.keeper.request import release_digest

    signed, other = world.request().body(1), world.request(ids=world.datasets["ada"].ids[:1]).body(1)
    signature = world.runner.sign_hash(release_digest(world.order, world.consent_id(), 1, signed))
    reply = world.keepers[0].handle("release", sign(other, signature))
    with pytest.raises(Refused, match="not signed by the job's runner"):
        read_reply(reply, ("shares", "receipt"), "The reply")


def test_an_unknown_committee_is_refused(world: Any) -> None:
    refuses(world, "does not belong to the committee", replace(world.request(), committee_id=bytes(32)))


def test_a_committee_whose_epoch_is_over_releases_nothing(world: Any) -> None:
    world.clock.offset = 31 * 86400
    refuses(world, "epoch is over", world.request())


# -- chain, contract, job ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"chain_id": 1}, "serves another chain"),
        ({"escrow": bytes([9]) * 20}, "does not know the escrow"),
        ({"q": 2}, "a committee that this keeper does not belong to"),
        ({"lane": 5}, "No open job on chain"),
        ({"fee": 1}, "No open job on chain"),
        ({"recipe_hash": bytes(32)}, "No open job on chain"),
        ({"job_pk": bytes(1216)}, "No open job on chain"),
    ],
)
def test_an_order_that_is_not_the_one_on_chain_is_refused(world: Any, change: dict[str, Any], words: str) -> None:
    order: Order = replace(world.order, **change)
    refuses(world, words, world.request(order=order))


def test_a_job_of_another_committee_that_the_keeper_sits_in_too_is_refused(world: Any, tmp_path: Path) -> None:
    own, others = KeeperKeys.open(world.folder / "1"), [KeeperKeys.create(tmp_path / str(i)) for i in range(2)]
    second = found_committee([own, *others], 2, 3, 1, world.committee.end)
    world.keepers[0].join(second)
    order = world.open_job(world.tree, lane=1, keepers=second.addresses)
    read_reply(world.keepers[0].handle("tree", write_deposit(order, world.tree)), ("job",), "The reply")
    refuses(world, "The job names another committee", world.request(order=order))
    foreign = replace(world.request(order=order), committee_id=second.id)
    refuses(world, "terms name another committee", foreign)


def test_a_job_that_was_never_opened_is_refused(world: Any) -> None:
    refuses(world, "No open job on chain", world.request(order=replace(world.order, lane=77)))


def test_a_confirmed_job_is_refused(world: Any) -> None:
    order = world.order
    args = (order.payer, order.lane, order.times, order.spec, order.root, order.counted_hash, bytes(32))
    world.transact(world.runner, "escrow", "confirm", *args)
    refuses(world, "No open job on chain", world.request())


def test_a_job_about_to_end_is_refused_by_block_time_and_by_clock(world: Any) -> None:
    ahead = world.order.start - 590 - world.chain.mine().timestamp  # the world may be some minutes old by now
    world.clock.offset = ahead
    refuses(world, "seconds old", world.request())  # its clock is ahead of every block it can see
    world.clock.offset = 0
    world.chain.advance(ahead)
    refuses(world, "ends in less than 10 minutes", world.request())
    world.chain.advance(600)
    refuses(world, "its time to settle has passed", world.request())


def test_without_the_whole_tree_nothing_is_released(world: Any) -> None:
    order = world.open_job(world.tree, lane=1)
    refuses(world, "does not hold the job's tree", world.request(order=order))
    with pytest.raises(Refused, match="not the one that the job was opened with"):
        world.hand_in(order, tree_with(world, "bob", amount=1))
    world.hand_in(order)
    assert world.ask(world.request(order=order))["shares"]


def test_a_tree_whose_fee_is_not_the_orders_is_not_taken(world: Any) -> None:
    leaves = [leaf for leaf in world.tree.leaves if leaf.consent_id != FEE]
    tree = SumTree([*leaves, Leaf(FEE, world.stranger.address, 250)])
    order = world.open_job(tree, lane=1)
    with pytest.raises(Refused, match="another fee"):
        world.hand_in(order, tree)


# -- consent -----------------------------------------------------------------------------------------------------------


def test_a_consent_never_minted_is_refused(world: Any) -> None:
    refuses(world, "never granted on chain", world.request("cyd"))


def test_a_burned_consent_is_refused(world: Any) -> None:
    data = world.datasets["ada"]
    digest_ids = [world.consent_id()]
    from consent.typed import revoke_digest

    signature = data.owner.sign_hash(
        revoke_digest(world.place.chain_id, world.place.consent_token, data.owner.address, digest_ids)
    )
    args = ([data.consent.as_tuple()], [world.trainer.address], signature)
    world.transact(world.stranger, "consent_token", "revoke_by_sig", *args)
    refuses(world, "The owner revoked this consent", world.request())
    assert world.ask(world.request("bob"))["shares"]


def test_a_consent_whose_nonce_or_epoch_ended_is_refused(world: Any) -> None:
    from consent.typed import revoke_all_digest, revoke_nonces_digest

    place, ada, bob = (world.place.chain_id, world.place.consent_token), world.datasets["ada"], world.datasets["bob"]
    signed = ada.owner.sign_hash(revoke_nonces_digest(*place, ada.owner.address, 7, 1 << 3))
    world.transact(world.stranger, "consent_token", "revoke_nonces_by_sig", ada.owner.address, 7, 1 << 3, signed)
    refuses(world, "The owner revoked this consent.", world.request())
    signed = bob.owner.sign_hash(revoke_all_digest(*place, bob.owner.address, 0))
    world.transact(world.stranger, "consent_token", "revoke_all_by_sig", bob.owner.address, 0, signed)
    refuses(world, "revoked all consents", world.request("bob"))


def remade(world: Any, name: str = "ada", **changes: Any) -> None:
    """Grant another consent of the owner's and open a job that pays for it exactly what it asks."""
    data = world.datasets[name]
    consent = replace(data.consent, nonce=nonce_of(0, 7, 9), **changes)
    world.datasets[name] = replace(data, consent=consent)
    if consent.grantee == world.trainer.address:
        signature = data.owner.sign_hash(consent.digest(world.place.chain_id, world.place.consent_token))
        world.transact(world.stranger, "consent_token", "redeem", [consent.as_tuple()], [signature])
    leaf = world.tree.leaves[0]
    if consent.grantee in (world.trainer.address, bytes(20)):
        leaf = replace(leaf, consent_id=world.consent_id(name))
    world.tree = SumTree([leaf, *world.tree.leaves[1:]])
    world.order = world.open_job(world.tree, lane=3)
    world.hand_in()


def test_an_expired_consent_is_refused(world: Any) -> None:
    remade(world, expiry=world.chain.block().timestamp + 300)
    assert world.ask(world.request())["shares"]
    world.chain.advance(301)
    with pytest.raises(Refused, match="has expired"):
        world.ask(world.request())


def test_a_consent_expired_by_the_keepers_clock_alone_is_refused(world: Any) -> None:
    # A busy development chain runs ahead of the wall clock, and its newest block may be old.
    expiry = max(world.chain.block().timestamp, int(time.time())) + 30
    remade(world, expiry=expiry)
    world.clock.offset = expiry + 5 - time.time()
    refuses(world, "has expired", world.request())


def test_a_consent_that_does_not_begin_yet_is_refused(world: Any) -> None:
    remade(world, not_before=world.chain.block().timestamp + 3600)
    refuses(world, "not valid yet", world.request())


def test_a_development_chain_ahead_of_the_clock_sets_the_clock(world: Any) -> None:
    world.chain.advance(300)
    remade(world, not_before=world.chain.block().timestamp)
    assert world.ask(world.request())["shares"]


def test_elsewhere_a_consent_must_have_begun_by_the_clock_too(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.chain.advance(300)
    remade(world, not_before=world.chain.block().timestamp)
    monkeypatch.setattr(Chain, "is_development", False)
    refuses(world, "not valid yet", world.request())


def test_a_consent_with_limited_uses_that_the_job_did_not_count_is_refused(world: Any) -> None:
    remade(world, max_uses=1)
    refuses(world, "the job did not count this one", world.request())


def test_a_use_counts_for_the_job_that_took_it_and_for_no_other(world: Any) -> None:
    remade(world, max_uses=1)
    consent = world.datasets["ada"].consent
    counting = world.open_job(world.tree, lane=4, counted=[consent])
    world.hand_in(counting)
    refuses(world, "the job did not count this one", world.request())
    claimed = replace(world.order, counted=(world.consent_id(),))
    refuses(world, "No open job on chain", world.request(order=claimed))
    assert world.ask(world.request(order=counting))["shares"]


def test_another_trainers_consent_is_refused(world: Any) -> None:
    remade(world, grantee=world.stranger.address)
    refuses(world, "another trainer", world.request())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runner": bytes([5]) * 20}, "another runner only"),
        ({"escrow": bytes([5]) * 20}, "another escrow"),
        ({"purpose": bytes(32)}, "another purpose"),
        ({"terms": bytes(32)}, "not those that the owner signed"),
    ],
)
def test_a_consent_for_something_else_is_refused(world: Any, change: dict[str, Any], words: str) -> None:
    remade(world, **change)
    refuses(world, words, world.request())


def test_other_terms_or_another_recipe_are_refused(world: Any) -> None:
    cheaper = replace(world.datasets["ada"].terms, flat=0)
    refuses(world, "not those that the owner signed", replace(world.request(), terms=cheaper.encode()))
    longer = replace(world.recipe, epochs=2)
    refuses(world, "recipe is not the one", replace(world.request(), recipe=longer.encode()))


@pytest.mark.parametrize("off", [-1, 1])
def test_a_leaf_whose_amount_is_off_by_one_is_refused(world: Any, off: int) -> None:
    tree = tree_with(world, "ada", amount=world.tree.leaves[0].amount + off)
    order = world.open_job(tree, lane=1)
    world.hand_in(order, tree)
    refuses(world, "its terms ask", world.request(order=order))
    assert world.ask(world.request("bob", order=order))["shares"]


def test_a_leaf_for_another_payee_and_a_missing_leaf_are_refused(world: Any) -> None:
    tree = tree_with(world, "ada", payee=world.stranger.address)
    order = world.open_job(tree, lane=1)
    world.hand_in(order, tree)
    refuses(world, "another account than its terms name", world.request(order=order))
    tree = SumTree(world.tree.leaves[1:])
    order = world.open_job(tree, lane=2)
    world.hand_in(order, tree)
    refuses(world, "pays nothing for this consent", world.request(order=order))


# -- dataset -----------------------------------------------------------------------------------------------------------


def test_another_owners_dataset_is_refused_under_ones_own_consent(world: Any) -> None:
    bob = world.request("bob")
    stolen = replace(
        world.request("ada"), header=bob.header, table=bob.table, table_sig=bob.table_sig, objects=bob.objects
    )
    refuses(world, "not the one that the owner consented to", stolen)


def test_the_victims_objects_in_a_strangers_dataset_stay_closed(world: Any) -> None:
    """A stranger lists the victim's very manifests and cells in a dataset of his own, all signed and paid for."""
    ada, bob = world.datasets["ada"], world.datasets["bob"]
    header = replace(DatasetHeader.decode(ada.header), manifest_pk=bob.signing.public_key().public_bytes_raw()).encode()
    asset = asset_of(bob.owner.address, header)
    rows = [verify_row(ada.table.head, *ada.table.row(object_id)) for object_id in ada.ids]
    table = build_table(replace(ada.table.head, asset=asset), rows, bob.signing)
    world.datasets["bob"] = replace(ada, owner=bob.owner, terms=bob.terms, header=header, asset=asset, table=table)
    remade(world, "bob", owner=bob.owner.address, asset=asset, terms=bob.terms.hash)
    tree = SumTree([replace(world.tree.leaves[0], payee=bob.owner.address), *world.tree.leaves[1:]])
    order = world.open_job(tree, lane=5)
    world.hand_in(order, tree)
    refuses(world, "does not open", world.request("bob", order=order))


def test_an_object_that_is_not_in_the_dataset_is_refused(world: Any) -> None:
    ada, bob = world.request("ada"), world.request("bob")
    refuses(world, "not part of this dataset", replace(ada, objects=bob.objects))
    moved = replace(ada.objects[0], index=1)
    refuses(world, "not part of this dataset", replace(ada, objects=(moved, *ada.objects[1:])))


def test_a_row_of_another_object_is_refused(world: Any) -> None:
    ada = world.request("ada")
    first, second = ada.objects[:2]
    crossed = replace(first, row=second.row, row_index=second.row_index, row_proof=second.row_proof)
    refuses(world, "belongs to another object", replace(ada, objects=(crossed,)))


def test_a_row_that_is_not_in_the_signed_table_is_refused(world: Any) -> None:
    ada, bob = world.request("ada"), world.request("bob")
    foreign = replace(ada.objects[0], row=bob.objects[0].row)
    refuses(world, "not part of the share table", replace(ada, objects=(foreign,)))


def test_objects_out_of_order_or_twice_are_refused(world: Any) -> None:
    ada = world.request("ada")
    refuses(world, "order of their ids", replace(ada, objects=(ada.objects[1], ada.objects[0])))
    refuses(world, "order of their ids", replace(ada, objects=(ada.objects[0], ada.objects[0])))


def test_an_unsigned_share_table_is_refused(world: Any) -> None:
    ada, stranger = world.request("ada"), Ed25519PrivateKey.generate()
    refuses(world, "not signed by the dataset's owner", replace(ada, table_sig=bytes(64)))
    forged = stranger.sign(SIGN_CONTEXT + ada.table)
    refuses(world, "not signed by the dataset's owner", replace(ada, table_sig=forged))


def resigned(world: Any, **changes: Any) -> ReleaseRequest:
    """The owner's own table with another head, signed by the owner's own key."""
    data, request = world.datasets["ada"], world.request("ada")
    head = replace(data.table.head, **changes)
    return replace(request, table=head.encode(), table_sig=data.signing.sign(SIGN_CONTEXT + head.encode()))


def test_a_table_for_another_committee_asset_or_threshold_is_refused(world: Any) -> None:
    refuses(world, "another committee", resigned(world, committee_id=bytes(32)))
    refuses(world, "another committee", resigned(world, t=3))
    refuses(world, "another dataset", resigned(world, asset=Asset(bytes(32))))


def test_a_cell_of_another_batch_or_keeper_does_not_open(world: Any) -> None:
    refuses(world, "does not open", resigned(world, batch_id=bytes(16)))
    sealed = world.datasets["ada"].table.head.sealed
    refuses(world, "does not open", resigned(world, sealed=(sealed[1], sealed[0], sealed[2])))


@pytest.mark.parametrize("field", ["chain_id", "token", "owner", "asset", "vault_id"])
def test_a_share_sealed_under_another_scope_does_not_open(world: Any, field: str) -> None:
    """Everything is signed and paid for, but the owner sealed the shares for another place."""
    data, committee = world.datasets["ada"], world.committee
    scope = Scope(world.place.chain_id, world.place.consent_token, data.owner.address, data.asset, data.vault_id)
    other: dict[str, Any] = {"chain_id": 1, "token": bytes(20), "owner": bytes(20), "asset": bytes(32)}
    wrong = replace(scope, **{field: other.get(field, bytes(32))})
    table = share_objects(wrong, data.deks, committee.id, committee.t, committee.hpke_keys, data.signing, 2)
    head = replace(table.head, asset=data.asset)
    table = build_table(head, [verify_row(table.head, *table.row(object_id)) for object_id in data.ids], data.signing)
    world.datasets["ada"] = replace(data, table=table)
    refuses(world, "does not open", world.request("ada"))


def test_a_cell_of_another_object_does_not_open(world: Any) -> None:
    data = world.datasets["ada"]
    rows = [verify_row(data.table.head, *data.table.row(object_id)) for object_id in data.ids]
    swapped = [replace(rows[0], cells=rows[1].cells), *rows[1:]]
    world.datasets["ada"] = replace(data, table=build_table(data.table.head, swapped, data.signing))
    refuses(world, "does not open", world.request("ada", ids=data.ids[:1]))
    assert world.ask(world.request("ada", ids=data.ids[1:]))["shares"]


def test_a_share_that_misses_its_hash_is_not_released(world: Any) -> None:
    data = world.datasets["ada"]
    rows = [verify_row(data.table.head, *data.table.row(object_id)) for object_id in data.ids]
    wrong = [replace(rows[0], hashes=(bytes(32), *rows[0].hashes[1:])), *rows[1:]]
    world.datasets["ada"] = replace(data, table=build_table(data.table.head, wrong, data.signing))
    refuses(world, "not the one that the owner made", world.request("ada"))


# -- the answer --------------------------------------------------------------------------------------------------------


def test_a_replayed_reply_is_useless_to_another_job(world: Any) -> None:
    reply = world.ask(world.request())
    object_id, sealed = world.datasets["ada"].ids[0], reply["shares"][0]
    assert world.open("ada", object_id, 1, sealed)
    with pytest.raises(Corrupted, match="does not open for this job"):
        world.open("ada", object_id, 1, sealed, job=bytes(32))
    with pytest.raises(Corrupted, match="does not open for this job"):
        world.open("ada", world.datasets["ada"].ids[1], 1, sealed)
    with pytest.raises(Corrupted, match="does not open for this job"):
        world.open("ada", object_id, 2, sealed)


# -- form --------------------------------------------------------------------------------------------------------------


def test_malformed_requests_are_refused_and_never_crash(world: Any) -> None:
    body = world.request().body(1)
    junk = (b"\xff", b"\x80", body, body[:-1], sign(b"", b""), sign(body, bytes(65)), b"\x9f" * 5000, b"\x81" * 5000)
    for path in ("release", "tree", "revoke", "ledger", "settlement", "log", "service", "nothing"):
        for data in (*junk, write("x"), write("release"), sign(write("settlement"), bytes(65))):
            reply = decode_cbor(world.keepers[0].handle(path, data))
            assert reply["error"] in ("invalid-input", "refused", "not-found"), (path, data[:40])
            assert reply["reason"].endswith(".")


def test_too_many_objects_and_too_large_requests_are_refused(world: Any) -> None:
    many = replace(world.request(), objects=world.request().objects[:1] * 65)
    with pytest.raises(InvalidInput, match="1 to 64 entries"):
        world.ask(many)
    with pytest.raises(InvalidInput, match="larger than"):
        read_reply(world.keepers[0].handle("release", bytes((8 << 20) + 1)), (), "The reply")
