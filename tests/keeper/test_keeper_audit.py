"""An auditor names what a keeper did wrong, from its log, the chain, receipts and heads that others kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from consent.keeper import audit
from consent.keeper.audit import Flaw, Log, Promise, fetch_log, read_log_file, write_log
from consent.keeper.client import close_job, collect_settlement
from consent.keeper.hindsight import Hindsight
from consent.keeper.log import START, Entry
from consent.keeper.proposal import NO_STATEMENT
from consent.keeper.receipt import Receipt
from consent.keeper.store import StoredLog
from consent.keeper.trees import write_job_query
from consent.keeper.wire import read_reply
from consent.market.paying import settle
from consent.market.place import Market, Relayer
from consent.tree import SumTree
from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput, NotFound


def tree_of(world: Any) -> Any:
    def ask(job: Any) -> SumTree:
        fields = ("order", "tree", "final")
        reply = read_reply(world.ports[1].call("tree", write_job_query(job)), fields, "The reply")
        return SumTree.decode(reply["tree"])

    return ask


def audited(
    world: Any,
    encoded: Sequence[bytes],
    promises: Sequence[Promise] = (),
    receipts: Sequence[Receipt] = (),
    **more: Any,
) -> Log:
    log = audit.read(encoded, promises, receipts)
    Hindsight(Market(world.chain, world.place), more.pop("tree_of", tree_of(world)), **more).check(log)
    return log


def slugs(log: Log) -> list[tuple[str, int | None]]:
    return [(flaw.slug, flaw.entry) for flaw in log.flaws]


def entries(world: Any) -> list[bytes]:
    return StoredLog(world.folder / "1" / "keeper.sqlite").entries()


def released(world: Any, *names: str) -> list[Receipt]:
    """Keeper 1 releases; its receipts."""
    return [Receipt.read(world.ask(world.request(name))["receipt"]) for name in names]


def chained(some: Sequence[Entry | bytes]) -> list[bytes]:
    """The entries as a keeper would write them anew: numbered and chained."""
    out: list[bytes] = []
    previous = START
    for seq, one in enumerate(some):
        entry = one if isinstance(one, Entry) else Entry.decode(one)
        out.append(replace(entry, seq=seq, previous=previous).encode())
        previous = sha256(out[-1]).digest()
    return out


def planted(world: Any, **facts: Any) -> list[bytes]:
    """The log with one more release, made by hand under the keeper's own chain."""
    (true,) = released(world, "ada")
    log = entries(world)
    last = Entry.decode(log[-1])
    time = facts.pop("time", last.time)
    return chained([*log, replace(last, time=time, facts={**last.facts, **facts}, seq=0)]) if true else []


def test_an_honest_log_has_no_flaw(world: Any) -> None:
    receipts = released(world, "ada", "bob", "ada")
    said = close_job(world.ports, world.order, world.runner)
    final = said.lowest(world.tree, {}, keep_fee=True)
    signatures = collect_settlement(world.ports, world.committee, world.order, final, NO_STATEMENT, world.runner)
    by_address = {world.committee.addresses[index - 1]: signature for index, signature in signatures.items()}
    market = Market(world.chain, world.place)
    settle(market, Relayer(world.chain, world.stranger), world.order, final.root, NO_STATEMENT, by_address)
    encoded, promise = fetch_log(world.ports[1], world.committee.addresses[0])
    assert encoded == entries(world)
    log = audited(world, encoded, [promise], receipts)
    assert log.flaws == []
    assert log.kinds == {"closed": 1, "release": 3, "settlement": 1}


def test_an_empty_log_has_no_flaw(world: Any) -> None:
    encoded, promise = fetch_log(world.ports[1], world.committee.addresses[0])
    assert (encoded, audited(world, encoded, [promise]).flaws) == ([], [])


def test_a_deleted_entry_is_named(world: Any) -> None:
    released(world, "ada", "bob", "ada")
    log = entries(world)
    found = audited(world, [log[0], log[2]])
    assert slugs(found) == [("deleted", 1)]
    assert "lacks entry 1" in found.flaws[0].sentence
    assert slugs(audited(world, log[2:])) == [("deleted", 0)]


def test_a_deleted_entry_is_named_by_its_receipt_even_if_the_rest_was_chained_anew(world: Any) -> None:
    receipts = released(world, "ada", "bob", "ada")
    log = entries(world)
    anew = chained([log[0], log[2]])
    assert audited(world, anew).flaws == []
    found = audited(world, anew, receipts=receipts)
    assert ("deleted", None) in slugs(found)
    assert receipts[2].consent.hex() in found.flaws[-1].sentence


