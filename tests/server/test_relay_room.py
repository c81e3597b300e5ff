"""How much the server relays for one account and for all, and what a relayer without money does to operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from allod import effects, operations
from allod.world import World
from consent.grant import Consent, nonce_of
from consent.market.granting import SignedConsent, take
from consent.market.publish import Prepared
from core.errors import Refused
from core.ids import Address
from tests.server.market import Owner, ask_for, fund, key, ok, refused, work
from tests.server.people import Person

STRANGER = Address(b"s" * 20)
Limit = Callable[[int, int], None]


@pytest.fixture
def limit(world: World) -> Limit:
    """Say how many operations of one account and of all are taken within a day."""

    def say(of_one: int, of_all: int = 1000) -> None:
        values = {"relayed_of_one": of_one, "relayed_of_all": of_all}
        world.settings = world.settings.model_copy(update=values)

    return say


def made_up(owner: Owner, made: Prepared, word: int) -> Consent:
    """A consent that nobody signed, whose nonce has this word."""
    return replace(owner.consent(made, STRANGER, nonce=0), nonce=nonce_of(0, word, 0))


def too_often(answer: Any, words: str) -> int:
    """After how many seconds it is worth asking again."""
    problem = refused(answer, 429, words)
    assert problem["type"] == "urn:allod:problem:too-often"
    assert answer.headers["retry-after"] == str(problem["retry_after"])
    return int(problem["retry_after"])


def test_an_account_has_so_many_a_day_and_as_many_again_to_end_what_it_signed_here(
    world: World, ada: Person, tom: Person, limit: Limit, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    granted = ok(owner.post_consent(consent), 202)
    for word in (8, 9):
        ok(owner.revoke_nonces(made_up(owner, made, word)), 202)
    work(world)
    limit(4)
    kept = ok(ada.http.get("/v1/operations"))["data"]
    wait = too_often(owner.revoke_nonces(made_up(owner, made, 2)), "4 operations of yours were taken within a day")
    too_often(owner.revoke([(made_up(owner, made, 3), STRANGER)]), "within a day")
    too_often(owner.post_consent(owner.consent(made, tom.account.address)), "within a day")
    assert ok(ada.http.get("/v1/operations"))["data"] == kept, "nothing stays of what was refused"
    assert len(ok(ada.http.get("/v1/consents"))["data"]) == 1
    assert ok(owner.post_consent(consent), 202)["id"] == granted["id"], "what was taken is answered for"

    revoked = ok(owner.revoke_nonces(consent), 202)
    work(world)
    assert owner.operation(revoked)["state"] == "final"
    too_often(owner.revoke_nonces(replace(consent, nonce=consent.nonce ^ 1)), "within a day")
    ok(owner.revoke([(consent, tom.account.address)]), 202)
    work(world)
    too_often(owner.revoke([(consent, tom.account.address), (made_up(owner, made, 4), STRANGER)]), "within a day")
    ok(owner.revoke_all(0), 202)
    work(world)
    too_often(owner.revoke_all(1), "within a day")

    later(wait)
    ok(owner.revoke_nonces(made_up(owner, made, 2)), 202)


def test_takers_of_an_offer_that_are_made_up_have_no_room_of_their_own(
    world: World, ada: Person, tom: Person, limit: Limit
) -> None:
    owner = Owner(world, ada)
    offer = owner.consent(owner.publish())
    ok(owner.post_consent(offer), 202)
    fund(world, tom)
    take(world.market, tom.account, SignedConsent(offer, owner.sign(offer)))
    limit(2)
    too_often(owner.revoke([(offer, STRANGER)]), "within a day")
    ok(owner.revoke([(offer, tom.account.address)]), 202)


def test_all_accounts_together_have_so_many_a_day(
    world: World, ada: Person, tom: Person, person: Callable[..., Person], limit: Limit
) -> None:
    owner, other = Owner(world, ada), Owner(world, person("eve"))
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    ok(owner.post_consent(consent), 202)
    theirs = other.prepared(text="Eve's.\n")
    limit(100, 2)
    too_often(other.post_dataset(theirs), "2 operations of all accounts")
    too_often(owner.post_consent(owner.consent(made)), "2 operations of all accounts")
    ok(owner.revoke_nonces(consent), 202)
    limit(100, 4)
    ok(other.post_dataset(theirs), 202)


def test_strangers_cannot_use_up_the_room_of_revocations(
    world: World, ada: Person, tom: Person, person: Callable[..., Person], limit: Limit
) -> None:
    owner, other = Owner(world, ada), Owner(world, person("eve"))
    consent = owner.consent(owner.publish(), tom.account.address)
    ok(owner.post_consent(consent), 202)
    offer = other.consent(other.publish(text="Eve's.\n"))
    ok(other.post_consent(offer), 202)
    limit(100, 4)
    ok(other.revoke_nonces(offer), 202)
    for bit in range(100, 103):
        too_often(other.revoke_nonces(offer, 1 << bit), "4 operations of all accounts")
    limit(100, 1)  # as if they had taken far more
    ok(owner.revoke([(consent, tom.account.address)]), 202)
    ok(owner.revoke_nonces(consent), 202)
    ok(owner.revoke_all(0), 202)


def test_what_is_being_ended_makes_no_room_a_second_time(
    world: World, ada: Person, tom: Person, limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    first, second = (owner.consent(made, tom.account.address) for _ in range(2))
    for consent in (first, second):
        ok(owner.post_consent(consent), 202)
    work(world)
    limit(100, 1)

    def end(*ended: tuple[Consent, Address]) -> Any:
        return owner.revoke([*ended, (made_up(owner, made, 7), STRANGER)])

    revoked = ok(end((first, tom.account.address)), 202)
    too_often(owner.revoke([(first, tom.account.address)]), "of all accounts")
    ok(end((first, tom.account.address), (second, tom.account.address)), 202)
    ok(owner.revoke_nonces(first), 202)
    too_often(owner.revoke_nonces(first, 1 << 200), "of all accounts")
    ok(owner.revoke_nonces(first, 1 << second.bit), 202)
    assert ok(end((first, tom.account.address)), 202)["id"] == revoked["id"], "the same is the same"
    monkeypatch.setattr(effects, "perform", fails)
    work(world)
    ok(owner.revoke([(first, tom.account.address)]), 202)


def fails(*_: Any) -> None:
    raise Refused("Not today.")


def test_an_account_has_so_many_under_way(
    world: World, ada: Person, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    monkeypatch.setattr(operations, "MAX_OPEN", 2)
    first, second, third = (owner.consent(made, tom.account.address) for _ in range(3))
    ok(owner.post_consent(first), 202)
    ok(owner.post_consent(second), 202)
    assert too_often(owner.post_consent(third), "2 operations of yours are under way") == operations.SOON
    ok(owner.revoke([(first, tom.account.address)]), 202)
    work(world)
    ok(owner.post_consent(third), 202)


# -- the relayer's own troubles ---------------------------------------------------------------------------------------


def drain(world: World, to: Address) -> None:
    """Leave the relayer less than any transaction needs."""
    chain, account = world.chain, world.relayer.account
    _, base, tip = chain.pricing()
    chain.send(account, to, value=chain.balance(account.address) - 21_000 * (2 * base + tip), gas=21_000)


def test_operations_wait_for_the_relayers_money_and_readiness_says_so(
    world: World, anonymous: TestClient, ada: Person, tom: Person, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    made = owner.publish()
    request = ok(tom.http.post("/v1/requests", json=ask_for(made), headers=key()), 201)
    granted = owner.consent(made, tom.account.address)
    ended = owner.consent(made, tom.account.address)
    revoked = ok(owner.revoke_nonces(ended), 202)
    accepted = ok(owner.post_consent(granted, request["id"]), 202)
    drain(world, tom.account.address)
    work(world)
    assert [owner.operation(one)["state"] for one in (revoked, accepted)] == ["accepted"] * 2
    assert all(keeper["stored"] for keeper in owner.operation(revoked)["keepers"])
    assert ok(tom.http.get(f"/v1/requests/{request['id']}"))["state"] == "approved"
    looked = ok(anonymous.get("/readyz"))
    assert "too little money" in looked["parts"]["relayer"]["reason"]
    assert [name for name, part in looked["parts"].items() if not part["ready"]] == ["relayer"]
    assert looked["ready"], "requests may come: keepers are told, and the rest waits"

    world.chain.send(tom.account, world.relayer.address, value=world.chain.balance(tom.account.address) // 2)
    later(120)
    work(world)
    assert [owner.operation(one)["state"] for one in (revoked, accepted)] == ["final"] * 2


def test_operations_wait_for_an_endpoint_of_the_right_chain(
    world: World, ada: Person, monkeypatch: pytest.MonkeyPatch, later: Callable[[int], None]
) -> None:
    owner = Owner(world, ada)
    accepted = ok(owner.revoke_all(0), 202)
    with monkeypatch.context() as patch:
        patch.setattr(world.chain, "_expected", 1)
        work(world)
    assert owner.operation(accepted)["state"] == "accepted"
    later(120)
    work(world)
    assert owner.operation(accepted)["state"] == "final"
