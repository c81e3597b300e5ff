"""What the market refuses, and that nothing is relayed, listed or lost by it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from allod import consenting, requests
from allod.server import datasets
from allod.world import World
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.grant import nonce_of
from consent.market.publish import Prepared
from core.database import transaction
from core.encoding import to_hex
from core.ids import NOBODY, Address, Asset
from tests.server.market import CARD, DAY, PURPOSE, Owner, ask_for, fields, fund, key, ok, open_a_job, refused, work
from tests.server.people import Person, development_world
from vault.cid import DAG_CBOR, RAW, Cid

STRANGER = Account(b"\x31" * 32)


_people = itertools.count()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all of these tests, each of which brings people of its own."""
    with development_world(tmp_path_factory.mktemp("market")) as world:
        yield world


@pytest.fixture
def tom(person: Callable[..., Person]) -> Person:
    return person(f"tom {next(_people)}")


@pytest.fixture
def eve(person: Callable[..., Person]) -> Person:
    return person(f"eve {next(_people)}")


@pytest.fixture
def owner(world: World, person: Callable[..., Person]) -> Owner:
    work(world)  # what the test before left
    return Owner(world, person(f"ada {next(_people)}"))


def count(world: World) -> int:
    """How many transactions the relayer has sent."""
    return world.chain.nonce(world.relayer.address)


# -- datasets ---------------------------------------------------------------------------------------------------------


def test_a_registration_that_somebody_else_signed_or_signed_for_elsewhere_is_not_relayed(
    world: World, owner: Owner, tom: Person
) -> None:
    made, sent = owner.prepared(), count(world)
    other = to_hex(STRANGER.sign_hash(b"x" * 32))
    problem = refused(owner.post_dataset(made, signature=other), 403, "is not the signature of")
    assert f"chain {world.deployment.chain_id}" in problem["hint"]
    foreign = replace(world.deployment, registry=Address(b"r" * 20))
    owner.world = World(world.settings)
    owner.world.__dict__.update(deployment=foreign, chain=world.chain)
    elsewhere = owner.register_signature(made)
    owner.world = world
    refused(owner.post_dataset(made, signature=elsewhere), 403, "is not the signature of")
    refused(owner.post_dataset(made, publication=str(Cid.of(RAW, b"x"))), 422, "dag-cbor")
    work(world)
    assert count(world) == sent
    assert ok(owner.http.get("/v1/operations"))["data"] == []


def test_a_publication_whose_blocks_are_missing_says_so(world: World, owner: Owner) -> None:
    made = owner.prepared()
    world.blocks.delete(made.publication.header.card)
    refused(owner.post_dataset(made), 422, "Upload every block")
    refused(owner.post_dataset(made, publication=str(Cid.of(DAG_CBOR, b"nobody has it"))), 422, "Upload every block")


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({**CARD, "names": ["Ada"]}, "which no card has"),
        ({**CARD, "title": ""}, "no title"),
        ({**CARD, "title": "x" * 201}, "no title"),
        ({**CARD, "title": 7}, "no title"),
        ({**CARD, "sample": "x" * 4097}, "sample is no text"),
        ({**CARD, "description": ["x"]}, "description is no text"),
        ({**CARD, "schema": ["x"] * 65}, "schema is no list"),
        ({**CARD, "schema": [{"a": 1}]}, "something else than texts"),
    ],
)
def test_a_card_beyond_its_bounds_is_not_listed(card: dict[str, Any], words: str, owner: Owner) -> None:
    refused(owner.post_dataset(owner.prepared(card=card)), 422, words)


def test_terms_that_no_job_could_run_under_are_refused(world: World, owner: Owner) -> None:
    good = owner.prepared()
    for terms, words in [
        (replace(owner.terms(), committee=bytes(32)), "does not accept"),
        (replace(owner.terms(), expiry=1), "expired"),
    ]:
        cid = replace(good.publication, terms_bytes=terms.encode()).store(world.blocks)
        made = Prepared(good.asset, replace(good.publication, terms_bytes=terms.encode()), cid)
        refused(owner.post_dataset(made), 403, words)


def test_a_share_table_for_other_keepers_is_refused(world: World, owner: Owner) -> None:
    made = owner.prepared()
    head = replace(made.publication.shares.head, committee_id=b"k" * 32).encode()
    key_of = owner.vault.signing_key
    from vault.sharetable import SIGN_CONTEXT

    shares = replace(made.publication.shares, head_bytes=head, sig=key_of.sign(SIGN_CONTEXT + head))
    cid = replace(made.publication, shares=shares).store(world.blocks)
    refused(owner.post_dataset(made, publication=str(cid)), 403, "other keepers")