def test_a_log_that_was_cut_is_noticed_by_its_signed_head_by_a_receipt_and_by_the_last_audit(world: Any) -> None:
    receipts = released(world, "ada", "bob", "ada")
    log, promise = fetch_log(world.ports[1], world.committee.addresses[0])
    assert slugs(audited(world, log[:2], [promise])) == [("truncated", 2)]
    assert slugs(audited(world, log[:2], receipts=receipts)) == [("truncated", None)]
    earlier = Promise(2, sha256(log[1]).digest(), "the last audit")
    assert audited(world, log, [earlier]).flaws == []
    assert slugs(audited(world, log[:1], [earlier])) == [("truncated", 1)]
    assert slugs(audited(world, [], [earlier])) == [("truncated", 0)]
    assert slugs(audited(world, chained([log[1], log[0], log[2]]), [earlier])) == [("rewritten", 1)]


def test_a_changed_entry_is_named(world: Any) -> None:
    receipts = released(world, "ada", "bob")
    log = entries(world)
    forged = encode_cbor({**decode_cbor(log[0]), "objects": 1})
    found = audited(world, [forged, log[1]])
    assert slugs(found) == [("forged", 1)]
    other = encode_cbor({**decode_cbor(log[1]), "root": bytes(32)})
    assert slugs(audited(world, [log[0], other], receipts=receipts)) == [("forged", 1)]
    unreadable = audited(world, [b"\xff", log[1]])
    assert slugs(unreadable)[0] == ("unreadable", 0)


def test_a_changed_order_is_named(world: Any) -> None:
    released(world, "ada", "bob", "ada")
    log = entries(world)
    assert ("order", 1) in slugs(audited(world, [log[1], log[0], log[2]]))
    assert ("order", 2) in slugs(audited(world, [log[0], log[1], log[1], log[2]]))


def test_a_release_for_a_job_that_never_was_is_named(world: Any) -> None:
    found = audited(world, planted(world, job=bytes([9]) * 32))
    assert slugs(found) == [("bad-release", 1)]
    assert "no such job" in found.flaws[0].sentence


def test_a_release_without_a_consent_is_named(world: Any) -> None:
    found = audited(world, planted(world, consent=world.consent_id("cyd")))
    assert slugs(found) == [("bad-release", 1)]
    assert "never granted" in found.flaws[0].sentence


def test_a_release_that_nobody_is_paid_for_is_named(world: Any) -> None:
    tree = SumTree([leaf for leaf in world.tree.leaves if leaf.consent_id != world.consent_id()])
    order = world.open_job(tree, lane=1)
    found = audited(world, planted(world, job=order.job_id), tree_of=lambda job: tree)
    assert any("pays nothing for it" in flaw.sentence for flaw in found.flaws)


def test_a_release_for_less_than_the_terms_ask_is_named(world: Any) -> None:
    released(world, "ada")
    dues = {(world.order.job_id, world.consent_id()): 1_600}
    assert audited(world, entries(world), dues=dues).flaws == []
    found = audited(world, entries(world), dues={(world.order.job_id, world.consent_id()): 1_700})
    assert "pays 1600 for it, and its terms ask 1700" in found.flaws[0].sentence


@pytest.mark.parametrize("ended", ["given back", "epoch", "nonce"])
def test_a_release_after_the_consent_ended_is_named(world: Any, ended: str) -> None:
    released(world, "ada")
    owner, place = world.datasets["ada"].owner, (world.place.chain_id, world.place.consent_token)
    if ended == "given back":
        world.transact(world.trainer, "consent_token", "surrender", [world.datasets["ada"].consent.as_tuple()])
        words = "given back"
    elif ended == "epoch":
        from consent.typed import revoke_all_digest

        signed = owner.sign_hash(revoke_all_digest(*place, owner.address, 0))
        world.transact(world.stranger, "consent_token", "revoke_all_by_sig", owner.address, 0, signed)
        words = "revoked everything"
    else:
        from consent.typed import revoke_nonces_digest

        signed = owner.sign_hash(revoke_nonces_digest(*place, owner.address, 7, 1 << 3))
        world.transact(world.stranger, "consent_token", "revoke_nonces_by_sig", owner.address, 7, 1 << 3, signed)
        words = "nonce was revoked"
    block = world.chain.block()
    log = entries(world)
    assert audited(world, log).flaws == []  # what was released before stays right
    last = Entry.decode(log[-1])
    after = replace(last, facts={**last.facts, "safe": block.hash, "latest": block.hash})
    found = audited(world, chained([*log, after]))
    assert slugs(found) == [("bad-release", 1)]
    assert words in found.flaws[0].sentence


def test_a_release_by_old_or_foreign_blocks_is_named(world: Any) -> None:
    first = world.chain.block(0)
    found = audited(world, planted(world, safe=first.hash, latest=first.hash))
    sentences = " ".join(flaw.sentence for flaw in found.flaws)
    assert {slug for slug, _ in slugs(found)} == {"bad-release"}
    assert "not open yet" in sentences
    assert "not granted yet" in sentences
    found = audited(world, planted(world, latest=bytes([3]) * 32))
    assert "not on the chain" in found.flaws[0].sentence


def test_a_release_by_a_block_that_was_old_by_then_is_named(world: Any) -> None:
    log = planted(world)
    last = Entry.decode(log[-1])
    found = audited(world, chained([*log[:-1], replace(last, time=last.time + 1000)]))
    assert slugs(found) == [("bad-release", 1)]
    assert "seconds old" in found.flaws[0].sentence


