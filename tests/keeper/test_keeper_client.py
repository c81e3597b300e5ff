"""A runner believes no keeper: who lies is named, who fails is replaced, and fewer than t open nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consent.keeper.client import close_job, collect_settlement, deposit_tree, read_log, release, revoke_everywhere
from consent.keeper.port import InProcessPort
from consent.keeper.proposal import NO_STATEMENT
from consent.keeper.receipt import Receipt
from consent.keeper.revocation import RevokeAll
from consent.keeper.service import read_service
from consent.keeper.wire import read_reply, write
from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput, Refused, Unavailable, VerificationFailed
from vault.shares import combine
from vault.sharing import recover_dek


class Twisted:
    """A port whose replies are changed on the way, as a lying keeper would."""

    def __init__(self, port: InProcessPort, twist: Callable[[dict[str, Any]], None]) -> None:
        self._port = port
        self._twist = twist

    def call(self, path: str, body: bytes) -> bytes:
        reply = decode_cbor(self._port.call(path, body))
        self._twist(reply)
        return encode_cbor(reply)


class Dead:
    def call(self, path: str, body: bytes) -> bytes:
        raise Unavailable("The keeper does not answer.")


def ask(world: Any, ports: Any, request: Any = None) -> Any:
    token = world.place.consent_token
    return release(ports, world.committee, token, request or world.request(), world.runner, world.check())


def corrupt_share(reply: dict[str, Any]) -> None:
    reply["shares"][0] = bytes(len(reply["shares"][0]))


def other_root(reply: dict[str, Any]) -> None:
    reply["receipt"]["root"] = bytes(32)


def other_job(reply: dict[str, Any]) -> None:
    reply["receipt"]["job"] = bytes(32)


def other_log(reply: dict[str, Any]) -> None:
    reply["receipt"]["previous"] = bytes([1]) * 32


def fewer(reply: dict[str, Any]) -> None:
    reply["shares"].pop()


@pytest.mark.parametrize("twist", [corrupt_share, other_root, other_job, other_log, fewer])
def test_a_keeper_whose_share_or_receipt_is_wrong_is_named_and_replaced(world: Any, twist: Any) -> None:
    ports = {**world.ports, 1: Twisted(world.ports[1], twist)}
    found = ask(world, ports)
    assert found.liars == {1}
    assert "1" in found.reasons[1]
    for object_id, shares in found.shares.items():
        assert [keeper for keeper, _ in shares] == [2, 3]
        opened = [world.open("ada", object_id, keeper, sealed) for keeper, sealed in shares]
        assert combine(opened) == world.datasets["ada"].deks[object_id]


def test_a_keeper_that_signs_for_a_wrong_share_is_caught_by_the_owners_hash(world: Any) -> None:
    """Keeper 1 seals garbage and signs a perfect receipt for it: only the hash in the owner's table tells."""
    from consent.keeper import releasing

    def forge(reply: dict[str, Any]) -> None:
        ids = world.datasets["ada"].ids
        garbage = [bytes(1169)] * len(ids)
        root = releasing.release_root(list(zip(ids, garbage, strict=True)))
        receipt = Receipt.read({**reply["receipt"], "root": root})
        account = world.keepers[0]._station.keys.account
        reply["shares"] = garbage
        reply["receipt"] = receipt.signed(account, world.place.chain_id, world.place.escrow).fields()

    found = ask(world, {**world.ports, 1: Twisted(world.ports[1], forge)})
    assert found.liars == {1}
    assert "Keeper 1's reply does not open" in found.reasons[1]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("root", bytes(32), "does not name what it released"),
        ("job", bytes(32), "is for another release"),
        ("consent", bytes(32), "is for another release"),
        ("keeper", 2, "is for another release"),
    ],
)
def test_a_well_signed_receipt_about_something_else_is_a_lie(world: Any, field: str, value: Any, words: str) -> None:
    def forge(reply: dict[str, Any]) -> None:
        receipt = Receipt.read({**reply["receipt"], field: value})
        account = world.keepers[0]._station.keys.account
        reply["receipt"] = receipt.signed(account, world.place.chain_id, world.place.escrow).fields()

    found = ask(world, {**world.ports, 1: Twisted(world.ports[1], forge)})
    assert found.liars == {1}
    assert words in found.reasons[1]


def test_a_silent_keeper_is_replaced_and_not_called_a_liar(world: Any) -> None:
    found = ask(world, {**world.ports, 2: Dead()})
    assert (found.liars, found.reasons) == (set(), {2: "The keeper does not answer."})
    assert [receipt.keeper for receipt in found.receipts] == [1, 3]


def test_a_keepers_refusal_is_no_lie(world: Any) -> None:
    world.stop_keepers()
    world.start_keepers()
    with pytest.raises(Refused) as caught:
        ask(world, world.ports, world.request("cyd"))
    assert caught.value.message == "This consent was never granted on chain."
    assert sorted(caught.value.detail["reasons"]) == [1, 2, 3]
    assert caught.value.detail["liars"] == []


def test_a_silent_keeper_that_could_make_up_for_a_liar_is_waited_for(world: Any) -> None:
    with pytest.raises(Unavailable, match="Keeper 2: The keeper does not answer"):
        ask(world, {1: world.ports[1], 2: Dead(), 3: Twisted(world.ports[3], corrupt_share)})


def test_fewer_than_t_keepers_release_nothing_usable(world: Any) -> None:
    twisted = {index: Twisted(world.ports[index], corrupt_share) for index in (1, 2)}
    with pytest.raises(Refused, match="Keeper 1"):
        ask(world, {**twisted, 3: world.ports[3]})


