"""Quotes and openings through the API: what is signed, by whom, how often, and what stands after a crash anywhere."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import pytest
from sqlalchemy import update

from allod import orders, starting
from allod.desk import Desk
from allod.events import EventLog
from allod.orders import OrderRow
from allod.server import activity
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.market.paying import withdraw
from core.database import transaction
from core.encoding import from_hex
from core.ids import Address
from finetune.opening import RUN_SECONDS
from finetune.workspace import State
from tests.server.ordering import Town, sign
from tests.worker.homes import DEPOSIT, FEE, LEAF

pytestmark = [pytest.mark.needs_trainer, pytest.mark.timeout(600)]


def test_a_quote_becomes_an_open_job_with_the_payers_signature_alone(town: Town) -> None:
    quote = town.ready("ada")
    assert (quote["fee"], quote["total"]) == (str(FEE), str(LEAF + FEE))
    assert [one["amount"] for one in quote["payees"]] == [str(LEAF)]
    assert town.locked() == 0
    answer = town.start(quote)
    assert answer.status_code == 202, answer.text
    town.desk().tend()
    assert town.quote(quote["id"])["state"] == "opened"
    (job,) = town.jobs
    assert job.state is State.OPEN
    assert job.facts["queued"] == 1
    assert town.locked() == LEAF + FEE
    town.mirror().tend()
    (listed,) = town.payer.http.get("/v1/jobs").json()["data"]
    assert (listed["state"], listed["job_id"]) == ("open", job.facts["job_id"])
    assert listed["id"] == answer.json()["id"]
    found = town.payer.http.get(f"/v1/jobs/{listed['job_id']}").json()
    assert {name: found[name] for name in listed if listed[name] not in ([], {})} == {
        name: value for name, value in listed.items() if value not in ([], {})
    }
    assert [leaf["locked"] for leaf in found["payees"]] == [str(FEE), str(LEAF)]


# -- what the runner says no to ----------------------------------------------------------------------------------------


def test_too_small_a_deposit_is_told_with_what_is_missing(town: Town) -> None:
    withdraw(town.world.market, town.home.payer, DEPOSIT - 10)
    order = town.ask("ada")
    town.desk().tend()
    found = town.quote(order)
    assert found["state"] == "refused"
    assert found["problem"]["detail"]["missing"] == LEAF + FEE - 10
    assert "allod deposit" in found["problem"]["next"]
    assert town.jobs == []


@pytest.mark.parametrize(
    ("names", "recipe", "reason"),
    [
        (["dario"], {}, "This consent was never granted on chain."),
        (["ada"], {"base": "other"}, "no base model called other"),
        (["ada"], {"epochs": 50}, "No consent fits this job."),
        (["ada"], {"purpose": "commercial-research"}, "No consent fits this job."),
        (["ada"], {"batch_rows": 4_096, "sequence": 131_072}, "more than a trainer takes at once"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    town: Town, names: list[str], recipe: dict[str, Any], reason: str
) -> None:
    order = town.ask(*names, **recipe)
    town.desk().tend()
    found = town.quote(order)
    assert (found["state"], found["opening"], town.jobs) == ("refused", None, [])
    assert reason in found["problem"]["title"]


def test_a_path_is_no_base_model(town: Town) -> None:
    for base in ("../../bases/tiny", "/etc", "~", "org/model", ".", ".."):
        wish = town.wish("ada") | {"recipe": {**town.wish("ada")["recipe"], "base": base}}
        assert town.post("/v1/quotes", wish).status_code == 422


def test_a_consent_of_nobody_or_of_another_is_refused(town: Town) -> None:
    answer = town.post("/v1/quotes", {**town.wish("ada"), "consents": ["0x" + "77" * 32]})
    town.desk().tend()
    assert "No consent of yours" in town.quote(answer.json()["id"])["problem"]["title"]
    other = town.person("bruno")
    answer = town.post("/v1/quotes", town.wish("ada"), http=other.http)
    town.desk().tend()
    found = other.http.get(f"/v1/quotes/{answer.json()['id']}").json()
    assert "No consent of yours" in found["problem"]["title"]
    twice = {**town.wish("ada"), "consents": town.consents("ada", "ada")}
    assert town.post("/v1/quotes", twice).status_code == 422


def test_quotes_that_nobody_signs_are_bounded(town: Town) -> None:
    for _ in range(orders.MAX_OPEN):
        town.ask("ada")
    assert town.post("/v1/quotes", town.wish("ada")).status_code == 409
    with transaction(town.engine) as session:
        session.execute(update(OrderRow).values(state="ready", expires=int(time.time()) - 1))
    assert town.post("/v1/quotes", town.wish("ada")).status_code == 202


def test_a_chain_that_is_away_makes_a_quote_wait(town: Town) -> None:
    order = town.ask("ada")
    town.outside.market.chain.block()
    with pytest.MonkeyPatch.context() as patch:
        from core.errors import Unavailable

        def away(*_: object, **__: object) -> Any:
            raise Unavailable("The chain does not answer.")

        patch.setattr(Chain, "draft", away)
        town.desk().tend()
    assert town.quote(order)["state"] == "waiting"
    town.desk().tend()
    assert town.quote(order)["state"] == "ready"
    assert len(town.jobs) == len(town.job_rows()) == 1


# -- what the payer signs ----------------------------------------------------------------------------------------------


def test_only_the_payers_own_signature_of_exactly_this_opening_is_taken(town: Town) -> None:
    quote = town.ready("ada")
    opening, payer = quote["opening"], town.home.payer
    data = from_hex(opening["data"])
    wrong = [
        sign(Account(b"\x09" * 32), opening),
        sign(payer, opening, data=data[:-1] + bytes([data[-1] ^ 1])),
        sign(payer, opening, data=data + b"\0"),
        sign(payer, opening, data=b""),
        sign(payer, opening, to=Address(b"\x11" * 20)),
        sign(payer, opening, to=None),
        sign(payer, opening, value=1),
        sign(payer, opening, chain_id=1),
        sign(payer, opening)[:-2],
        sign(payer, opening) + "00",
        "0x02",
        "0x" + "ff" * 200,
    ]
    for raw in wrong:
        answer = town.start(quote, raw)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:allod:problem:invalid-input"), raw
    town.desk().tend()
    assert town.quote(quote["id"])["state"] == "ready"
    assert town.locked() == 0
    assert town.jobs[0].state is State.QUOTED
    dearer = sign(payer, opening, max_fee=3 * int(opening["max_fee_per_gas"]), gas=opening["gas"] + 1)
    assert town.start(quote, dearer).status_code == 202  # these are the payer's to choose
    town.desk().tend()
    assert town.locked() == LEAF + FEE


def test_a_start_counts_once_however_often_it_arrives(town: Town) -> None:
    quote = town.ready("ada")
    raw = sign(town.home.payer, quote["opening"])
    first = town.start(quote, raw, key="the-first-key")
    assert town.start(quote, raw, key="the-first-key").json() == first.json()
    assert town.start(quote, raw, key="another-key").json() == first.json()
    other = sign(town.home.payer, quote["opening"], gas=quote["opening"]["gas"] + 1)
    assert town.start(quote, other).status_code == 409
    town.desk().tend()
    assert town.start(quote, raw).status_code == 202  # the job that it opened
    assert town.start(quote, other).status_code == 409
    town.desk().tend()
    assert (len(town.jobs), town.locked(), town.jobs[0].facts["queued"]) == (1, LEAF + FEE, 1)


def test_a_transaction_opens_no_other_quote(town: Town) -> None:
    first, second = town.ready("ada"), town.ready("ada")
    raw = sign(town.home.payer, first["opening"])
    assert town.start(first, raw).status_code == 202
    assert town.start(second, raw).status_code == 422
    town.desk().tend()
    assert town.start(second, raw).status_code == 422
    assert [job.state for job in town.jobs].count(State.QUOTED) == 1
    assert town.locked() == LEAF + FEE


def test_an_expired_quote_is_not_started(town: Town) -> None:
    quote = town.ready("ada")
    with transaction(town.engine) as session:
        session.execute(update(OrderRow).values(expires=int(time.time()) - 1))
    answer = town.start(quote)
    assert (answer.status_code, answer.json()["detail"]) == (409, "The quote has expired.")
    found = town.quote(quote["id"])
    assert (found["state"], found["opening"]) == ("expired", None)
    town.desk().tend()
    assert town.locked() == 0


def test_others_see_nothing_of_a_quote_or_a_job(town: Town) -> None:
    quote, other = town.ready("ada"), town.person("bruno")
    raw = sign(town.home.payer, quote["opening"])
    assert other.http.get(f"/v1/quotes/{quote['id']}").status_code == 404
    body = {"quote": quote["id"], "transaction": raw}
    assert town.post("/v1/jobs", body, http=other.http).status_code == 404
    job = town.start(quote, raw).json()["id"]
    town.desk().tend()
    town.mirror().tend()
    assert other.http.get("/v1/jobs").json()["data"] == []
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", f"/v1/jobs/{town.jobs[0].facts['job_id']}"):
        assert town.payer.http.get(path).status_code == 200
        assert other.http.get(path).status_code == 404
    assert town.post(f"/v1/jobs/{job}/cancellation", {"agreed": True}, http=other.http).status_code == 404
    town.mirror().tend()
    assert town.jobs[0].state is State.OPEN


def test_a_nonce_that_was_used_meanwhile_is_signed_again_and_costs_nothing(town: Town) -> None:
    quote = town.ready("ada")
    raw = sign(town.home.payer, quote["opening"])
    withdraw(town.world.market, town.home.payer, 1)
    assert town.start(quote, raw).status_code == 202
    town.desk().tend()
    town.desk().tend()
    found = town.quote(quote["id"])
    assert (found["state"], found["opening"]["nonce"]) == ("ready", quote["opening"]["nonce"] + 1)
    assert "nonce" in found["problem"]["title"]
    assert (town.locked(), town.jobs[0].state) == (0, State.QUOTED)
    assert town.start(quote, raw).status_code in (409, 422)  # what was signed first counts no more
    assert town.start(found).status_code == 202
    town.desk().tend()
    assert town.locked() == LEAF + FEE
    assert len(town.jobs) == 1


def test_two_openings_for_one_lane_cost_a_signature_and_no_gas(town: Town) -> None:
    first, second = town.ready("ada"), town.ready("ada")
    assert first["opening"]["lane"] == second["opening"]["lane"]
    raw = sign(town.home.payer, second["opening"], nonce=second["opening"]["nonce"] + 1)
    assert town.start(first).status_code == town.start(second, raw).status_code == 202
    town.desk().tend()
    town.desk().tend()
    again = town.quote(second["id"])
    assert (again["state"], again["opening"]["lane"]) == ("ready", "1")
    assert town.world.chain.nonce(town.home.payer.address) == first["opening"]["nonce"] + 1  # the other was not sent
    assert town.start(again).status_code == 202
    town.desk().tend()
    assert town.locked() == 2 * (LEAF + FEE)


def test_a_database_that_lies_does_not_choose_what_the_runner_opens(town: Town) -> None:
    quote = town.ready("ada")
    forged = {**quote["opening"], "data": quote["opening"]["data"][:-64] + "11" * 32}
    with transaction(town.engine) as session:
        session.execute(update(OrderRow).values(opening=forged))
    assert town.start(quote, sign(town.home.payer, forged)).status_code == 202
    town.desk().tend()
    found = town.quote(quote["id"])
    assert (found["state"], found["problem"]["type"]) == ("refused", "invalid-input")
    assert town.jobs[0].state is State.QUOTED
    assert town.world.chain.nonce(town.home.payer.address) == quote["opening"]["nonce"]


def test_a_quote_that_nobody_signed_is_forgotten_once_its_opening_cannot_happen(town: Town) -> None:
    quote, other = town.ready("ada"), town.ready("ada")
    assert town.start(other).status_code == 202
    town.desk().tend()
    town.mirror().tend()
    assert len(town.jobs) == len(list((town.outside.home / "runner" / "keys").iterdir())) == 2
    late = Desk(town.world.settings, town.engine, lambda _: town.outside.world(), lambda: time.time() + 3 * RUN_SECONDS)
    late.tend()
    (job,) = town.jobs
    assert job.state is State.OPEN
    assert len(list((town.outside.home / "runner" / "keys").iterdir())) == len(town.job_rows()) == 1
    assert town.payer.http.get(f"/v1/quotes/{quote['id']}").status_code == 404
    assert town.quote(other["id"])["state"] == "opened"


@pytest.mark.parametrize("held", [True, False], ids=["held", "free"])
def test_a_job_that_its_payer_started_in_another_way_is_never_forgotten(town: Town, held: bool) -> None:
    quote = town.ready("ada")
    (job,) = town.jobs
    with town.outside.world() as world:
        starting.start(world, job, town.home.payer, town.home.base)
    assert town.quote(quote["id"])["state"] == "ready"
    late = Desk(town.world.settings, town.engine, lambda _: town.outside.world(), lambda: time.time() + 3 * RUN_SECONDS)
    with job.hold() if held else nullcontext():
        late.tend()
    (still,) = town.jobs
    assert still.state is State.OPEN
    assert len(town.job_rows()) == len(list((town.outside.home / "runner" / "keys").iterdir())) == 1
    assert town.locked() == LEAF + FEE
    late.tend()
    assert town.quote(quote["id"])["state"] == "opened"
    town.mirror().tend()
    assert town.post(f"/v1/jobs/{still.facts['job_id']}/cancellation", {}).status_code == 202


def test_a_damaged_folder_of_an_old_quote_holds_up_no_other_order(town: Town) -> None:
    quote = town.ready("ada")
    (town.jobs[0].folder / "state.json").write_bytes(b"{")
    order = town.ask("ada")
    late = Desk(town.world.settings, town.engine, lambda _: town.outside.world(), lambda: time.time() + 3 * RUN_SECONDS)
    late.tend()
    assert town.row(order).state == "ready"
    assert town.row(quote["id"]).state == "ready"


def test_events_are_replayed_from_any_place_in_both_forms(town: Town) -> None:
    quote = town.ready("ada")
    job = town.start(quote).json()["id"]
    town.desk().tend()
    with town.jobs[0].hold():
        for step in range(1, 6):
            EventLog(town.jobs[0].folder).add("step", step=step, steps=5, loss=1.5, tokens=9, owners=1)
    town.mirror().tend()
    town.mirror().tend()  # another one, which finds all of it copied
    path, http = f"/v1/jobs/{job}/events", town.payer.http
    page = http.get(path, headers={"accept": "application/json"}).json()
    assert [event["id"] for event in page["data"]] == [1, 2, 3, 4, 5, 6]
    later = http.get(path, params={"after": 4}, headers={"accept": "application/json"}).json()
    assert later["data"] == page["data"][4:]
    stream = {"accept": "text/event-stream"}
    ids = [line for line in http.get(path, headers=stream).text.splitlines() if line.startswith("id:")]
    assert [line.split()[-1] for line in ids] == ["1", "2", "3", "4", "5", "6"]
    rest = http.get(path, headers={**stream, "last-event-id": "5"}).text
    assert rest.count("id:") == 1
    assert http.get(f"/v1/jobs/{job}").json()["progress"] == {
        "step": 5, "steps": 5, "loss": 1.5, "tokens": 9, "owners": 1,
    }  # fmt: skip


def test_old_steps_make_room_and_nothing_else_goes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "KEPT_STEPS", 3)
    job = town.start(town.ready("ada")).json()["id"]
    town.desk().tend()
    with town.jobs[0].hold():
        for step in range(10):
            EventLog(town.jobs[0].folder).add("step", step=step, steps=10, loss=1.0, tokens=1, owners=1)
    town.mirror().tend()
    found = town.payer.http.get(f"/v1/jobs/{job}/events", headers={"accept": "application/json"}).json()["data"]
    assert [(event["id"], event["kind"]) for event in found] == [(1, "queued"), (9, "step"), (10, "step"), (11, "step")]


def test_payer_and_owner_are_told_once_that_a_job_is_open(town: Town) -> None:
    town.start(town.ready("ada"))
    town.desk().tend()
    for _ in range(2):
        town.mirror().tend()
    owner = Address(town.home.addresses["ada"])
    with transaction(town.engine) as session:
        kinds = [one.kind for one in activity.newest(session, owner, before=None, at_most=50)]
        payers = [
            one.kind for one in activity.newest(session, Address(town.home.payer.address), before=None, at_most=50)
        ]
    assert kinds.count("earning.in_escrow") == 1
    assert payers.count("job.opened") == payers.count("job.signed") == 1


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_a_wish_through_the_api_brings_everything_back_before_the_first_release(town: Town) -> None:
    quote = town.ready("ada")
    job = town.start(quote).json()["id"]
    town.desk().tend()
    answer = town.post(f"/v1/jobs/{job}/cancellation", {})
    assert (answer.status_code, answer.json()["cancellation"]) == (202, "asked")
    town.mirror().tend()
    town.mirror().tend()
    found = town.payer.http.get(f"/v1/jobs/{job}").json()
    assert (found["state"], found["outcome"], found["cancellation"]) == ("done", "settled", "cancelled")
    assert (found["refunded"], found["to_be_claimed"]) == (str(LEAF + FEE), "0")
    assert town.locked() == 0
    assert town.post(f"/v1/jobs/{job}/cancellation", {}).status_code == 409


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_wish_between_the_signature_and_the_opening_keeps_the_job_closed(town: Town, looks: int) -> None:
    quote = town.ready("ada")
    job = town.start(quote).json()["id"]
    assert town.post(f"/v1/jobs/{job}/cancellation", {}).status_code == 202
    for _ in range(looks):
        town.mirror().tend()
        assert town.payer.http.get(f"/v1/jobs/{job}").json()["cancellation"] == "asked"
    town.desk().tend()
    town.mirror().tend()
    found = town.quote(quote["id"])
    assert (found["state"], town.locked(), town.jobs[0].state) == ("refused", 0, State.QUOTED)
    assert "cancelled by its payer" in found["problem"]["title"]
    assert town.payer.http.get(f"/v1/jobs/{job}").json()["cancellation"] == "not-open"
    town.desk().tend()
    assert town.locked() == 0


def test_a_wish_while_the_job_is_being_opened_ends_it(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    quote = town.ready("ada")
    job, real = town.start(quote).json()["id"], starting.start_signed

    def wished(*args: Any, **named: Any) -> None:
        assert town.post(f"/v1/jobs/{job}/cancellation", {}).status_code == 202
        town.mirror().tend()
        real(*args, **named)

    monkeypatch.setattr(starting, "start_signed", wished)
    town.desk().tend()
    assert town.quote(quote["id"])["state"] == "opened"
    assert town.locked() == LEAF + FEE
    town.mirror().tend()
    town.mirror().tend()
    assert town.payer.http.get(f"/v1/jobs/{job}").json()["cancellation"] == "cancelled"
    assert town.locked() == 0


def test_a_job_that_was_never_opened_has_nothing_to_cancel(town: Town) -> None:
    quote = town.ready("ada")
    job = str(town.row(quote["id"]).job)
    assert town.post(f"/v1/jobs/{job}/cancellation", {}).status_code == 202
    town.mirror().tend()
    assert town.payer.http.get(f"/v1/jobs/{job}").json()["cancellation"] == "not-open"
    assert town.start(quote).status_code == 202
    town.desk().tend()
    assert town.locked() == LEAF + FEE
