"""The relay: whatever dies or is away, each operation happens once, and says how far it is."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from allod import effects, operations, relaying
from allod.operations import OperationRow, State
from allod.relaying import Relay
from allod.world import World
from consent.chain.client import Chain
from consent.keeper.asking import Patience
from consent.keeper.port import KeeperPort
from consent.market.granting import SignedConsent, take
from core.database import transaction
from core.encoding import to_hex
from core.errors import Refused, Unavailable
from tests.server.market import Owner, approved, fund, key, ok, open_a_job, work
from tests.server.people import Person


class Killed(BaseException):
    """What a kill does to whoever is at work: nothing catches it."""


@contextmanager
def dying(world: World, at: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Kill whoever writes for the time number `at`: before or after a commit, before or after a transaction is sent."""
    steps: list[str] = []
    mine = threading.get_ident()

    def step(what: str) -> None:
        if threading.get_ident() == mine:
            steps.append(what)
            if len(steps) == at + 1:
                raise Killed(what)

    def before(_: Session) -> None:
        step("before a commit")

    def after(_: Session) -> None:
        step("after a commit")

    submit = Chain.submit_raw

    def submit_raw(self: Chain, raw: bytes) -> None:
        step("before a transaction is sent")
        submit(self, raw)
        step("after a transaction was sent")

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "submit_raw", submit_raw)
        event.listen(Session, "before_commit", before)
        event.listen(Session, "after_commit", after)
        try:
            yield steps
        finally:
            event.remove(Session, "before_commit", before)
            event.remove(Session, "after_commit", after)


def until_final(world: World, owner: Owner, operation: dict[str, Any]) -> dict[str, Any]:
    for _ in range(10):
        found = owner.operation(operation)
        if found["state"] in ("final", "failed"):
            return found
        work(world)
    raise AssertionError(f"it never ends: {found}")


@pytest.mark.parametrize("kind", ["register", "grant", "revoke", "claim"])
def test_a_relay_that_dies_at_any_step_sends_once(
    kind: str, world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    made, token = owner.publish(), b""
    if kind == "claim":
        offer = owner.consent(made)
        ok(owner.post_consent(offer), 202)
        fund(world, tom)
        token, _ = take(world.market, tom.account, SignedConsent(offer, owner.sign(offer)))

    def accept() -> dict[str, Any]:
        if kind == "register":
            return ok(owner.post_dataset(owner.prepared(owner.terms())), 202)
        if kind == "claim":
            order = open_a_job(world, tom, [(token, ada, 100)])
            world.chain.advance(order.start - world.chain.block().timestamp)
            return ok(ada.http.post("/v1/claims", json={}, headers=key()), 202)
        consent = owner.consent(made, tom.account.address)
        return ok(owner.post_consent(consent) if kind == "grant" else owner.revoke([(consent, consent.grantee)]), 202)

    died = 0
    for at in itertools.count():
        accepted = accept()
        sent = world.chain.nonce(world.relayer.address)
        with dying(world, at, monkeypatch):
            try:
                Relay(world).work()
                survived = True
            except Killed:
                survived = False
        found = until_final(world, owner, accepted)
        assert (found["state"], found["problem"]) == ("final", None)
        assert world.chain.nonce(world.relayer.address) == sent + 1
        assert len(found["transactions"]) == 1
        assert all(keeper["stored"] for keeper in found["keepers"])
        if survived:
            break
        died += 1
    assert died >= 12, "there are fewer steps than a relay cannot do without"
    kinds = [one["kind"] for one in ok(ada.http.get("/v1/activity", params={"limit": 100}))["data"]]
    assert kinds.count("operation.final") <= died + 3


def test_two_relays_at_once_do_each_operation_once(world: World, ada: Person, tom: Person) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    before = world.chain.nonce(world.relayer.address)
    for _ in range(6):
        ok(owner.post_consent(owner.consent(made, tom.account.address)), 202)
    relays = [threading.Thread(target=Relay(world).work) for _ in range(3)]
    for relay in relays:
        relay.start()
    for relay in relays:
        relay.join()
    work(world)
    states = [one["state"] for one in ok(ada.http.get("/v1/operations"))["data"]]
    assert states == ["final"] * 7
    assert world.chain.nonce(world.relayer.address) == before + 6


def test_the_thread_works_by_itself_and_stops(world: World, ada: Person) -> None:
    owner = Owner(world, ada)
    accepted = ok(owner.post_dataset(owner.prepared()), 202)
    with relaying.relaying(world):
        done = threading.Event()
        for _ in range(6_000):
            if owner.operation(accepted)["state"] == "final":
                break
            done.wait(0.01)
    assert owner.operation(accepted)["state"] == "final"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("relay")]


