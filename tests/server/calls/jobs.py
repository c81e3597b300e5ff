"""How quotes, jobs and verifications are called: the trainer of the play has a quote, a job under way and one that is
over. No runner works here: what it would have written stands in the database, and the finished job's bundle is the one
that is committed under `tests/golden`.
"""

from __future__ import annotations

import secrets
import shutil
import uuid
from pathlib import Path
from typing import Any

from httpx2 import Response

from allod import orders
from allod.orders import OrderRow
from core.database import transaction
from core.encoding import to_hex
from finetune.records import JobRow
from tests.server.ordering import RECIPE, sign
from tests.server.people import Person
from tests.server.stage import Stage, call

GOLDEN = Path(__file__).parents[2] / "golden" / "job" / "bundle"
FINISHED = b"\x0f" * 32


def post(who: Person, path: str, body: dict[str, Any]) -> Response:
    return who.http.post(path, json=body, headers={"Idempotency-Key": str(uuid.uuid4())})


def add_job(stage: Stage, **more: Any) -> JobRow:
    """A job of the trainer as a runner would have listed it."""
    row = JobRow(folder=secrets.token_hex(8), payer=stage.trainer.account.address, **more)
    with transaction(stage.world.engine) as session:
        session.add(row)
        session.flush()
    return row


def job_under_way(stage: Stage) -> str:
    return str(add_job(stage, state="training", job_id=b"\x0a" * 32).number)


def finished_job(stage: Stage) -> str:
    row = add_job(stage, state="done", job_id=FINISHED, adapter=b"\x0b" * 32)
    shutil.copytree(GOLDEN, stage.world.home / "bundles" / row.folder)
    return to_hex(FINISHED)


def quote(stage: Stage) -> OrderRow:
    """A quote of the trainer that is ready to be signed."""
    number = add_job(stage, state="quoted").number
    opening = {
        "type": 2,
        "chain_id": stage.world.deployment.chain_id,
        "nonce": 0,
        "to": to_hex(stage.world.deployment.escrow),
        "value": "0",
        "data": "0x" + "ab" * 68,
        "gas": 100_000,
        "max_fee_per_gas": "2000000000",
        "max_priority_fee_per_gas": "1000000000",
        "lane": "0",
        "start": 4_000_000_000,
    }
    with transaction(stage.world.engine) as session:
        row = orders.place(session, stage.trainer.account.address, {})
        row.state, row.opening, row.job, row.expires = orders.READY, opening, number, 4_000_000_000
    return row


@call("POST /v1/quotes")
def ask(stage: Stage, who: Person) -> Response:
    return post(who, "/v1/quotes", {"consents": ["0x" + "11" * 32], "recipe": RECIPE, "fee": "1"})


@call("GET /v1/quotes/{id}")
def read_quote(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/quotes/{stage.once('quote', quote).id}")


@call("POST /v1/jobs")
def start(stage: Stage, who: Person) -> Response:
    row: OrderRow = stage.once("quote", quote)
    assert row.opening is not None
    return post(who, "/v1/jobs", {"quote": row.id, "transaction": sign(stage.trainer.account, row.opening)})


@call("GET /v1/jobs/{job}")
def read_job(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/jobs/{stage.once('job', job_under_way)}")


@call("GET /v1/jobs/{job}/events")
def events(stage: Stage, who: Person) -> Response:
    number = stage.once("job", job_under_way)
    return who.http.get(f"/v1/jobs/{number}/events", headers={"accept": "application/json"})


@call("POST /v1/jobs/{job}/cancellation")
def cancel(stage: Stage, who: Person) -> Response:
    return post(who, f"/v1/jobs/{stage.once('job', job_under_way)}/cancellation", {})


@call("GET /v1/jobs/{job}/bundle")
def bundle(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/jobs/{stage.once('finished', finished_job)}/bundle")


@call("GET /v1/verifications/{name}")
def verification(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/verifications/{stage.once('finished', finished_job)}")