# -- nonces and consents ----------------------------------------------------------------------------------------------


def test_no_nonce_is_given_twice_however_many_tabs_ask(world: World, owner: Owner) -> None:
    def ask(_: int) -> int:
        with transaction(world.engine) as session:
            return consenting.next_nonce(world, session, owner.address, -1)

    with ThreadPoolExecutor(4) as pool:
        given = list(pool.map(ask, range(12)))
    assert sorted(given) == list(range(12))


def test_nonces_pass_what_was_signed_or_revoked_and_keep_to_the_epoch(world: World, owner: Owner, tom: Person) -> None:
    def following(above: int = -1) -> int:
        return int(ok(owner.http.post("/v1/consent_nonces", json={"above": str(above)}), 201)["nonce"])

    assert following(above=40) == 41
    assert following() == 42, "what a client once said is remembered"
    made = owner.publish()
    ok(owner.post_consent(owner.consent(made, nonce=nonce_of(0, 0, 50))), 202)
    assert following() == 51
    ended = owner.consent(made, nonce=nonce_of(0, 0, 52))
    ok(owner.revoke_nonces(ended), 202)
    ok(owner.revoke_all(0), 202)
    work(world)
    assert following() == nonce_of(1, 0, 53)
    assert following(above=2**62 - 2) == nonce_of(1, 2**54 - 1, 255)
    refused(owner.http.post("/v1/consent_nonces", json={}), 409, "used up every nonce")
    refused(owner.http.post("/v1/consent_nonces", json={"above": str(2**62)}), 422, "that high")


def test_consents_that_cannot_hold_are_refused_in_words(world: World, owner: Owner, tom: Person) -> None:
    made, sent = owner.publish(), count(world)
    good = owner.consent(made, tom.account.address)

    def no(words: str, status: int = 403, signature: bytes | None = None, **changes: Any) -> None:
        consent = replace(good, **changes)
        refused(owner.post_consent(consent, signature=signature), status, words)

    no("is not the signature of", signature=tom.account.sign_hash(b"x" * 32))
    market = world.market
    no("is not the signature of", signature=owner.person.account.sign_hash(good.digest(1, market.token.address)))
    no("is not the signature of", signature=owner.person.account.sign_hash(good.digest(31337, NOBODY[:19] + b"t")))
    no("is not the signature of", signature=b"\x01")
    no("another owner's", owner=STRANGER.address)
    no("another escrow", escrow=STRANGER.address)
    no("not published under these terms", terms=b"t" * 32)
    no("not published under these terms", asset=Asset(b"a" * 32))
    no("do not allow this purpose", purpose=b"p" * 32)
    no("is of epoch 1; yours is 0", status=409, nonce=nonce_of(1, 0, 9))
    no("too high", status=422, nonce=2**63)
    no("has expired", status=409, not_before=1, expiry=2)
    contradiction = {**fields(good), "not_before": good.expiry}
    body = {"consent": contradiction, "signature": to_hex(owner.sign(good))}
    refused(owner.http.post("/v1/consents", json=body, headers=key()), 422, "must expire after it begins")
    ended = replace(good, nonce=owner.next_nonce())
    ok(owner.revoke_nonces(ended), 202)
    work(world)
    refused(owner.post_consent(ended), 409, "nonce was revoked")
    work(world)
    assert count(world) == sent + 1, "the revocation alone"
    assert ok(owner.http.get("/v1/consents"))["data"] == []


def test_uses_and_runner_keep_to_the_terms(world: World, owner: Owner, tom: Person) -> None:
    made = owner.publish(owner.terms(max_uses=2, runner=STRANGER.address))
    for uses in (0, 3):
        refused(owner.post_consent(owner.consent(made, tom.account.address, max_uses=uses)), 403, "between 1 and 2")
    refused(owner.post_consent(owner.consent(made, tom.account.address, runner=tom.account.address)), 403, "runner")
    ok(owner.post_consent(owner.consent(made, tom.account.address)), 202)
    work(world)
    [row] = ok(tom.http.get("/v1/consents", params={"role": "trainer"}))["data"]
    assert (row["tokens"][0]["uses"], row["tokens"][0]["uses_left"]) == (0, 2)


