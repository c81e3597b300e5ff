"""How blocks and vaults are called: the owner has one, and nobody else may commit its head."""

from __future__ import annotations

import io

from httpx2 import Response

from allod.client import MEDIA_TYPE
from core.ids import VaultId
from tests.server.people import Person
from tests.server.stage import Stage, call
from vault.blocks import MemoryBlocks
from vault.car import write_car
from vault.cid import RAW, Cid
from vault.rootkey import RootKey
from vault.vault import Vault


def part(blocks: MemoryBlocks) -> bytes:
    """All of these blocks as one CAR."""
    sink = io.BytesIO()
    write_car(sink, (), [(cid, blocks.get(cid)) for cid in blocks.cids()])
    return sink.getvalue()


def send(who: Person, blocks: MemoryBlocks) -> Response:
    """Send them as one part."""
    return who.http.post("/v1/blocks", content=part(blocks), headers={"Content-Type": MEDIA_TYPE})


def owners_head(stage: Stage) -> str:
    """The head of the owner's vault, committed."""

    def make(stage: Stage) -> str:
        blocks = MemoryBlocks()
        vault = Vault(RootKey.generate(), VaultId(b"v" * 32), blocks)
        vault.add_bytes("notes.txt", b"The ferry leaves at six.\n")
        head = str(vault.head_cid)
        assert send(stage.owner, blocks).status_code == 200
        done = stage.owner.http.put("/v1/vaults/mine", json={"head": head, "previous": None})
        assert done.status_code == 200, done.text
        return head

    found: str = stage.once("head", make)
    return found


@call("POST /v1/blocks/missing")
def ask(stage: Stage, who: Person) -> Response:
    return who.http.post("/v1/blocks/missing", json={"cids": [str(Cid.of(RAW, b"nowhere"))]})


@call("POST /v1/blocks")
def store(stage: Stage, who: Person) -> Response:
    blocks = MemoryBlocks()
    blocks.add(RAW, who.name.encode())
    return send(who, blocks)


@call("GET /v1/blocks/{cid}")
def fetch(stage: Stage, who: Person) -> Response:
    return who.http.get(f"/v1/blocks/{owners_head(stage)}")


@call("HEAD /v1/blocks/{cid}")
def probe(stage: Stage, who: Person) -> Response:
    return who.http.head(f"/v1/blocks/{owners_head(stage)}")


@call("GET /v1/vaults/mine")
def read(stage: Stage, who: Person) -> Response:
    owners_head(stage)
    return who.http.get("/v1/vaults/mine")


@call("PUT /v1/vaults/mine")
def commit(stage: Stage, who: Person) -> Response:
    return who.http.put("/v1/vaults/mine", json={"head": owners_head(stage), "previous": None})
