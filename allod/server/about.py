"""`/v1/world`: which chain, contracts and keepers this server works with, and who operates what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from allod import __version__
from allod.depot import PART, QUESTION
from allod.server.context import Here
from allod.server.forms import AddressHex, Hex32, UnixTime
from allod.server.guard import Anyone
from allod.world import World
from consent.money import unit_decimals
from consent.purposes import PURPOSES
from core.encoding import to_hex
from finetune.jobkey import runner_address
from vault.blocks import MAX_BLOCK

router = APIRouter(prefix="/v1", tags=["world"])


class ContractsOut(BaseModel):
    """The contracts' addresses."""

    registry: AddressHex
    consent_token: AddressHex
    escrow: AddressHex
    currency: AddressHex


class CurrencyOut(BaseModel):
    """What jobs pay in. Amounts in the API are UNITs, of which `unit_decimals` places are fractions of one."""

    symbol: str = Field(max_length=64)
    decimals: int = Field(ge=0, le=77)
    unit_decimals: int = Field(ge=0, le=9)


class KeeperOut(BaseModel):
    """One keeper."""

    index: int = Field(ge=1, le=16)
    address: AddressHex
    endpoint: str
    hpke_key: Annotated[str, Field(pattern="^0x[0-9a-f]+$")]


class CommitteeOut(BaseModel):
    """The accepted keepers. `document` is the signed text itself: check its signatures, and trust no other field."""

    id: Hex32
    hash: Hex32
    document: str
    t: int
    n: int
    q: int
    end: UnixTime
    keepers: list[KeeperOut]


class RunnerOut(BaseModel):
    """The machine that runs jobs."""

    address: AddressHex | None


class OperatorsOut(BaseModel):
    """Who operates each part: one sentence each, of a keeper in the order of their indices."""

    server: str
    runner: str
    keepers: list[str]


class PurposeOut(BaseModel):
    """A purpose that a consent can name."""

    code: str
    iri: str
    hash: Hex32
    label: str


class LimitsOut(BaseModel):
    """What fits into one request."""

    part_bytes: int
    cids_per_question: int
    block_bytes: int


class WorldOut(BaseModel):
    """What a client needs to know before it signs or seals anything; it pins what it accepted once."""

    chain_id: int
    is_development: bool
    notice: str | None
    version: str
    contracts: ContractsOut
    currency: CurrencyOut
    committee: CommitteeOut
    runner: RunnerOut
    operators: OperatorsOut
    purposes: list[PurposeOut]
    limits: LimitsOut


def describe(world: World) -> WorldOut:
    """The document of a home's world."""
    deployment, committee, chain, settings = world.deployment, world.committee, world.chain, world.settings
    decimals = world.market.decimals
    runner = runner_address(world.home / "runner")
    said = [one.strip() for one in settings.keeper_operators.split("|")]
    return WorldOut(
        chain_id=deployment.chain_id,
        is_development=chain.is_development,
        notice=world.notice,
        version=__version__,
        contracts=ContractsOut(
            registry=to_hex(deployment.registry),
            consent_token=to_hex(deployment.consent_token),
            escrow=to_hex(deployment.escrow),
            currency=to_hex(deployment.currency),
        ),
        currency=CurrencyOut(
            symbol=world.market.symbol[:64],
            decimals=decimals,
            unit_decimals=unit_decimals(decimals),
        ),
        committee=CommitteeOut(
            id=to_hex(committee.id),
            hash=to_hex(committee.hash),
            document=committee.encode().decode(),
            t=committee.t,
            n=committee.n,
            q=committee.q,
            end=committee.end,
            keepers=[
                KeeperOut(
                    index=one.index, address=to_hex(one.address), endpoint=one.endpoint, hpke_key=to_hex(one.hpke)
                )
                for one in committee.keepers
            ],
        ),
        runner=RunnerOut(address=None if runner is None else to_hex(runner)),
        operators=OperatorsOut(
            server=settings.server_operator,
            runner=settings.runner_operator,
            keepers=[said[min(place, len(said) - 1)] for place in range(committee.n)],
        ),
        purposes=[PurposeOut(code=one.code, iri=one.iri, hash=to_hex(one.hash), label=one.label) for one in PURPOSES],
        limits=LimitsOut(part_bytes=PART, cids_per_question=QUESTION, block_bytes=MAX_BLOCK),
    )


@router.get("/world", operation_id="read_world")
def read_world(caller: Anyone, here: Here) -> WorldOut:
    """Chain, contracts, keepers, runner, and who operates them."""
    return describe(here)