def test_a_release_after_the_job_was_closed_or_over_is_named(world: Any) -> None:
    released(world, "ada")
    close_job(world.ports, world.order, world.runner)
    log = entries(world)
    found = audited(world, chained([*log, log[0]]))
    assert slugs(found) == [("bad-release", 2)]
    order = world.order
    args = (order.payer, order.lane, order.times, order.spec, order.root, order.counted_hash, bytes(32))
    world.transact(world.runner, "escrow", "confirm", *args)
    block = world.chain.block()
    last = Entry.decode(log[0])
    over = replace(last, facts={**last.facts, "safe": block.hash, "latest": block.hash})
    found = audited(world, chained([log[0], over]))
    assert any("the job had ended" in flaw.sentence for flaw in found.flaws)


def test_a_settlement_that_the_chain_contradicts_is_named(world: Any) -> None:
    said = close_job(world.ports, world.order, world.runner)
    final = said.lowest(world.tree, {}, keep_fee=True)
    signatures = collect_settlement(world.ports, world.committee, world.order, final, NO_STATEMENT, world.runner)
    by_address = {world.committee.addresses[index - 1]: signature for index, signature in signatures.items()}
    market = Market(world.chain, world.place)
    settle(market, Relayer(world.chain, world.stranger), world.order, final.root, NO_STATEMENT, by_address)
    log = entries(world)
    assert audited(world, log).flaws == []
    signed = Entry.decode(log[1])
    other = replace(signed, facts={**signed.facts, "root": bytes([1]) * 32})
    assert slugs(audited(world, chained([log[0], other]))) == [("bad-settlement", 1)]
    stated = replace(signed, facts={**signed.facts, "statement": bytes([1]) * 32})
    assert slugs(audited(world, chained([log[0], stated]))) == [("bad-settlement", 1)]
    unknown = replace(signed, facts={**signed.facts, "job": bytes(32)})
    assert ("bad-settlement", 1) in slugs(audited(world, chained([log[0], unknown])))
    assert ("bad-settlement", 2) in slugs(audited(world, chained([log[0], log[1], other])))
    assert ("bad-settlement", 0) in slugs(audited(world, chained([log[1]])))


def test_a_closing_or_a_total_of_no_job_and_a_second_total_are_named(world: Any) -> None:
    closed = Entry("closed", 0, START, 1, {"job": bytes(32)})
    total = Entry("ledger", 0, START, 1, {"job": world.order.job_id, "consent": bytes(32), "record_epochs": 4})
    again = replace(total, facts={**total.facts, "record_epochs": 3})
    assert slugs(audited(world, chained([closed]))) == [("bad-job", 0)]
    assert slugs(audited(world, chained([total, again]))) == [("bad-ledger", 1)]
    assert audited(world, chained([total, total])).flaws == []


def test_what_cannot_be_seen_is_said(world: Any) -> None:
    released(world, "ada")
    log = audit.read(entries(world))
    hindsight = Hindsight(Market(world.chain, world.place), lambda job: None)
    hindsight.check(log)
    assert log.flaws == []
    assert "amounts were not looked at" in hindsight.notes[0]


def test_a_log_is_kept_in_a_file(world: Any) -> None:
    released(world, "ada", "bob")
    log = entries(world)
    again, promise = read_log_file(write_log(log))
    assert (again, promise.entries, promise.head) == (log, 2, sha256(log[1]).digest())
    assert read_log_file(write_log([]))[0] == []
    assert slugs(audited(world, again[:1], [promise])) == [("truncated", 1)]
    for data in (b"", b"\xff", encode_cbor({"v": 1}), encode_cbor({"v": 1, "list": 5, "entries": 0, "head": START})):
        with pytest.raises(InvalidInput):
            read_log_file(data)


def test_a_live_keeper_that_shows_less_than_it_signed_is_caught(world: Any) -> None:
    released(world, "ada", "bob")

    class Short:
        def call(self, path: str, body: bytes) -> bytes:
            reply = decode_cbor(world.ports[1].call(path, body))
            if path == "log":
                reply["list"] = reply["list"][:1] if decode_cbor(body)["first"] == 0 else []
            return encode_cbor(reply)

    encoded, promise = fetch_log(Short(), world.committee.addresses[0])
    assert slugs(audited(world, encoded, [promise])) == [("truncated", 1)]
    with pytest.raises(Corrupted, match="is not the keeper"):
        fetch_log(world.ports[2], world.committee.addresses[0])


def test_records_that_are_none_or_damaged_are_an_error(world: Any, tmp_path: Any) -> None:
    with pytest.raises(NotFound):
        StoredLog(tmp_path / "keeper.sqlite")
    (tmp_path / "keeper.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(Corrupted, match="cannot be read"):
        StoredLog(tmp_path / "keeper.sqlite").entries()
    assert StoredLog(world.folder / "1" / "keeper.sqlite").tree(world.order.job_id) == world.tree.encode()
    assert Flaw("x", None, "y").entry is None
