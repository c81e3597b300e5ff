"""What a keeper keeps: durable before it answers, one log that chains, keys that stay its own."""

from __future__ import annotations

import pickle
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account
from consent.keeper.client import close_job, collect_settlement, read_log, revoke_everywhere
from consent.keeper.founding import found_committee
from consent.keeper.keys import KeeperKeys
from consent.keeper.log import START, Entry, audit
from consent.keeper.node import Keeper
from consent.keeper.proposal import NO_STATEMENT
from consent.keeper.receipt import Receipt
from consent.keeper.revocation import RevokeAll
from consent.keeper.store import KeeperStore
from core.encoding import encode_cbor
from core.errors import Conflict, Corrupted, Denied, InvalidInput, NotFound, Refused, VerificationFailed
from core.ids import Address, JobId

JOB = JobId(bytes([1]) * 32)


class Killed(BaseException):
    """Stands for a process that ends here: nothing after it runs."""


def test_a_release_is_durable_before_its_answer_exists(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the log entry and the reply: the share counts as released, so the owner is paid."""

    def killed(*_: object) -> Receipt:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Receipt, "signed", killed)
        with pytest.raises(Killed):
            world.ask(world.request())
    world.stop_keepers()
    world.start_keepers()
    assert [entry.kind for entry in read_log(world.ports[1])] == ["release"]
    closing = close_job(world.ports, world.order, world.runner)
    assert closing.released[1] == {world.consent_id()}
    final = world.tree.lowered({world.consent_id(): 0})
    with pytest.raises(Refused, match="below what its owner is owed"):
        collect_settlement({1: world.ports[1]}, world.committee, world.order, final, NO_STATEMENT, world.runner)


def test_killed_before_the_log_entry_nothing_was_released(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> Entry:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(KeeperStore, "_append", killed)
        with pytest.raises(Killed):
            world.ask(world.request())
    world.stop_keepers()
    world.start_keepers()
    assert read_log(world.ports[1]) == []
    assert close_job(world.ports, world.order, world.runner).released[1] == frozenset()


def test_a_job_that_closes_while_a_release_is_being_checked_gets_nothing(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consent.keeper import releasing

    true = releasing.seal_release

    def slow(*args: Any) -> bytes:
        close_job({1: world.ports[1]}, world.order, world.runner)
        return true(*args)

    monkeypatch.setattr(releasing, "seal_release", slow)
    with pytest.raises(Refused, match="closed"):
        world.ask(world.request())
    assert [entry.kind for entry in read_log(world.ports[1])] == ["closed"]


def test_a_consent_revoked_while_a_release_is_being_checked_gets_nothing(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consent.keeper import releasing

    true, owner = releasing.seal_release, world.datasets["ada"].owner
    message, place = RevokeAll(owner.address, 0), (world.place.chain_id, world.place.consent_token)

    def slow(*args: Any) -> bytes:
        revoke_everywhere(world.ports, world.committee, *place, message, owner.sign_hash(message.digest(*place)))
        return true(*args)

    monkeypatch.setattr(releasing, "seal_release", slow)
    with pytest.raises(Refused, match="revoked"):
        world.ask(world.request())


def test_revocations_and_settlements_last_across_a_restart(world: Any) -> None:
    owner = world.datasets["ada"].owner
    message, place = RevokeAll(owner.address, 0), (world.place.chain_id, world.place.consent_token)
    revoke_everywhere(world.ports, world.committee, *place, message, owner.sign_hash(message.digest(*place)))
    final = world.tree.lowered({world.consent_id(): 0})
    signed = collect_settlement(world.ports, world.committee, world.order, final, NO_STATEMENT, world.runner)
    world.stop_keepers()
    world.start_keepers()
    with pytest.raises(Refused):
        world.ask(world.request())
    again = collect_settlement(world.ports, world.committee, world.order, final, NO_STATEMENT, world.runner)
    assert again == signed
    assert [entry.kind for entry in read_log(world.ports[1])] == ["revocation", "closed", "settlement"]


def test_a_contract_wallets_revocation_counts(world: Any) -> None:
    """The owner is a contract that accepts every signature (ERC-1271); one that accepts none is refused."""
    place = (world.place.chain_id, world.place.consent_token)
    for answer, stored in ((b"\x16\x26\xba\x7e" + bytes(28), (1, 2, 3)), (bytes(32), ())):
        runtime = b"\x7f" + answer + b"\x5f\x52\x60\x20\x5f\xf3"
        creation = bytes([0x60, len(runtime), 0x80, 0x60, 0x09, 0x5F, 0x39, 0x5F, 0xF3]) + runtime
        wallet = world.chain.send(world.stranger, None, creation).contract_address
        assert world.chain.code(wallet) == runtime
        done = revoke_everywhere(
            world.ports, world.committee, *place, RevokeAll(wallet, 0), b"whatever the wallet takes"
        )
        assert done.stored == stored


# -- store and log -----------------------------------------------------------------------------------------------------


def test_a_store_belongs_to_one_deployment(tmp_path: Path) -> None:
    KeeperStore(tmp_path / "k.sqlite", b"here").close()
    with pytest.raises(Conflict, match="another chain or to other contracts"):
        KeeperStore(tmp_path / "k.sqlite", b"elsewhere")


def test_two_processes_share_one_log_without_a_fork(tmp_path: Path) -> None:
    stores = [KeeperStore(tmp_path / "k.sqlite", b"here") for _ in range(2)]

    def close_many(store: KeeperStore, first: int) -> None:
        for number in range(first, first + 10):
            store.close_job(JobId(bytes([number]) * 32), 5)

    threads = [threading.Thread(target=close_many, args=(store, 20 * i)) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count, head = stores[0].head()
    assert count == 20
    assert len(audit(stores[1].entries(0, 100), head=head)) == 20
    for store in stores:
        store.close()


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from consent.keeper.store import KeeperStore\n"
        "store = KeeperStore(Path(sys.argv[1]), b'here')\n"
        "store.close_job(bytes([1]) * 32, 5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "k.sqlite"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    store = KeeperStore(path, b"here")
    assert store.is_closed(JOB)
    assert len(audit(store.entries(0, 10), head=store.head()[1])) == 1
    store.close()


def test_a_keeper_asked_from_many_threads_keeps_one_chain_of_entries(world: Any) -> None:
    answers: list[Any] = []
    requests = [world.request("ada"), world.request("bob")] * 3
    threads = [threading.Thread(target=lambda item=item: answers.append(world.ask(item))) for item in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = read_log(world.ports[1])
    assert len(answers) == len(entries) == 6
    assert {Receipt.read(answer["receipt"]).previous for answer in answers} == {entry.previous for entry in entries}


def test_trees_are_dropped_once_their_claims_end(tmp_path: Path) -> None:
    store = KeeperStore(tmp_path / "k.sqlite", b"here")
    payee = Address(bytes(20))
    store.keep_tree(JOB, b"order", b"tree", {payee}, 100)
    store.drop_trees(100)
    assert store.tree(JOB) == (b"order", b"tree")
    assert store.jobs_paying(payee, bytes(32), 10) == [JOB]
    store.drop_trees(101)
    assert store.tree(JOB) is None
    assert store.jobs_paying(payee, bytes(32), 10) == []
    store.close()


def chained(count: int) -> list[bytes]:
    entries, previous = [], START
    for seq in range(count):
        entry = Entry("closed", seq, previous, 1_800_000_000 + seq, {"job": bytes([seq]) * 32})
        entries.append(entry.encode())
        previous = entry.hash
    return entries


def test_an_audit_names_the_entry_where_a_log_breaks() -> None:
    entries = chained(4)
    assert [entry.seq for entry in audit(entries)] == [0, 1, 2, 3]
    head = Entry.decode(entries[-1]).hash
    audit(entries, head=head)
    with pytest.raises(VerificationFailed, match="skips from entry 1 to entry 2"):
        audit([entries[0], *entries[2:]])
    other = Entry("closed", 1, Entry.decode(entries[0]).hash, 7, {"job": bytes(32)}).encode()
    with pytest.raises(VerificationFailed, match="Entry 2 of the keeper's log does not follow"):
        audit([entries[0], other, *entries[2:]])
    with pytest.raises(VerificationFailed, match="does not end at the hash"):
        audit(entries[:3], head=head)
    with pytest.raises(VerificationFailed, match="Entry 1 of the keeper's log cannot be read"):
        audit([entries[0], b"\x80"])


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"job": b"short"}, {"seq": -1}, {"v": 2}, {"kind": "other"}, {"time": True}]
)
def test_a_log_entry_of_another_form_is_refused(change: dict[str, Any]) -> None:
    fields = {"v": 1, "kind": "closed", "seq": 0, "previous": START, "time": 5, "job": bytes(32)}
    assert Entry.decode(encode_cbor(fields)).kind == "closed"
    with pytest.raises(InvalidInput):
        Entry.decode(encode_cbor({**fields, **change}))


# -- keys and committees -----------------------------------------------------------------------------------------------


def test_keys_are_files_of_their_user_alone_and_open_again(tmp_path: Path) -> None:
    keys = KeeperKeys.create(tmp_path / "k")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "k").iterdir()} == {0o600}
    again = KeeperKeys.open(tmp_path / "k")
    assert (again.address, again.hpke_public(1)) == (keys.address, keys.hpke_public(1))
    with pytest.raises(Conflict):
        KeeperKeys.create(tmp_path / "k")
    with pytest.raises(NotFound):
        KeeperKeys.open(tmp_path / "elsewhere")
    (tmp_path / "k" / "hpke-1.key").write_bytes(b"short")
    with pytest.raises(Corrupted):
        KeeperKeys.open(tmp_path / "k")


def test_a_keepers_keys_do_not_show_and_do_not_travel(tmp_path: Path) -> None:
    keys = KeeperKeys.create(tmp_path / "k")
    secret = (tmp_path / "k" / "signing.key").read_bytes()
    assert secret.hex() not in repr(keys)
    with pytest.raises(TypeError):
        pickle.dumps(keys)


def test_an_epochs_key_once_destroyed_opens_nothing(world: Any) -> None:
    world.stop_keepers()
    KeeperKeys.open(world.folder / "1").destroy_epoch(1)
    world.start_keepers()
    with pytest.raises(NotFound, match="no key for epoch 1"):
        world.ask(world.request())
    assert world.ask(world.request(), keeper=2)["shares"]


def test_a_keeper_sits_only_in_a_committee_that_names_its_key(world: Any, tmp_path: Path) -> None:
    strangers = [KeeperKeys.create(tmp_path / str(index)) for index in range(2)]
    foreign = found_committee(strangers, 2, 2, 1, world.committee.end)
    with pytest.raises(Denied, match="not named"):
        world.keepers[0].join(foreign)
    own = KeeperKeys.open(world.folder / "1")
    other = KeeperKeys(tmp_path / "x", own.account, {1: bytes(32)})
    renamed = found_committee([other, strangers[0]], 2, 2, 1, world.committee.end)
    with pytest.raises(Denied, match="another HPKE key"):
        world.keepers[0].join(renamed)
    unsigned = type(foreign)(t=2, q=2, epoch=1, end=foreign.end, keepers=foreign.keepers)
    with pytest.raises(Corrupted, match="not signed"):
        world.keepers[0].join(unsigned)


def test_a_keeper_does_not_start_on_another_chain(world: Any) -> None:
    from dataclasses import replace

    world.keepers[0].close()
    with pytest.raises(Denied, match="another chain"):
        Keeper(world.folder / "1", world.chain, replace(world.place, chain_id=1))


def test_no_refusal_speaks_of_keys(world: Any) -> None:
    secrets = [path.read_bytes() for path in (world.folder / "1").glob("*.key")]
    assert len(secrets) == 2
    replies = [world.keepers[0].handle(path, b"junk") for path in ("release", "revoke", "settlement", "ledger")]
    assert not [secret for secret in secrets for reply in replies if secret in reply or secret.hex().encode() in reply]
    assert isinstance(world.keepers[0]._station.keys.account, Account)
