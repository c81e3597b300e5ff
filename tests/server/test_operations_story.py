"""An owner and a trainer, from the publication to the money, through the API alone."""

from __future__ import annotations

from starlette.testclient import TestClient

from allod.world import World
from consent.market.granting import SignedConsent, take
from core.encoding import to_hex
from tests.server.market import Owner, ask_for, fields, fund, key, ok, open_a_job, work
from tests.server.people import Person


def test_the_whole_story(world: World, anonymous: TestClient, ada: Person, tom: Person) -> None:
    owner = Owner(world, ada)
    made = owner.prepared()
    operation = ok(owner.post_dataset(made), 202)
    assert (operation["kind"], operation["state"]) == ("register", "accepted")
    assert ok(anonymous.get("/v1/datasets"))["data"] == []
    work(world)
    found = owner.operation(operation)
    assert found["state"] == "final"
    assert found["tx_hash"] is not None
    assert found["problem"] is None
    listed = ok(anonymous.get("/v1/datasets"))["data"]
    assert [(one["title"], one["price"]["flat"]) for one in listed] == [("Ferry times", "1000")]

    # tom asks; ada approves at another price, under terms of their own
    request = ok(tom.http.post("/v1/requests", json=ask_for(made), headers=key()), 201)
    assert [one["id"] for one in ok(ada.http.get("/v1/requests"))["data"]] == [request["id"]]
    dearer = owner.publish(owner.terms(flat=2_000, max_epochs=3))
    assert dearer.asset == made.asset
    consent = owner.consent(dearer, tom.account.address)
    granted = ok(owner.post_consent(consent, request["id"]), 202)
    answered = ok(tom.http.get(f"/v1/requests/{request['id']}"))
    assert answered["state"] == "approved_with_changes"
    assert answered["history"][-1]["changes"] == ["flat"]
    work(world)
    assert owner.operation(granted)["state"] == "final"
    rows = ok(tom.http.get("/v1/consents", params={"role": "trainer"}))["data"]
    assert [row["tokens"][0]["status"] for row in rows] == ["live"]
    assert rows[0]["price"]["flat"] == "2000"

    # an open offer, which tom takes in a transaction of his own
    offer = owner.consent(made)
    assert ok(owner.post_consent(offer), 202)["state"] == "final"
    detail = ok(anonymous.get(f"/v1/datasets/{to_hex(made.asset)}"))
    assert [one["consent"] for one in detail["offers"]] == [fields(offer)]
    assert detail["card"]["sample"] == "At noon."
    fund(world, tom)
    token, _ = take(world.market, tom.account, SignedConsent(offer, owner.sign(offer)))
    rows = ok(ada.http.get("/v1/consents"))["data"]
    assert [(row["number"], row["is_offer"], row["title"]) for row in rows] == [
        (2, True, "Ferry times"),
        (1, False, "Ferry times"),
    ]
    assert rows[0]["tokens"][0] == {
        "id": to_hex(token),
        "holder": tom.address,
        "status": "live",
        "uses": 0,
        "uses_left": None,
    }

    # a job is opened directly on the escrow; its payment arrives and is claimed
    order = open_a_job(world, tom, [(token, ada, 700)])
    money = ok(ada.http.get("/v1/earnings"))
    assert money["totals"] == {"in_escrow": "700", "claimable": "0", "paid": "0"}
    assert money["data"][0]["asset"] == to_hex(made.asset)
    rows = ok(ada.http.get("/v1/consents"))["data"]
    assert [job["job_id"] for job in rows[0]["jobs"]] == [to_hex(order.job_id)]
    assert rows[0]["last_used"] == order.opened
    assert ada.http.post("/v1/claims", json={}, headers=key()).status_code == 409
    world.chain.advance(order.start - world.chain.block().timestamp)
    assert ok(ada.http.get("/v1/earnings"))["totals"]["claimable"] == "700"
    claim = ok(ada.http.post("/v1/claims", json={}, headers=key()), 202)
    work(world)
    assert owner.operation(claim)["about"]["paid"] == [{"job_id": to_hex(order.job_id), "amount": "700"}]
    money = ok(ada.http.get("/v1/earnings"))
    assert money["totals"] == {"in_escrow": "0", "claimable": "0", "paid": "700"}
    assert money["data"][0]["tx_hash"] == owner.operation(claim)["tx_hash"]

    # and revoked: one token, then the offer, then everything
    revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
    assert [keeper["stored"] for keeper in revoked["keepers"]] == [False] * 3
    work(world)
    revoked = owner.operation(revoked)
    assert revoked["state"] == "final"
    assert [keeper["stored"] for keeper in revoked["keepers"]] == [True] * 3
    ended = ok(owner.revoke_nonces(offer), 202)
    work(world)
    rows = ok(ada.http.get("/v1/consents"))["data"]
    assert [row["tokens"][0]["status"] for row in rows] == ["nonce_revoked", "burned"]
    assert [row["nonce_revoked"] for row in rows] == [True, False]
    assert ok(anonymous.get(f"/v1/datasets/{to_hex(made.asset)}"))["offers"] == []
    everything = ok(owner.revoke_all(0), 202)
    work(world)
    assert {owner.operation(one)["state"] for one in (ended, everything)} == {"final"}
    assert world.chain.balance(ada.account.address) == 0, "an owner never needs gas"
    kinds = [one["kind"] for one in ok(ada.http.get("/v1/activity", params={"limit": 100}))["data"]]
    assert {"dataset.published", "consent.granted", "consent.offered", "earning.paid", "consent.revoked"} <= set(kinds)
    assert kinds.count("operation.final") == 8
