"""How the routes of the market are called: datasets, requests, consents, revocations, earnings, claims, operations."""

from __future__ import annotations

from typing import Any

from httpx2 import Response

from consent.grant import Consent
from core.encoding import to_hex
from tests.server.market import Owner, ask_for, fields, fund, key, ok, open_a_job, work
from tests.server.people import Person
from tests.server.stage import Stage, call


def the_owner(stage: Stage) -> Owner:
    return stage.once("market owner", lambda _: Owner(stage.world, stage.owner))


def the_dataset(stage: Stage) -> Any:
    return stage.once("market dataset", lambda _: the_owner(stage).publish())


def the_request(stage: Stage) -> str:
    """A new request of the trainer to the owner."""
    body = ask_for(the_dataset(stage))
    return str(ok(stage.trainer.http.post("/v1/requests", json=body, headers=key()), 201)["id"])


def the_consent(stage: Stage) -> Consent:
    """A consent of the owner for the trainer that is granted, and pays in a job that has ended."""

    def make(_: Stage) -> Consent:
        owner, made = the_owner(stage), the_dataset(stage)
        consent = owner.consent(made, stage.trainer.account.address)
        ok(owner.post_consent(consent), 202)
        work(stage.world)
        return consent

    return stage.once("market consent", make)


@call("GET /v1/datasets/{asset}")
def read_dataset(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/datasets/{to_hex(the_dataset(stage).asset)}")


@call("POST /v1/datasets")
def publish(stage: Stage, who: Person) -> Response:
    """The owner's own publication: whoever else sends it did not sign for it."""
    owner, made = the_owner(stage), the_dataset(stage)
    body = {"publication": str(made.cid), "signature": owner.register_signature(made)}
    return who.http.post("/v1/datasets", json=body, headers=key())


@call("POST /v1/requests")
def ask(stage: Stage, who: Person) -> Response:
    return who.http.post("/v1/requests", json=ask_for(the_dataset(stage)), headers=key())


@call("GET /v1/requests/{request_id}")
def read_request(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/requests/{the_request(stage)}")


@call("POST /v1/requests/{request_id}/denial")
def deny(stage: Stage, who: Person) -> Response:
    return who.http.post(f"/v1/requests/{the_request(stage)}/denial", json={"reason": "No."})


@call("POST /v1/requests/{request_id}/withdrawal")
def withdraw(stage: Stage, who: Person) -> Response:
    return who.http.post(f"/v1/requests/{the_request(stage)}/withdrawal")


@call("POST /v1/consent_nonces")
def nonce(stage: Stage, who: Person) -> Response:
    return who.http.post("/v1/consent_nonces", json={"above": "-1"})


@call("POST /v1/consents")
def consent(stage: Stage, who: Person) -> Response:
    """A new consent of the owner, whoever sends it."""
    owner = the_owner(stage)
    made = owner.consent(the_dataset(stage), stage.trainer.account.address)
    body = {"consent": fields(made), "signature": to_hex(owner.sign(made))}
    return who.http.post("/v1/consents", json=body, headers=key())


@call("POST /v1/revocations")
def revoke(stage: Stage, who: Person) -> Response:
    """The owner's revocation of a nonce, whoever sends it."""
    owner = the_owner(stage)
    ended = owner.consent(the_dataset(stage))
    body = owner.revoke_nonces_body(ended)
    return who.http.post("/v1/revocations", json=body, headers=key())


@call("GET /v1/operations/{operation_id}")
def read_operation(stage: Stage, who: Person) -> Response:
    def make(_: Stage) -> str:
        made = the_dataset(stage)
        return str(ok(the_owner(stage).post_dataset(made), 202)["id"])

    return who.http.get(f"/v1/operations/{stage.once('market operation', make)}")


@call("POST /v1/claims")
def claim(stage: Stage, who: Person) -> Response:
    """The payments of the owner's job."""

    def make(_: Stage) -> str:
        world, consent = stage.world, the_consent(stage)
        market = world.market
        token = consent.id(market.chain_id, market.token.address, consent.grantee)
        fund(world, stage.trainer)
        order = open_a_job(world, stage.trainer, [(token, stage.owner, 500)])
        world.chain.advance(order.start - world.chain.block().timestamp)
        return to_hex(order.job_id)

    job = stage.once("market job", make)
    return who.http.post("/v1/claims", json={"job_ids": [job]}, headers=key())