class Away:
    """A keeper that does not answer, or refuses, until it is told to."""

    def __init__(self, port: KeeperPort, error: Exception) -> None:
        self.port, self.error, self.asked = port, error, 0
        self.is_there = False

    def call(self, path: str, body: bytes) -> bytes:
        self.asked += 1
        if not self.is_there:
            raise self.error
        return self.port.call(path, body)


def test_a_keeper_that_is_away_is_told_later_and_the_chain_does_not_wait(
    world: World, ada: Person, tom: Person, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    consent = owner.consent(owner.publish(), tom.account.address)
    away = Away(world.ports[3], Unavailable("The keeper does not answer."))
    world.ports[3] = away
    revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
    assert revoked["about"]["needed"] == 2
    work(world)
    found = owner.operation(revoked)
    assert found["state"] == "final"
    assert [keeper["stored"] for keeper in found["keepers"]] == [True, True, False]
    assert found["keepers"][2]["reason"] == "The keeper does not answer."
    asked = away.asked
    work(world)
    assert away.asked == asked, "it is not asked again at once"
    away.is_there = True
    later(3_600)
    work(world)
    assert [keeper["stored"] for keeper in owner.operation(revoked)["keepers"]] == [True] * 3
    asked = away.asked
    later(3_600)
    work(world)
    assert away.asked == asked, "who has stored it is not asked again"


@pytest.mark.parametrize(("error", "hours"), [(Refused("No."), 1), (Unavailable("It is away."), 25)])
def test_a_keeper_that_refuses_or_stays_away_for_a_day_is_not_asked_for_ever(
    error: Exception, hours: int, world: World, ada: Person, tom: Person, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    consent = owner.consent(owner.publish(), tom.account.address)
    away = Away(world.ports[1], error)
    world.ports[1] = away
    revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
    work(world)
    later(hours * 3_600)
    work(world)
    asked = away.asked
    later(hours * 3_600)
    work(world)
    assert away.asked == asked
    assert owner.operation(revoked)["keepers"][0]["stored"] is False


def test_keepers_hear_of_a_revocation_while_the_chain_is_away(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    consent = owner.consent(owner.publish(), tom.account.address)
    revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "send", _away)
        work(world)
    found = owner.operation(revoked)
    assert [keeper["stored"] for keeper in found["keepers"]] == [True] * 3
    assert found["state"] == "accepted"
    later(120)
    assert until_final(world, owner, revoked)["state"] == "final"


def _away(*_: Any, **__: Any) -> None:
    raise Unavailable("The chain does not answer.")


def test_one_that_waits_holds_back_its_own_account_alone_and_no_revocation(
    world: World,
    ada: Person,
    person: Callable[..., Person],
    tom: Person,
    monkeypatch: pytest.MonkeyPatch,
    later: Callable[[int], None],
) -> None:
    owner, other = Owner(world, ada), Owner(world, person("eve"))
    made, theirs = owner.publish(), other.publish(text="Eve's.\n")
    first, second = (owner.consent(made, tom.account.address) for _ in range(2))
    stuck = ok(owner.post_consent(first), 202)
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "send", _away)
        work(world)
    behind = ok(owner.post_consent(second), 202)
    free = ok(other.post_consent(other.consent(theirs, tom.account.address)), 202)
    revoked = ok(owner.revoke([(first, tom.account.address)]), 202)
    work(world)
    assert [owner.operation(one)["state"] for one in (stuck, behind, revoked)] == ["accepted", "accepted", "final"]
    assert other.operation(free)["state"] == "final"
    later(2)
    work(world)
    assert [owner.operation(one)["state"] for one in (stuck, behind)] == ["failed", "final"], "the first was revoked"


def test_a_revocation_goes_before_what_waited_longer(
    world: World, ada: Person, person: Callable[..., Person], tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = Owner(world, ada), Owner(world, person("eve"))
    theirs = other.publish(text="Eve's.\n")
    consent = owner.consent(owner.publish(), tom.account.address)
    for _ in range(2):
        ok(other.post_consent(other.consent(theirs, tom.account.address)), 202)
    sent: list[str] = []
    true = effects.perform

    def perform(hands: effects.Hands, row: OperationRow) -> effects.Done:
        if not sent:  # while the first is sent, somebody revokes
            ok(owner.revoke([(consent, tom.account.address)]), 202)
            Relay(world).tell_keepers()
        sent.append(row.kind)
        return true(hands, row)

    monkeypatch.setattr(effects, "perform", perform)
    work(world)
    assert sent == ["grant", "revoke", "grant"]


def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, a minute at most."""
    for _ in range(6_000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never holds")


def test_keepers_do_not_wait_for_the_chain(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    is_at_it, go_on, true = threading.Event(), threading.Event(), effects.perform

    def perform(hands: effects.Hands, row: OperationRow) -> effects.Done:
        is_at_it.set()
        assert go_on.wait(600)
        return true(hands, row)

    monkeypatch.setattr(effects, "perform", perform)
    accepted = ok(owner.post_consent(owner.consent(made, tom.account.address)), 202)
    with relaying.relaying(world):
        try:
            assert is_at_it.wait(60)
            revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
            until(lambda: all(keeper["stored"] for keeper in owner.operation(revoked)["keepers"]))
            assert owner.operation(accepted)["state"] == "accepted"
        finally:
            go_on.set()
        until(lambda: [owner.operation(one)["state"] for one in (accepted, revoked)] == ["final"] * 2)


def test_the_chain_does_not_wait_for_a_keeper_that_is_silent(
    world: World, ada: Person, person: Callable[..., Person], tom: Person
) -> None:
    owner, other = Owner(world, ada), Owner(world, person("eve"))
    theirs = other.publish(text="Eve's.\n")
    consent = owner.consent(owner.publish(), tom.account.address)
    is_asked, go_on = threading.Event(), threading.Event()
    port = world.ports[2]

    class Silent:
        def call(self, path: str, body: bytes) -> bytes:
            is_asked.set()
            assert go_on.wait(60)
            return port.call(path, body)

    world.ports[2] = Silent()
    relay = Relay(world, patience=Patience(hedge=60.0, answer=60.0))
    relay.start()
    try:
        revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
        assert is_asked.wait(60)
        accepted = ok(other.post_consent(other.consent(theirs, tom.account.address)), 202)
        until(lambda: other.operation(accepted)["state"] == "final")
        assert owner.operation(revoked)["state"] == "accepted", "the keepers first"
        go_on.set()
        until(lambda: owner.operation(revoked)["state"] == "final")
    finally:
        go_on.set()
        relay.stop()


def test_a_new_revocation_goes_before_those_that_keepers_were_asked_about(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    consents = [owner.consent(made, tom.account.address) for _ in range(3)]
    world.ports[1] = Away(world.ports[1], Unavailable("The keeper does not answer."))
    old = [ok(owner.revoke_nonces(consent), 202) for consent in consents[:2]]
    work(world)
    later(60)
    new = ok(owner.revoke_nonces(consents[2]), 202)
    told: list[str] = []
    true = Relay._tell
    monkeypatch.setattr(Relay, "_tell", lambda self, row: (told.append(row.id), true(self, row))[1])
    work(world)
    assert told == [new["id"], *(one["id"] for one in old)]


def test_what_the_contract_refuses_fails_with_its_reason_and_opens_the_request_again(
    world: World, ada: Person, tom: Person
) -> None:
    owner = Owner(world, ada)
    made, request, consent, accepted = approved(owner, tom)
    ok(owner.revoke_nonces(consent), 202)
    Relay(world).tell_keepers()
    row = _rows(world, kind="revoke_nonces")[0]
    Relay(world)._send(row)  # the revocation overtakes the grant
    work(world)
    failed = owner.operation(accepted)
    assert failed["state"] == "failed"
    assert failed["problem"]["detail"] == "The owner revoked its nonce."
    assert failed["problem"]["type"] == "urn:allod:problem:refused"
    again = ok(tom.http.get(f"/v1/requests/{request['id']}"))
    assert [step["state"] for step in again["history"]] == ["open", "approved", "open"]
    assert ok(owner.post_consent(owner.consent(made, tom.account.address), request["id"]), 202)["id"] != accepted["id"]


def _rows(world: World, kind: str) -> list[OperationRow]:
    with transaction(world.engine) as session:
        return list(session.scalars(select(OperationRow).where(OperationRow.kind == kind)))


def test_what_a_reorganisation_takes_out_is_followed_again(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    accepted = ok(owner.post_consent(owner.consent(owner.publish(), tom.account.address)), 202)
    true = Chain.block
    with monkeypatch.context() as patch:
        patch.setattr(Chain, "is_development", False)
        patch.setattr(Chain, "block", lambda self, which="latest": true(self, 0 if which == "safe" else which))
        work(world)
        included = owner.operation(accepted)
        assert included["state"] == "included"
        assert included["block"] is not None
        patch.setattr(Chain, "receipt", lambda *_: None)
        Relay(world).finish_included()
        assert owner.operation(accepted)["state"] == "sent"
        assert owner.operation(accepted)["tx_hash"] == included["tx_hash"]
    nonce = world.chain.nonce(world.relayer.address)
    found = until_final(world, owner, accepted)
    assert (found["state"], found["tx_hash"]) == ("final", included["tx_hash"])
    kinds = [entry["kind"] for entry in ok(ada.http.get("/v1/activity"))["data"]]
    assert (kinds.count("operation.included"), kinds.count("consent.granted")) == (3, 1), "it is told once"
    assert world.chain.nonce(world.relayer.address) == nonce, "the very same transaction counts"


def test_an_error_of_ours_ends_an_operation_at_last(
    world: World, ada: Person, monkeypatch: pytest.MonkeyPatch, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    accepted = ok(owner.post_dataset(owner.prepared()), 202)

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("allod.effects.perform", broken)
    for _ in range(relaying.BROKEN + 1):
        assert owner.operation(accepted)["state"] == "accepted"
        work(world)
        later(120)
    assert owner.operation(accepted)["problem"]["type"] == "urn:allod:problem:error"


def test_a_state_is_changed_by_one_alone(world: World, ada: Person) -> None:
    owner = Owner(world, ada)
    ok(owner.post_dataset(owner.prepared()), 202)
    [one], [other] = _rows(world, "register"), _rows(world, "register")
    with transaction(world.engine) as session:
        assert operations.advance(session, one, State.SENT, sent=[operations.sent_fields(b"t" * 32)])
    with transaction(world.engine) as session:
        assert not operations.advance(session, other, State.FAILED)
    kinds = [entry["kind"] for entry in ok(ada.http.get("/v1/activity"))["data"]]
    assert kinds == ["operation.sent", "operation.accepted", "session.started"]
    assert to_hex(b"t" * 32) == ok(ada.http.get("/v1/operations", params={"state": "sent"}))["data"][0]["tx_hash"]