def test_a_consent_sent_twice_is_one_and_its_nonce_serves_no_other(world: World, owner: Owner, tom: Person) -> None:
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    first, again = ok(owner.post_consent(consent), 202), ok(owner.post_consent(consent), 202)
    assert first["id"] == again["id"]
    refused(owner.post_consent(replace(consent, grantee=NOBODY)), 409, "one nonce serves one consent")
    sent = count(world)
    work(world)
    assert count(world) == sent + 1
    assert ok(owner.post_consent(consent), 202)["state"] == "final"
    offer = owner.consent(made)
    assert ok(owner.post_consent(offer), 202)["id"] == ok(owner.post_consent(offer), 202)["id"]
    work(world)
    assert count(world) == sent + 1


def test_what_was_granted_elsewhere_is_a_conflict(world: World, owner: Owner, tom: Person) -> None:
    from consent.market.granting import SignedConsent, grant

    consent = owner.consent(owner.publish(), tom.account.address)
    grant(world.market, world.relayer, [SignedConsent(consent, owner.sign(consent))])
    refused(owner.post_consent(consent), 409, "granted before")


def test_an_idempotency_key_is_needed_and_gives_the_same_answer(world: World, owner: Owner) -> None:
    made = owner.prepared()
    body = {"publication": str(made.cid), "signature": owner.register_signature(made)}
    refused(owner.http.post("/v1/datasets", json=body), 422, "")
    mine = key()
    first = owner.http.post("/v1/datasets", json=body, headers=mine)
    work(world)
    second = owner.http.post("/v1/datasets", json=body, headers=mine)
    assert json.loads(first.text) == json.loads(second.text)
    refused(owner.http.post("/v1/datasets", json={**body, "signature": "0x00"}, headers=mine), 422, "new key")


# -- requests ---------------------------------------------------------------------------------------------------------


def asked(owner: Owner, tom: Person, made: Prepared, **changes: Any) -> str:
    return str(ok(tom.http.post("/v1/requests", json=ask_for(made, **changes), headers=key()), 201)["id"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"max_epochs": 11}, ["max_epochs"]),
        ({"flat": "999"}, ["flat"]),
        ({"per_record_epoch": "4"}, ["per_record_epoch"]),
        ({"purpose": "commercial-research"}, ["purpose"]),
        ({"expiry": int(time.time()) + 200 * DAY}, ["expiry"]),
        ({"max_uses": 0}, []),
        ({"base_models": ["0x" + "11" * 32]}, []),
    ],
)
def test_a_request_is_approved_as_asked_or_with_what_was_changed(
    changes: dict[str, Any], expected: list[str], owner: Owner, tom: Person
) -> None:
    made = owner.publish()
    request = asked(owner, tom, made, **changes)
    ok(owner.post_consent(owner.consent(made, tom.account.address), request), 202)
    found = ok(tom.http.get(f"/v1/requests/{request}"))
    assert found["state"] == ("approved_with_changes" if expected else "approved")
    assert found["history"][-1]["changes"] == expected
    assert found["history"][-1]["by"] == owner.person.address


@pytest.mark.parametrize(("later", "expected"), [(200, []), (50 * DAY, ["not_before"])])
def test_a_consent_that_begins_later_is_a_change(later: int, expected: list[str], owner: Owner, tom: Person) -> None:
    made = owner.publish()
    request = asked(owner, tom, made)
    begins = int(time.time()) + later
    ok(owner.post_consent(owner.consent(made, tom.account.address, not_before=begins), request), 202)
    assert ok(tom.http.get(f"/v1/requests/{request}"))["history"][-1]["changes"] == expected


def test_limits_of_the_terms_that_were_not_asked_for_are_changes(owner: Owner, tom: Person) -> None:
    terms = owner.terms(base_models=[b"m" * 32], max_uses=1, runner=STRANGER.address)
    made = owner.publish(terms)
    request = asked(owner, tom, made, base_models=["0x" + "11" * 32])
    ok(owner.post_consent(owner.consent(made, tom.account.address), request), 202)
    found = ok(owner.http.get(f"/v1/requests/{request}"))["history"][-1]
    assert found["changes"] == ["base_models", "max_uses", "runner"]


