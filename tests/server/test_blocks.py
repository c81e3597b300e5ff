"""Blocks and vaults over HTTP: what the answers look like, and what they cost the server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from allod.client import MEDIA_TYPE
from allod.depot import PART
from allod.server import blocks as routes
from allod.server.problems import TooLarge, TooOften, TooSlow
from allod.vaults import prove
from allod.world import World
from core.encoding import to_hex
from core.errors import Corrupted
from core.ids import Address, VaultId
from tests.server.calls.vaults import part, send
from tests.server.people import Person
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, DAG_PB, RAW, Cid
from vault.rootkey import RootKey
from vault.vault import Vault

CAR = {"Content-Type": MEDIA_TYPE}


class Own:
    """A vault in memory."""

    def __init__(self, root: RootKey | None = None) -> None:
        self.blocks = MemoryBlocks()
        self.root = root or RootKey.generate()
        self.vault = Vault(self.root, VaultId(b"v" * 32), self.blocks)

    @property
    def head(self) -> str:
        return str(self.vault.head_cid)

    def commit(self, who: Person, previous: str | None = None, **more: Any) -> Any:
        return who.http.put("/v1/vaults/mine", json={"head": self.head, "previous": previous, **more})


@pytest.fixture
def own() -> Own:
    own = Own()
    own.vault.add_bytes("notes.txt", os.urandom(1 << 20))
    return own


def test_a_vault_goes_up_is_committed_and_read_back(ada: Person, anonymous: TestClient, own: Own) -> None:
    cids = [str(cid) for cid in own.blocks.cids()]
    assert ada.http.post("/v1/blocks/missing", json={"cids": cids}).json() == {"missing": cids}
    told = send(ada, own.blocks).json()
    assert (told["stored"], told["known"]) == (len(cids), 0)
    assert ada.http.post("/v1/blocks/missing", json={"cids": cids}).json() == {"missing": []}
    proof = prove(own.vault.signing_key, ada.account.address, own.vault.vault_id)
    done = own.commit(ada, proof=to_hex(proof))
    assert done.status_code == 200, done.text
    assert done.json()["head"] == own.head
    assert done.json()["blocks"] == len(cids)
    assert ada.http.get("/v1/vaults/mine").json() == done.json()
    for cid in own.blocks.cids():
        assert anonymous.get(f"/v1/blocks/{cid}").content == own.blocks.get(cid)
    entry = ada.http.get("/v1/activity").json()["data"][0]
    assert entry["kind"] == "vault.committed"
    assert entry["data"]["head"] == own.head


def test_a_commit_that_is_outrun_or_incomplete_says_what_to_do_next(ada: Person, own: Own) -> None:
    refused = own.commit(ada)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:allod:problem:incomplete")
    assert refused.json()["missing"] == [own.head]
    send(ada, own.blocks)
    assert own.commit(ada).status_code == 200
    assert own.commit(ada, own.head).status_code == 200  # once more
    first = own.head
    own.vault.add_bytes("more.txt", b"more")
    send(ada, own.blocks)
    refused = own.commit(ada)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:allod:problem:conflict")
    assert refused.json()["head"] == first
    assert own.commit(ada, first).status_code == 200


def test_another_accounts_vault_is_403_and_ones_own_before_the_first_commit_404(
    ada: Person, tom: Person, own: Own
) -> None:
    send(ada, own.blocks)
    own.commit(ada)
    assert own.commit(tom).status_code == 403
    assert tom.http.get("/v1/vaults/mine").status_code == 404


@pytest.mark.parametrize(("codec", "kind"), [(RAW, "raw"), (DAG_PB, "dag-pb"), (DAG_CBOR, "dag-cbor")])
def test_a_block_is_served_for_ever_under_its_type(world: World, anonymous: TestClient, codec: int, kind: str) -> None:
    cid = world.blocks.add(codec, b"\x80")
    world.blocks.flush()
    found = anonymous.get(f"/v1/blocks/{cid}")
    assert found.content == b"\x80"
    assert found.headers["content-type"] == f"application/vnd.ipld.{kind}"
    assert "immutable" in found.headers["cache-control"]
    assert found.headers["x-content-type-options"] == "nosniff"
    head = anonymous.head(f"/v1/blocks/{cid}")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "1")
    tag = found.headers["etag"]
    for asked in (tag, f'"other", W/{tag}', "*"):
        again = anonymous.get(f"/v1/blocks/{cid}", headers={"If-None-Match": asked})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert anonymous.get(f"/v1/blocks/{cid}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_block_that_is_not_here_is_404_and_is_not_kept_by_caches(anonymous: TestClient) -> None:
    absent = Cid.of(RAW, b"nowhere")
    found = anonymous.get(f"/v1/blocks/{absent}", headers={"If-None-Match": "*"})
    assert found.status_code == 404
    assert "immutable" not in found.headers.get("cache-control", "")
    assert anonymous.head(f"/v1/blocks/{absent}").status_code == 404
    for wrong in ("bafy", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", str(absent)[:-1] + "b", "b" * 59):
        assert anonymous.get(f"/v1/blocks/{wrong}").status_code == 422


def test_a_bad_part_is_refused_with_a_problem_that_names_the_block(ada: Person, own: Own) -> None:
    good = part(own.blocks)
    bad = good[:-1] + bytes([good[-1] ^ 1])
    refused = ada.http.post("/v1/blocks", content=bad, headers=CAR)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:allod:problem:corrupted")
    assert str(list(own.blocks.cids())[-1]) in refused.json()["detail"]
    assert ada.http.post("/v1/blocks", content=good[:-1], headers=CAR).status_code == 422
    assert ada.http.post("/v1/blocks", content=b"", headers=CAR).status_code == 422
    assert ada.http.post("/v1/blocks", content=good, headers={"Content-Type": "application/json"}).status_code == 415
    cids = [str(cid) for cid in own.blocks.cids()]
    assert ada.http.post("/v1/blocks/missing", json={"cids": cids}).json() == {"missing": cids}


def test_a_part_of_exactly_the_limit_is_taken_and_one_byte_more_is_413(ada: Person) -> None:
    blocks = MemoryBlocks()
    for _ in range(15):
        blocks.add(RAW, os.urandom(1 << 20))
    rest = PART - len(part(blocks))
    framing = len(part(_one(blocks, os.urandom(rest)))) - PART
    full = _one(blocks, os.urandom(rest - framing))
    assert len(part(full)) == PART
    assert send(ada, full).status_code == 200
    more = _one(blocks, os.urandom(rest - framing + 1))
    refused = send(ada, more)
    assert (refused.status_code, refused.json()["type"]) == (413, "urn:allod:problem:too-large")
    assert send(ada, _one(full, os.urandom(1 << 20))).status_code == 413  # beyond the server's own bound of a body


def _one(blocks: MemoryBlocks, data: bytes) -> MemoryBlocks:
    more = MemoryBlocks()
    for cid in blocks.cids():
        more.put(cid, blocks.get(cid))
    more.add(RAW, data)
    return more


def test_a_question_names_at_most_a_thousand_blocks(ada: Person) -> None:
    cids = [str(Cid.of(RAW, number.to_bytes(4, "big"))) for number in range(1001)]
    assert ada.http.post("/v1/blocks/missing", json={"cids": cids}).status_code == 422
    assert len(ada.http.post("/v1/blocks/missing", json={"cids": cids[:1000]}).json()["missing"]) == 1000
    assert ada.http.post("/v1/blocks/missing", json={"cids": []}).json() == {"missing": []}


def test_a_part_of_nobody_is_not_even_read(anonymous: TestClient) -> None:
    assert anonymous.post("/v1/blocks", content=b"x" * PART, headers=CAR).status_code == 401


def test_room_that_is_used_up_is_507_with_the_next_step(world: World, ada: Person, own: Own) -> None:
    world.depot._limit = 1000
    refused = send(ada, own.blocks)
    assert (refused.status_code, refused.json()["type"]) == (507, "urn:allod:problem:no-room")
    assert refused.json()["limit"] == 1000
    assert refused.json()["hint"]


# What arrives takes memory; how much of it is bounded.


def request_of(chunks: list[bytes], client: str = "") -> Request:
    rest = iter([*({"type": "http.request", "body": one, "more_body": True} for one in chunks)])

    async def receive() -> dict[str, Any]:
        return next(rest, {"type": "http.request", "body": b"", "more_body": False})

    return Request({"type": "http", "method": "POST", "headers": [], "client": (client, 1)}, receive)


def test_a_sender_that_goes_away_is_no_failure_of_the_server() -> None:
    sent: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return sent.pop(0)

    async def story() -> None:
        intake = routes.Intake()
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        with pytest.raises(Corrupted, match="went away"):
            await anext(intake.receive(request, Address(b"a" * 20)))
        assert (dict(intake._bytes), dict(intake._of)) == ({}, {})

    asyncio.run(story())


def test_parts_of_one_account_and_the_memory_of_all_are_bounded_and_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routes, "_MEMORY", 100)
    monkeypatch.setattr(routes, "_SHARE", 100)

    async def story() -> None:
        intake = routes.Intake()
        ada, bob = Address(b"a" * 20), Address(b"b" * 20)

        def begin(account: Address, size: int) -> AsyncIterator[bytes]:
            return intake.receive(request_of([bytes(size)]), account)

        held = [begin(ada, 10) for _ in range(4)]
        for one in held:
            assert len(await anext(one)) == 10
        with pytest.raises(TooOften):
            await anext(begin(ada, 10))
        other = begin(bob, 60)
        assert len(await anext(other)) == 60
        with pytest.raises(TooOften):
            await anext(begin(bob, 1))
        for one in (*held, other):
            with pytest.raises(StopAsyncIteration):
                await anext(one)
        for size in (100, 100):
            with_room = begin(ada, size)
            assert len(await anext(with_room)) == size
            with pytest.raises(StopAsyncIteration):
                await anext(with_room)
        with pytest.raises(TooOften):
            await anext(begin(ada, 101))
        monkeypatch.setattr(routes, "_MEMORY", 1 << 30)
        with pytest.raises(TooLarge):
            await anext(begin(ada, PART + 1))
        assert (dict(intake._bytes), dict(intake._of)) == ({}, {})

    asyncio.run(story())


def test_one_client_takes_half_of_the_memory_however_many_accounts_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_MEMORY", 100)
    monkeypatch.setattr(routes, "_SHARE", 50)

    async def story() -> None:
        intake = routes.Intake()

        def begin(client: str, account: int, size: int) -> AsyncIterator[bytes]:
            return intake.receive(request_of([bytes(size)], client), Address(bytes([account]) * 20))

        held = [begin("198.51.100.1", 1, 30), begin("198.51.100.1", 2, 20), begin("198.51.100.2", 3, 50)]
        for account in (1, 2):
            assert len(await anext(held[account - 1])) in (30, 20)
        with pytest.raises(TooOften):
            await anext(begin("198.51.100.1", 4, 1))
        assert len(await anext(held[2])) == 50
        for one in held:
            with pytest.raises(StopAsyncIteration):
                await anext(one)
        assert not intake._bytes

    asyncio.run(story())


def test_a_sender_who_falls_silent_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_PIECE", 0.05)
    sent: list[dict[str, Any]] = [{"type": "http.request", "body": b"x", "more_body": True}]

    async def receive() -> dict[str, Any]:
        if sent:
            return sent.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def story() -> None:
        intake = routes.Intake()
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        with pytest.raises(TooSlow):
            await anext(intake.receive(request, Address(b"a" * 20)))
        assert (dict(intake._bytes), dict(intake._of)) == ({}, {})

    asyncio.run(story())
