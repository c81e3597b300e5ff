"""The words that the contracts write are those of the vectors, and the page about them misses none of their names."""

from __future__ import annotations

import json
import re
from pathlib import Path

from consent.contracts import load
from consent.grant import Consent, nonce_of
from consent.order import Order
from consent.typed import keccak
from core.encoding import from_hex, to_hex
from core.ids import Address, Asset
from tests.contracts.gas_table import NOON, fixed_world
from tests.contracts.world import KEEPER_ADDRESSES, OWNER, QUORUM, RUNNER, TRAINER, World, tree_of

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "contracts.json"
TREE = tree_of(700, 200, 100)


def observe(world: World) -> dict[str, object]:
    """One consent and one job on a fresh chain: what the contracts make of them."""
    digest = bytes([1]) * 32
    (registered,) = world.events(world.send(OWNER, world.registry, "register", digest, digest), "Registered")
    consent = Consent(
        OWNER.address, TRAINER.address, Asset(registered["asset"]), bytes([2]) * 32, bytes([3]) * 32, RUNNER.address,
        world.escrow.address, int(NOON), int(NOON) + 86_400 * 30, 3, nonce_of(0, 5, 7),
    )  # fmt: skip
    world.send(OWNER, world.token, "grant", consent.as_tuple())
    consent_id = world.token.read("id_of", consent.as_tuple(), TRAINER.address)
    world.fund(TRAINER, 1_000)
    job = world.open(TREE.root, lane=9, counted=[consent])
    opened_word = world.lane(job)
    opened = job.times >> 40
    world.chain.advance(60)
    confirmed = world.confirm(job)
    world.claims(world.claim(confirmed, TREE, 1))
    return {
        "chain": world.chain.chain_id,
        "registry": to_hex(world.registry.address),
        "token": to_hex(world.token.address),
        "escrow": to_hex(world.escrow.address),
        "asset": to_hex(registered["asset"]),
        "consent": to_hex(consent.encode()),
        "digest": to_hex(world.token.read("digest_of", consent.as_tuple())),
        "id": to_hex(consent_id),
        "token_word": to_hex(world.token.read("token", consent_id).to_bytes(32, "big")),
        "pair": to_hex(consent_id + consent.owner + consent.nonce.to_bytes(12, "big")),
        "lane": 9,
        "opened": opened,
        "start": job.start,
        "confirmed_start": confirmed.start,
        "root": to_hex(TREE.root.to_bytes(32, "big")),
        "order": to_hex(job.order),
        "job": to_hex(world.job_id(job)),
        "lane_word_open": to_hex(opened_word.to_bytes(32, "big")),
        "lane_word_claimed": to_hex(world.lane(job).to_bytes(32, "big")),
        "paid_position": TREE.position(1),
        "paid_word": to_hex(world.escrow.read("paid", TRAINER.address, 9, 0).to_bytes(32, "big")),
    }


def test_the_contracts_write_the_words_of_the_vectors() -> None:
    with fixed_world() as world:
        assert observe(world) == json.loads(VECTORS.read_text())


def test_the_vectors_follow_from_the_formulas_alone() -> None:
    v = json.loads(VECTORS.read_text())
    word = {name: int(value, 16) for name, value in v.items() if isinstance(value, str)}
    consent = Consent.decode(from_hex(v["consent"]))
    token, escrow = Address(from_hex(v["token"])), Address(from_hex(v["escrow"]))
    assert to_hex(keccak(consent.owner + bytes([1]) * 32)) == v["asset"]
    assert to_hex(consent.digest(v["chain"], token)) == v["digest"]
    assert to_hex(consent.id(v["chain"], token, TRAINER.address)) == v["id"]
    holder = int.from_bytes(TRAINER.address, "big")
    assert word["token_word"] == holder << 96 | consent.not_before << 56 | consent.expiry << 16 | 1
    order = Order(
        v["chain"], escrow, TRAINER.address, v["lane"], v["opened"], v["start"], RUNNER.address, bytes([1]) * 32,
        bytes(1216), 0, QUORUM, tuple(KEEPER_ADDRESSES), word["root"],
        (consent.id(v["chain"], token, TRAINER.address),),
    )  # fmt: skip
    assert to_hex(order.order_hash) == v["order"]
    assert to_hex(order.job_id) == v["job"]
    assert word["lane_word_open"] == order.open_word
    assert word["lane_word_claimed"] == order.lane_word(TREE.total - 200, start=v["confirmed_start"])
    assert word["paid_word"] == v["opened"] << 216 | 1 << v["paid_position"]


def test_the_page_about_the_contracts_names_every_function_event_and_refusal() -> None:
    page = " ".join((ROOT / "docs" / "format" / "50-contracts.md").read_text().split())
    standard = {"eip712Domain", "DOMAIN_SEPARATOR"}
    for name in ("DataRegistry", "ConsentToken", "JobEscrow"):
        for entry in load(name).abi:
            if entry["type"] in ("function", "event") and entry["name"] not in standard:
                assert re.search(rf"\b{entry['name']}\b", page), f"{name}.{entry['name']} is not on the page"
    words = set()
    for source in ("ConsentToken", "JobEscrow", "DataRegistry"):
        text = (ROOT / "consent" / "contracts" / f"{source}.vy").read_text()
        words |= set(re.findall(r'(?:assert .*|, |raise |= )"([a-z][a-z\' ]+)"', text))
    words -= {"too many decimals", "wrong unit", "no consent token there"}
    assert len(words) > 30
    missing = {word for word in words if word not in page}
    assert not missing