def test_a_request_is_answered_once_and_by_its_own_people(owner: Owner, tom: Person, eve: Person, world: World) -> None:
    made = owner.publish()
    request = asked(owner, tom, made)
    path = f"/v1/requests/{request}"
    refused(eve.http.get(path), 404, "no such request")
    refused(eve.http.post(f"{path}/denial", json={}), 404, "no such request")
    refused(tom.http.post(f"{path}/denial", json={"reason": "no"}), 403, "owner denies")
    refused(owner.http.post(f"{path}/withdrawal"), 403, "who asked")
    wrong = owner.consent(made, eve.account.address)
    refused(owner.post_consent(wrong, request), 422, "does not answer that request")
    refused(owner.post_consent(owner.consent(made), request), 422, "for its trainer")
    refused(owner.post_consent(owner.consent(made, tom.account.address), "0" * 32), 404, "no such request")
    assert ok(owner.http.get("/v1/operations", params={"state": "accepted"}))["data"] == [], "nothing stays of these"
    assert ok(owner.http.get("/v1/consents"))["data"] == []
    denied = ok(owner.http.post(f"{path}/denial", json={"reason": "Not for that."}))
    assert (denied["state"], denied["history"][-1]["reason"]) == ("denied", "Not for that.")
    for again in (
        owner.http.post(f"{path}/denial", json={}),
        tom.http.post(f"{path}/withdrawal"),
        owner.post_consent(owner.consent(made, tom.account.address), request),
    ):
        refused(again, 409, "is denied")
    assert ok(tom.http.get("/v1/requests", params={"role": "trainer", "state": "denied"}))["data"] == [denied]
    assert ok(tom.http.get("/v1/requests"))["data"] == [], "none came to tom"
    kinds = [one["kind"] for one in ok(tom.http.get("/v1/activity"))["data"]]
    assert kinds == ["request.denied", "request.open", "session.started"]
    assert "Not for that" not in json.dumps(ok(tom.http.get("/v1/activity")))


