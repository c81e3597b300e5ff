"""The gas of every step, measured the same way each time: `python -m tests.contracts.gas_table` writes it anew.

Calldata is dense (no zero byte in a hash or address), the clock is fixed, the chain runs Prague rules. A payer keeps a
standing deposit, so every opening changes its word; lanes, nonce words and payees' accounts are used ones unless a row
says otherwise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

from consent.chain import embedded
from consent.contracts.build import FOLDER
from consent.grant import Consent
from consent.order import CLAIM_TIME
from consent.tree import SumTree
from consent.typed import register_digest, revoke_digest, revoke_nonces_digest
from core.ids import NOBODY
from tests.contracts.world import DAY, OTHER_OWNER, OWNER, RELAYER, STRANGER, TRAINER, Job, World, build_world, tree_of

PATH = FOLDER / "gas.json"
NOON = 1_800_000_000.0
STATEMENT = bytes([0x5A]) * 32
GOALS = {
    "grant": 62_500,
    "revoke": 40_000,
    "revoke_nonces, used word": 27_000,
    "open + confirm, reused lane, 1 owner": 70_000,
    "open + confirm, reused lane, 10,000 owners": 70_000,
    "open + settle, reused lane, refund, 3 signatures": 92_000,
    "open + settle, reused lane with a leftover, refund, 3 signatures": 92_000,
    "claim at depth 10": 68_000,
}


@contextmanager
def fixed_world() -> Iterator[World]:
    """The world of the tests at a fixed time."""
    clock = SimpleNamespace(time=lambda: NOON, monotonic=time.monotonic)
    with mock.patch.object(embedded, "time", clock), embedded.EmbeddedChain(None) as chain:
        yield build_world(chain)


def measure(world: World) -> dict[str, int]:
    """Row by row, the gas used."""
    return {**_consents(world), **_jobs(world)}


def _consents(world: World) -> dict[str, int]:
    token, rows = world.token, {}

    def gas(who: Any, name: str, *args: Any) -> int:
        return world.send(who, token, name, *args).gas_used

    def consent(bit: int, **changes: Any) -> Consent:
        return replace(world.consent(bit, expiry=1_893_456_000 | 0x01010101), **changes)

    rows["register"] = world.send(OWNER, world.registry, "register", b"\1" * 32, b"\2" * 32).gas_used
    digest = register_digest(world.chain.chain_id, world.registry.address, OWNER.address, b"\1" * 32, b"\2" * 32)
    signed = (OWNER.address, b"\1" * 32, b"\2" * 32, OWNER.sign_hash(digest))
    rows["register_by_sig"] = world.send(RELAYER, world.registry, "register_by_sig", *signed).gas_used
    rows["grant, trainer's first token"] = gas(OWNER, "grant", consent(1).as_tuple())
    rows["grant"] = gas(OWNER, "grant", consent(2).as_tuple())
    batch = [consent(bit) for bit in range(16, 32)]
    arguments = ([c.as_tuple() for c in batch], [world.sign(c) for c in batch])
    rows["redeem, each of 16"] = gas(RELAYER, "redeem", *arguments) // 16
    offer = consent(3, grantee=NOBODY)
    rows["take"] = gas(TRAINER, "take", offer.as_tuple(), world.sign(offer))
    rows["revoke"] = gas(OWNER, "revoke", consent(2).as_tuple(), TRAINER.address)
    ids = [world.id(batch[0])]
    signature = OWNER.sign_hash(revoke_digest(world.chain.chain_id, token.address, OWNER.address, ids))
    rows["revoke_by_sig, one"] = gas(RELAYER, "revoke_by_sig", [batch[0].as_tuple()], [TRAINER.address], signature)
    rows["surrender, one"] = gas(TRAINER, "surrender", [batch[1].as_tuple()])
    rows["revoke_nonces, fresh word"] = gas(OWNER, "revoke_nonces", 1, 1 << 9)
    rows["revoke_nonces, used word"] = gas(OWNER, "revoke_nonces", 1, 1 << 17)
    signature = OWNER.sign_hash(revoke_nonces_digest(world.chain.chain_id, token.address, OWNER.address, 1, 1 << 33))
    rows["revoke_nonces_by_sig, used word"] = gas(RELAYER, "revoke_nonces_by_sig", OWNER.address, 1, 1 << 33, signature)
    rows["revoke_all, first"] = gas(OTHER_OWNER, "revoke_all")
    rows["revoke_all, later"] = gas(OTHER_OWNER, "revoke_all")
    return rows


def _jobs(world: World) -> dict[str, int]:
    rows: dict[str, int] = {}
    small, large, mid = tree_of(1_000_001), tree_of(*[101] * 10_000), tree_of(*[1_000_003] * 1_024)
    world.fund(TRAINER, 50 * mid.total)
    job = world.open(small.root)
    rows["open, fresh lane"] = world.gas["open"]
    job = _next(world, world.confirm(job, statement=STATEMENT))
    for tree, owners in ((small, "1 owner"), (large, "10,000 owners")):
        job = world.confirm(world.open(tree.root, prev=job.prev), statement=STATEMENT)
        rows[f"open, reused lane, {owners}"] = world.gas["open"]
        rows[f"confirm, {owners}"] = world.gas["confirm"]
        rows[f"open + confirm, reused lane, {owners}"] = world.gas["open"] + world.gas["confirm"]
        job = _next(world, job)
    opened = world.open(mid.root, prev=job.prev)
    final = mid.lowered({mid.leaves[0].consent_id: 0})
    job = world.settle(opened, final.root, statement=STATEMENT)
    rows["settle, refund, 3 signatures"] = world.gas["settle"]
    rows["open + settle, reused lane, refund, 3 signatures"] = world.gas["open"] + world.gas["settle"]
    job = world.confirm(world.open(small.root, prev=_next(world, job).prev))
    world.advance(CLAIM_TIME + DAY)
    job = world.settle(world.open(mid.root, prev=job.prev), final.root, statement=STATEMENT)
    rows["open + settle, reused lane with a leftover, refund, 3 signatures"] = world.gas["open"] + world.gas["settle"]
    job = _next(world, job)
    job = world.confirm(world.open(mid.root, prev=job.prev))
    rows.update(_claims(world, job, mid))
    counted = world.consent(200, max_uses=9)
    world.send(OWNER, world.token, "grant", counted.as_tuple())
    job = _next(world, job)
    world.open(small.root, prev=job.prev, counted=[counted])
    rows["open, reused lane, 1 counted consent"] = world.gas["open"]
    return rows


def _next(world: World, job: Job) -> Job:
    """The lane's claims are over; the payer holds another sum than it will lock."""
    world.advance(CLAIM_TIME + 40 * DAY)
    world.send(TRAINER, world.escrow, "reclaim", job.lane, job.prev)
    return job


def _claims(world: World, job: Job, tree: SumTree) -> dict[str, int]:
    """Claims on a lane whose words of paid bits were written in an earlier job, to a payee who has money."""
    rows = {}
    world.claims(world.claim(job, tree, 0))
    rows["claim at depth 10, fresh word of paid bits"] = world.gas["claim_many"]
    world.claims(world.claim(job, tree, 1))
    rows["claim at depth 10"] = world.gas["claim_many"]
    world.claims(*[world.claim(job, tree, index) for index in range(2, 18)])
    rows["claim at depth 10, each of 16"] = world.gas["claim_many"] // 16
    world.claims(world.claim(job, tree, 1), who=STRANGER)
    rows["claim, spent"] = world.gas["claim_many"]
    return rows


def table() -> dict[str, Any]:
    """What `gas.json` holds."""
    with fixed_world() as world:
        gas = measure(world)
    rules = "Prague, py-evm; each row is the gas used by one transaction unless it says otherwise"
    return {"rules": rules, "gas": gas, "goals": GOALS}


if __name__ == "__main__":
    PATH.write_text(json.dumps(table(), indent=1) + "\n")
