"""Who registers what, and what a registration cannot do."""

from __future__ import annotations

import pytest

from consent.typed import keccak, register_digest
from core.errors import Refused
from tests.contracts.world import OWNER, RELAYER, STRANGER, World

DIGEST, TERMS = bytes([1]) * 32, bytes([2]) * 32


def typed(world: World, owner: bytes, digest: bytes = DIGEST, terms: bytes = TERMS) -> bytes:
    return register_digest(world.chain.chain_id, world.registry.address, owner, digest, terms)


def test_a_dataset_is_registered_under_its_owners_asset(world: World) -> None:
    receipt = world.send(OWNER, world.registry, "register", DIGEST, TERMS)
    (event,) = world.events(receipt, "Registered")
    asset = keccak(OWNER.address + DIGEST)
    assert event == {"owner": OWNER.address, "asset": asset, "digest": DIGEST, "terms": TERMS}


def test_two_owners_of_one_digest_have_two_assets(world: World) -> None:
    assets = [
        world.events(world.send(who, world.registry, "register", DIGEST, TERMS), "Registered")[0]["asset"]
        for who in (OWNER, STRANGER)
    ]
    assert assets == [keccak(OWNER.address + DIGEST), keccak(STRANGER.address + DIGEST)]


def test_a_relayer_registers_what_the_owner_signed_as_often_as_it_likes(world: World) -> None:
    signature = OWNER.sign_hash(typed(world, OWNER.address))
    for _ in range(2):
        receipt = world.send(RELAYER, world.registry, "register_by_sig", OWNER.address, DIGEST, TERMS, signature)
        (event,) = world.events(receipt, "Registered")
        assert event["owner"] == OWNER.address


@pytest.mark.parametrize("case", ["other owner", "other digest", "other terms", "other chain", "stranger", "nobody"])
def test_nobody_registers_in_anothers_name(world: World, case: str) -> None:
    owner, digest, terms = OWNER.address, DIGEST, TERMS
    signature = OWNER.sign_hash(typed(world, OWNER.address))
    if case == "other owner":
        owner = STRANGER.address
    elif case == "other digest":
        digest = bytes(32)
    elif case == "other terms":
        terms = bytes(32)
    elif case == "other chain":
        signature = OWNER.sign_hash(register_digest(1, world.registry.address, owner, digest, terms))
    elif case == "stranger":
        signature = STRANGER.sign_hash(typed(world, OWNER.address))
    else:
        owner, signature = bytes(20), bytes(65)
    world.refused("bad signature", RELAYER, world.registry, "register_by_sig", owner, digest, terms, signature)


def test_the_registry_names_its_signing_domain(world: World) -> None:
    assert world.registry.read("eip712Domain") == (
        b"\x0f", "Allod Registry", "1", world.chain.chain_id, world.registry.address, bytes(32), ()
    )  # fmt: skip


def test_the_registry_stores_nothing(world: World) -> None:
    world.send(OWNER, world.registry, "register", DIGEST, TERMS)
    where = "0x" + world.registry.address.hex()
    words = [world.chain.request("eth_getStorageAt", where, hex(slot), "latest") for slot in range(4)]
    assert words == ["0x" + bytes(32).hex()] * 4
    with pytest.raises(Refused):
        world.chain.send(OWNER, world.registry.address, b"", value=1, gas=100_000)