def test_a_request_expires_by_the_clock(owner: Owner, tom: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    made = owner.publish()
    request = asked(owner, tom, made, days_open=1)
    closes = ok(tom.http.get(f"/v1/requests/{request}"))["closes"]
    monkeypatch.setattr(requests, "now", lambda: closes - 1)
    assert ok(tom.http.get(f"/v1/requests/{request}"))["state"] == "open"
    monkeypatch.setattr(requests, "now", lambda: closes)
    found = ok(tom.http.get(f"/v1/requests/{request}"))
    assert found["state"] == "expired"
    refused(owner.http.post(f"/v1/requests/{request}/denial", json={}), 409, "is expired")
    refused(owner.post_consent(owner.consent(made, tom.account.address), request), 409, "is expired")
    assert ok(owner.http.get("/v1/requests", params={"state": "open"}))["data"] == []
    assert [one["id"] for one in ok(owner.http.get("/v1/requests", params={"state": "expired"}))["data"]] == [request]
    assert asked(owner, tom, made, expiry=closes + 10 * DAY) != request


def test_requests_have_bounds(owner: Owner, tom: Person) -> None:
    made = owner.publish()

    def no(words: str, status: int = 422, person: Person = tom, **changes: Any) -> None:
        refused(person.http.post("/v1/requests", json=ask_for(made, **changes), headers=key()), status, words)

    no("", message="x" * 1001)
    no("", days_open=91)
    no("", flat="1.5")
    no("at most", flat="9999999999999999")
    no("have ended already", expiry=1)
    no("Choose one of", purpose="world-domination")
    no("is your own", person=owner.person)
    no("No dataset", status=404, asset="0x" + "0" * 64)
    for _ in range(requests.MAX_OPEN):
        last = asked(owner, tom, made)
    no("wait for this owner", status=409)
    ok(tom.http.post(f"/v1/requests/{last}/withdrawal"))
    asked(owner, tom, made)
    page = ok(owner.http.get("/v1/requests", params={"limit": 15}))
    rest = ok(owner.http.get("/v1/requests", params={"limit": 15, "after": page["next_after"]}))
    assert len({one["id"] for one in page["data"] + rest["data"]}) == requests.MAX_OPEN + 1


# -- revocations, earnings and claims ---------------------------------------------------------------------------------


def test_revocations_are_signed_by_their_owner_for_the_current_epoch(
    world: World, owner: Owner, tom: Person, eve: Person
) -> None:
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    mine = owner.revoke_nonces_body(consent)

    def post(who: Person = owner.person, **changes: Any) -> Any:
        return who.http.post("/v1/revocations", json={**mine, **changes}, headers=key())

    refused(post(eve), 403, "another owner's")
    refused(post(word="7"), 403, "is not the signature of")
    refused(post(mask="0x" + "0" * 64), 422, "names at least one nonce")
    refused(post(word=str(2**56)), 422, "56 bits")
    refused(post(epoch=3), 422, "and no other")
    refused(post(kind="revoke_all"), 422, "and no other")
    refused(owner.revoke_all(1), 409, "yours is 0")
    stranger = Owner(world, eve)
    stolen = {"kind": "revoke", "consents": [fields(consent)], "holders": [tom.address]}
    refused(stranger.post_revocation(stolen, b"d" * 32), 422, "Only its owner")
    to_another = {**stolen, "holders": [to_hex(STRANGER.address)]}
    refused(owner.post_revocation(to_another, b"d" * 32), 422, "another trainer")
    refused(owner.post_revocation({**stolen, "holders": [tom.address] * 2}, b"d" * 32), 422, "one holder for each")
    all_of_it, again = ok(owner.revoke_all(0), 202), ok(owner.revoke_all(0), 202)
    assert all_of_it["id"] == again["id"]
    work(world)
    assert ok(owner.revoke_all(0), 202)["state"] == "final", "the same once more is the same"
    assert ok(owner.revoke([(consent, tom.account.address)]), 202)["state"] == "accepted", "an unminted one ends too"
    work(world)
    refused(owner.post_consent(consent), 409, "is of epoch 0; yours is 1")


def test_claims_take_what_is_there_and_no_more(world: World, owner: Owner, tom: Person) -> None:
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    ok(owner.post_consent(consent), 202)
    work(world)
    market = world.market
    token = consent.id(market.chain_id, market.token.address, tom.account.address)
    fund(world, tom)
    orders = [open_a_job(world, tom, [(token, owner.person, 100 + place)]) for place in range(3)]

    def claim(*jobs: str) -> Any:
        return owner.http.post("/v1/claims", json={"job_ids": list(jobs)}, headers=key())

    refused(claim("0x" + "0" * 64), 404, "pays you nothing")
    refused(claim(to_hex(orders[0].job_id)), 409, "can be claimed now")
    world.chain.advance(orders[-1].start - world.chain.block().timestamp)
    first = ok(claim(to_hex(orders[0].job_id)), 202)
    assert refused(claim(), 409, "under way")["operation"] == first["id"]
    work(world)
    second = ok(claim(), 202)
    assert (second["about"]["amount"], second["about"]["left"]) == ("203", 0)
    work(world)
    refused(claim(), 409, "can be claimed now")
    money = ok(owner.http.get("/v1/earnings", params={"limit": 2}))
    assert money["totals"] == {"in_escrow": "0", "claimable": "0", "paid": "303"}
    assert [one["amount"] for one in money["data"]] == ["102", "101"]
    rest = ok(owner.http.get("/v1/earnings", params={"limit": 2, "after": money["next_after"]}))
    assert [one["amount"] for one in rest["data"]] == ["100"]
    refused(owner.http.get("/v1/earnings", params={"after": "0x00-0"}), 422, "cursor")
    [row] = ok(owner.http.get("/v1/consents"))["data"]
    assert [job["job_id"] for job in row["jobs"]] == [to_hex(order.job_id) for order in reversed(orders)]
    assert row["tokens"][0]["uses"] == 3
    assert ok(tom.http.get("/v1/earnings"))["data"] == []


def test_what_was_paid_meanwhile_is_told_and_not_paid_again(world: World, owner: Owner, tom: Person) -> None:
    from consent.market.earnings import claim

    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    ok(owner.post_consent(consent), 202)
    work(world)
    token = consent.id(world.market.chain_id, world.market.token.address, tom.account.address)
    fund(world, tom)
    order = open_a_job(world, tom, [(token, owner.person, 100)])
    world.chain.advance(order.start - world.chain.block().timestamp)
    accepted = ok(owner.http.post("/v1/claims", json={}, headers=key()), 202)
    claim(world.market, world.relayer, world.view.earnings(owner.address))
    work(world)
    found = owner.operation(accepted)
    assert (found["state"], found["about"]["skipped"]) == ("final", [])
    assert found["about"]["paid"] == [{"job_id": to_hex(order.job_id), "amount": "100"}]
    kinds = [one["kind"] for one in ok(owner.http.get("/v1/activity", params={"limit": 100}))["data"]]
    assert kinds.count("earning.paid") == 1
    assert ok(owner.http.get("/v1/earnings"))["totals"]["paid"] == "100"


def test_pages_of_consents_hold_each_once(world: World, owner: Owner, tom: Person) -> None:
    made = owner.publish()
    for _ in range(5):
        ok(owner.post_consent(owner.consent(made, tom.account.address)), 202)
    numbers, after = [], None
    while True:
        asked_for = {"limit": 2, **({} if after is None else {"after": after})}
        page = ok(owner.http.get("/v1/consents", params=asked_for))
        numbers += [row["number"] for row in page["data"]]
        after = page["next_after"]
        if not page["has_more"]:
            break
    assert numbers == [5, 4, 3, 2, 1]
    assert page["data"][0]["purpose"] == PURPOSE
    assert {row["tokens"][0]["status"] for row in page["data"]} == {"never_minted"}


def asked_of_the_chain(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[str]:
    """The methods of the requests that the chain gets meanwhile."""
    methods: list[str] = []
    true = Chain.request

    def request(self: Chain, method: str, *params: Any) -> Any:
        methods.append(method)
        return true(self, method, *params)

    with monkeypatch.context() as patch:
        patch.setattr(Chain, "request", request)
        act()
    return methods


def test_a_page_of_consents_asks_the_chain_as_often_for_many_as_for_few(
    world: World, owner: Owner, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = owner.publish()
    asked_for = []
    for count_of in (2, 10):
        for _ in range(count_of):
            ok(owner.post_consent(owner.consent(made, tom.account.address)), 202)
        work(world)
        world.view.now()
        asked_for.append(len(asked_of_the_chain(monkeypatch, lambda: ok(owner.http.get("/v1/consents")))))
    assert asked_for[0] == asked_for[1] <= 8
    [row] = ok(owner.http.get("/v1/consents", params={"limit": 1}))["data"]
    assert row["number"] == 12


def test_ended_offers_hide_no_older_one_and_a_strangers_look_costs_the_chain_little(
    world: World, owner: Owner, anonymous: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = owner.publish()
    path = f"/v1/datasets/{to_hex(made.asset)}"

    def shown() -> list[str]:
        return [one["consent"]["nonce"] for one in ok(anonymous.get(path))["offers"]]

    def calls() -> int:
        return asked_of_the_chain(monkeypatch, shown).count("eth_call")

    old = [owner.consent(made, nonce=nonce_of(0, word, 3)) for word in range(2)]
    monkeypatch.setattr(datasets, "MAX_OFFERS", 2)
    for one in old:
        ok(owner.post_consent(one), 202)
    ended = [owner.consent(made, nonce=nonce_of(0, 100 + word, 7)) for word in range(22)]  # above 10 * MAX_OFFERS
    for one in ended:
        ok(owner.post_consent(one), 202)
    assert shown() == [str(one.nonce) for one in ended[:-3:-1]]
    assert calls() == 0, "nothing new at this block"
    fund(world, owner.person)
    for one in ended:
        world.market.token.transact(owner.person.account, "revoke_nonces", one.word, 1 << one.bit)
    newest_first = [str(one.nonce) for one in reversed(old)]
    assert shown() == newest_first
    assert calls() == 0
    world.chain.mine()
    assert calls() == 3, "an epoch, and the words of the two that are open"
    assert shown() == newest_first
    ok(owner.revoke_all(0), 202)
    work(world)
    assert shown() == []
    world.chain.mine()
    assert calls() == 0


def test_earnings_ask_the_chain_once_for_each_block(
    world: World, owner: Owner, tom: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = owner.publish()
    consent = owner.consent(made, tom.account.address)
    ok(owner.post_consent(consent), 202)
    work(world)
    token = consent.id(world.market.chain_id, world.market.token.address, tom.account.address)
    fund(world, tom)
    for _ in range(4):
        open_a_job(world, tom, [(token, owner.person, 10)])
    assert ok(owner.http.get("/v1/earnings"))["totals"]["in_escrow"] == "40"
    again = asked_of_the_chain(monkeypatch, lambda: ok(owner.http.get("/v1/earnings")))
    assert again == ["eth_getBlockByNumber"], "it looks for a new head, and finds none"
