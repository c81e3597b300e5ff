"""A market's whole life on a real EVM: the index tells the same events, jobs and terms as the chain's logs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from consent.chain.deployment import Deployment
from consent.chain.embedded import EmbeddedChain
from consent.grant import nonce_of
from consent.index.indexer import Indexer
from consent.index.layout import Layouts
from consent.market.lanes import courses
from consent.market.place import Market
from core.ids import Asset
from tests.contracts.world import (
    DAY,
    OTHER_OWNER,
    OWNER,
    RELAYER,
    STRANGER,
    TRAINER,
    World,
    build_world,
    tree_of,
)  # fmt: skip
from tests.index.fork_tree import new_engine


@pytest.fixture
def world() -> Iterator[World]:
    with EmbeddedChain(None) as embedded:
        yield build_world(embedded)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = new_engine()
    yield engine
    engine.dispose()


def live_a_life(world: World) -> None:
    """Everything that leaves an event, at least once."""
    world.send(OWNER, world.registry, "register", bytes(32), b"\x01" * 32)
    world.send(OWNER, world.registry, "register", bytes(32), b"\x02" * 32)
    world.send(OTHER_OWNER, world.registry, "register", bytes(32), b"\x03" * 32)
    named, never, counted = world.consent(0), world.consent(1), world.consent(2, max_uses=1)
    offer = world.consent(3, grantee=bytes(20))
    world.send(OWNER, world.token, "grant", named.as_tuple())
    world.send(OWNER, world.token, "grant", counted.as_tuple())
    world.send(TRAINER, world.token, "take", offer.as_tuple(), world.sign(offer))
    some = [named, world.consent(4)]
    world.send(
        RELAYER, world.token, "redeem", [c.as_tuple() for c in some], [world.sign(c) for c in some]
    )  # one skipped
    world.send(OWNER, world.token, "revoke", never.as_tuple(), TRAINER.address)  # a tombstone
    world.send(OWNER, world.token, "revoke", named.as_tuple(), TRAINER.address)
    world.send(TRAINER, world.token, "surrender", [offer.as_tuple()])
    world.fund(TRAINER, 1_000)
    world.send(TRAINER, world.escrow, "withdraw", 100)
    tree = tree_of(50, 60, 70)
    world.chain.mine()
    job = world.confirm(world.open(tree.root, counted=[counted]))
    entry = world.claim(job, tree, 0)
    assert world.skipped(entry, world.claim(job, tree, 1), entry) == {2: 4}
    settled = world.open(tree_of(5, 6).root, lane=1)
    world.settle(settled, tree_of(5).root)
    world.open(tree_of(9).root, lane=2**95)
    world.send(OWNER, world.token, "revoke_all")
    world.advance(200 * DAY)
    world.send(TRAINER, world.escrow, "reclaim", 0, job.prev)
    world.send(OWNER, world.token, "grant", world.consent(0, nonce=nonce_of(1, 0, 0)).as_tuple())
    world.send(STRANGER, world.token, "revoke_all")


def test_the_index_tells_what_the_logs_tell(world: World, engine: Engine) -> None:
    live_a_life(world)
    deployment = Deployment(
        31337, world.registry.address, world.token.address, world.escrow.address, world.money.address, 1, first_block=1
    )
    index = Indexer(world.chain, deployment, engine)
    plain, indexed = Market(world.chain, deployment), Market(world.chain, deployment, lambda: index)
    seen = set()
    for contract, name in Layouts(deployment)._by_name:
        expected = plain.events(contract, name)
        assert indexed.events(contract, name) == expected
        seen |= {event.name for event in expected}
        for event in expected[:2]:
            keys = [key for key in ("owner", "asset", "payer", "payee", "token_id", "sender") if key in event.args]
            for key in keys:
                wanted = {key: event.args[key]}
                assert indexed.events(contract, name, **wanted) == [
                    other for other in expected if other.args[key] == event.args[key]
                ]
    assert {name for _, name in Layouts(deployment)._by_name} - seen == {"Approval", "ApprovalForAll"}
    assert courses(indexed) == courses(plain)
    assert courses(indexed, TRAINER.address) == courses(plain, TRAINER.address) != []
    assert courses(indexed, OWNER.address) == []
    for event in plain.events("registry", "Registered"):
        asset = Asset(event.args["asset"])
        assert indexed.registered_terms(asset) == plain.registered_terms(asset) != []
    # The index follows by itself: what happens now is in the next answer.
    world.send(OWNER, world.registry, "register", bytes(32), b"\x04" * 32)
    asset = Asset(plain.events("registry", "Registered")[0].args["asset"])
    assert indexed.registered_terms(asset) == [b"\x01" * 32, b"\x02" * 32, b"\x04" * 32]