def test_waiting_for_a_silent_keeper_is_no_use_where_the_others_refuse(world: Any) -> None:
    with pytest.raises(Refused, match="never granted"):
        ask(world, {**world.ports, 2: Dead()}, world.request("cyd"))


def test_t_minus_one_shares_do_not_make_the_key(world: Any) -> None:
    data = world.datasets["ada"]
    object_id = data.ids[0]
    reply = world.ask(world.request(ids=[object_id]))
    share = world.open("ada", object_id, 1, reply["shares"][0])
    guess = bytes(32) + bytes([2])
    assert combine([share, guess]) != data.deks[object_id]
    with pytest.raises(InvalidInput, match="too few"):
        recover_dek([share], 2, bytes(32), data.vault_id, object_id)


def test_a_dataset_larger_than_one_request_is_asked_for_in_parts(world: Any) -> None:
    from consent.keeper import client

    request = world.request()
    parts = client._parts(request)
    assert len(parts) == 1
    many = client._parts(type(request)(**{**vars(request), "objects": request.objects * 50}))
    assert [len(part.objects) for part in many] == [64, 64, 22]


def test_replies_that_are_no_replies_are_lies(world: Any) -> None:
    class Noise:
        def call(self, path: str, body: bytes) -> bytes:
            return b"\xff\x00"

    found = ask(world, {**world.ports, 1: Noise()})
    assert found.liars == {1}


def test_a_forged_settlement_signature_is_not_counted(world: Any) -> None:
    def forge(reply: dict[str, Any]) -> None:
        if "signature" in reply:
            reply["signature"] = reply["signature"][:64] + bytes([55 - reply["signature"][64]])

    final = world.tree.lowered({world.consent_id(): 0})
    ports = {**world.ports, 2: Twisted(world.ports[2], forge)}
    with pytest.raises(Refused, match="Keeper 2 did not sign"):
        collect_settlement(ports, world.committee, world.order, final, NO_STATEMENT, world.runner)


def test_a_forged_acknowledgement_of_a_revocation_is_not_counted(world: Any) -> None:
    owner = world.datasets["ada"].owner
    message, place = RevokeAll(owner.address, 0), (world.place.chain_id, world.place.consent_token)
    later = Twisted(world.ports[1], lambda reply: reply.update(seen=reply["seen"] + 1))
    signature = owner.sign_hash(message.digest(*place))
    done = revoke_everywhere({**world.ports, 1: later}, world.committee, *place, message, signature)
    assert done.stored == (2, 3)
    assert "not signed by it" in done.reasons[1]


def test_dead_keepers_are_reported_everywhere(world: Any) -> None:
    ports = {**world.ports, 2: Dead()}
    assert deposit_tree(ports, world.order, world.tree) == {2: "The keeper does not answer."}
    closing = close_job(ports, world.order, world.trainer)
    assert sorted(closing.released) == [1, 3]
    assert closing.reasons == {2: "The keeper does not answer."}


@pytest.mark.parametrize(
    "nonsense", [{"released": 5}, {"ledgers": None}, {"ledgers": [[bytes(32), "x"]]}, {"released": [bytes(31)]}]
)
def test_nonsense_about_a_closed_job_is_a_keeper_that_did_not_answer(world: Any, nonsense: dict[str, Any]) -> None:
    ports = {**world.ports, 2: Twisted(world.ports[2], lambda reply: reply.update(nonsense))}
    closing = close_job(ports, world.order, world.runner)
    assert (sorted(closing.released), sorted(closing.ledgers), list(closing.reasons)) == ([1, 3], [1, 3], [2])


def test_a_log_that_was_rewritten_or_cut_is_noticed(world: Any) -> None:
    world.ask(world.request())
    world.ask(world.request("bob"))
    assert [entry.kind for entry in read_log(world.ports[1])] == ["release", "release"]

    def drop(reply: dict[str, Any]) -> None:
        reply["list"] = reply["list"][1:]

    def rewrite(reply: dict[str, Any]) -> None:
        reply["list"] = [encode_cbor({**decode_cbor(reply["list"][0]), "objects": 1}), *reply["list"][1:]]

    for twist in (drop, rewrite, lambda reply: reply.update(head=bytes(32))):
        with pytest.raises(VerificationFailed):
            read_log(Twisted(world.ports[1], twist))  # type: ignore[arg-type]


def test_anyone_learns_what_a_keeper_is_and_which_trees_pay_an_account(world: Any) -> None:
    from consent.keeper.trees import write_job_query, write_payee_query

    about = read_service(world.ports[1].call("service", b""), world.committee.addresses[0])
    assert about.committees == (world.committee.encode(),)
    assert (about.chain_id, about.token, about.escrow) == (
        world.place.chain_id,
        world.place.consent_token,
        world.place.escrow,
    )
    with pytest.raises(Corrupted, match="is not the keeper"):
        read_service(world.ports[1].call("service", b""), world.committee.addresses[1])
    ada = world.datasets["ada"].owner.address
    reply = read_reply(world.ports[1].call("tree", write_payee_query(ada)), ("jobs",), "The reply")
    assert reply["jobs"] == [world.order.job_id]
    fields = ("order", "tree", "final")
    reply = read_reply(world.ports[1].call("tree", write_job_query(world.order.job_id)), fields, "The reply")
    assert (reply["order"], reply["tree"]) == (world.order.encode(), world.tree.encode())
    with pytest.raises(Corrupted):
        read_reply(world.ports[1].call("service", write("service")), ("x",), "The reply")
