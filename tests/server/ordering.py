"""A home with owners, a payer and a tiny model, its server in this process, and a desk that is tended by hand."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from starlette.testclient import TestClient

from allod.desk import Desk
from allod.mirror import Mirror
from allod.orders import OrderRow
from allod.world import World
from consent.chain.account import Account
from consent.market.granting import consent_id
from core.database import transaction
from core.encoding import from_hex, to_hex
from core.ids import Address
from finetune.records import JobRow
from finetune.workspace import Workspace, workspaces
from tests.server.people import Person
from tests.worker.homes import EPOCHS, FEE, Home
from tests.worker.outside import Outside

RECIPE: dict[str, Any] = {
    "base": "tiny",
    "purpose": "academic-research",
    "epochs": EPOCHS,
    "rank": 4,
    "alpha": 8,
    "targets": ["q_proj", "v_proj"],
    "learning_rate_nano": 5_000_000,
    "warmup_steps": 1,
    "batch_rows": 1,
    "sequence": 128,
    "seed": 7,
}


def sign(account: Account, opening: dict[str, Any], **changes: Any) -> str:
    """The raw transaction of an opening, with any field of it changed."""
    fields = {
        "chain_id": opening["chain_id"],
        "nonce": opening["nonce"],
        "max_priority_fee": int(opening["max_priority_fee_per_gas"]),
        "max_fee": int(opening["max_fee_per_gas"]),
        "gas": opening["gas"],
        "to": Address(from_hex(opening["to"], 20)),
        "value": int(opening["value"]),
        "data": from_hex(opening["data"]),
        **changes,
    }
    return to_hex(account.sign_transaction(**fields))


@dataclass
class Town:
    """The home from outside and inside: `world` is the server's, `desk` and `mirror` the runner's."""

    outside: Outside
    home: Home
    world: World
    person: Callable[..., Person]
    payer: Person = field(init=False)

    def __post_init__(self) -> None:
        bases = self.outside.home / "bases"
        bases.mkdir(exist_ok=True)
        if not (bases / "tiny").exists():
            shutil.copytree(self.home.base, bases / "tiny")
        self.payer = self.person("tess", signed_in=False)
        self.payer.account = self.home.payer
        self.payer.sign_in()

    @property
    def engine(self) -> Engine:
        return self.world.engine

    def desk(self) -> Desk:
        """A runner's desk that just came up."""
        return Desk(self.world.settings, self.engine, lambda _: self.outside.world())

    def mirror(self) -> Mirror:
        """A mirror that just came up."""
        return Mirror(self.world.settings, self.engine, lambda _: self.outside.world())

    def consents(self, *names: str) -> list[str]:
        """The ids of the payer's tokens of these owners."""
        payer = Address(self.home.payer.address)
        return [to_hex(consent_id(self.world.market, self.home.consents[name], payer)) for name in names]

    def wish(self, *names: str, **recipe: Any) -> dict[str, Any]:
        """What asks for a quote over these owners' data."""
        return {"consents": self.consents(*names), "recipe": {**RECIPE, **recipe}, "fee": str(FEE)}

    def ask(self, *names: str, **recipe: Any) -> str:
        """Ask for a quote; its id."""
        answer = self.post("/v1/quotes", self.wish(*names, **recipe))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def post(self, path: str, body: dict[str, Any], *, key: str | None = None, http: TestClient | None = None) -> Any:
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        return (http or self.payer.http).post(path, json=body, headers=headers)

    def quote(self, order: str) -> dict[str, Any]:
        """A quote as it stands."""
        found = self.payer.http.get(f"/v1/quotes/{order}")
        assert found.status_code == 200, found.text
        return dict(found.json())

    def ready(self, *names: str) -> dict[str, Any]:
        """A quote that the desk has worked out."""
        order = self.ask(*names)
        self.desk().tend()
        found = self.quote(order)
        assert found["state"] == "ready", found
        return found

    def start(self, quote: dict[str, Any], raw: str | None = None, **more: Any) -> Any:
        """Hand the signed opening over."""
        signed = raw or sign(self.home.payer, quote["opening"])
        return self.post("/v1/jobs", {"quote": quote["id"], "transaction": signed}, **more)

    @property
    def jobs(self) -> list[Workspace]:
        return list(workspaces(self.outside.home / "jobs"))

    def row(self, order: str) -> OrderRow:
        with transaction(self.engine) as session:
            return session.get_one(OrderRow, order)

    def job_rows(self) -> list[JobRow]:
        return self.world.jobs.all()

    def locked(self) -> int:
        return self.outside.locked(Address(self.home.payer.address))


def tiny(tmp: Path) -> Path:
    """A tiny base model's folder."""
    from tests.job.by_hand import write_tiny_base

    write_tiny_base(tmp)
    return tmp
