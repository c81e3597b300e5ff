"""A home for a vault's blocks beside the vector page: Python's own store, archives and rules behind HTTP."""

from __future__ import annotations

import io
import json
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.errors import NotFound
from tests.web.serving import VECTORS, PageHandler, served
from vault.blocks import BlockStore, MemoryBlocks
from vault.car import Car
from vault.cid import Cid
from vault.heads import read_contents
from vault.manifest import ObjectManifest, VaultHead
from vault.unixfs import leaves

HEAD_START = b"\xa9\x61v\x01\x63sig\x58\x40"
ACCOUNT = b"\x01" * 20


@dataclass
class Home:
    """What the page's transport speaks to. `fault` may end or hold a request: it is told method, path and body."""

    blocks: BlockStore = field(default_factory=MemoryBlocks)
    head: Cid | None = None
    waiting: dict[Cid, bytes] = field(default_factory=dict)
    sends: list[list[Cid]] = field(default_factory=list)
    largest: int = 0
    fault: Callable[[str, str, bytes], int | None] = lambda _method, _path, _body: None
    damaged: set[Cid] = field(default_factory=set)  # said to be here, and missed at the next commit
    lose_answer: bool = False  # of the next commit: it counts, but whoever asked does not learn it
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def receive(self, body: bytes) -> None:
        """Keep an archive's blocks, each checked."""
        self.largest = max(self.largest, len(body))
        found = list(Car.read(io.BytesIO(body)).blocks)
        with self.lock:
            self.sends.append([cid for cid, _ in found])
            self.damaged -= set(self.sends[-1])
            # As on the server: a head that is not committed is not to be found among the blocks.
            self.waiting |= {cid: data for cid, data in found if data.startswith(HEAD_START)}
        self.blocks.put_many((cid, data) for cid, data in found if cid not in self.waiting)

    def commit(self, text: str, previous: str | None, proof: str) -> tuple[int, Any]:
        """Make a head the newest if it follows the newest and all below it is here; forget the one it replaces."""
        with self.lock:
            if previous != (None if self.head is None else str(self.head)):
                return 409, None if self.head is None else str(self.head)
            cid = Cid.parse(text)
            if self.damaged:
                return 422, [str(item) for item in self.damaged]
            try:
                head = VaultHead.decode(self.waiting[cid])
                signer = Ed25519PublicKey.from_public_bytes(head.manifest_pk)
                signer.verify(bytes.fromhex(proof[2:]), b"allod/vault-account/v1\0" + ACCOUNT + head.vault_id)
                contents = read_contents(self.blocks, head)
                for manifest in (ObjectManifest.decode(self.blocks.get(item)) for item in contents.objects):
                    absent = self.blocks.missing(
                        leaf for leaf, _, _ in leaves(manifest.payload, self.blocks, manifest.size)
                    )
                    if absent:
                        return 422, [str(item) for item in absent]
            except NotFound as error:
                return 422, [error.detail["cid"]]
            if self.head is not None:
                before = VaultHead.decode(self.blocks.get(self.head))
                assert head.sequence == before.sequence + 1
                kept = {*head.objects, *head.records}
                for old in (*before.objects, *before.records, self.head):
                    if old not in kept:
                        self.blocks.delete(old)
            self.blocks.put(cid, self.waiting[cid])
            self.head = cid
            return 200, text


@contextmanager
def at_home() -> Iterator[Home]:
    """A home, and the vector page beside it at `home.url`."""
    home = Home()

    class Handler(PageHandler):
        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle_any(self) -> None:
            path = self.path.removeprefix("/home/")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = home.fault(self.command, path, body)
            if status is not None:
                self.answer(status, b"null")
            elif path.startswith("blocks/"):
                try:
                    self.answer(200, home.blocks.get(Cid.parse(path.removeprefix("blocks/"))))
                except NotFound:
                    self.answer(404, b"")
            elif path == "blocks":
                home.receive(body)
                self.answer(200, b"")
            elif path == "missing":
                absent = home.blocks.missing(Cid.parse(text) for text in json.loads(body))
                self.answer(200, json.dumps([str(cid) for cid in absent]).encode())
            elif path == "head" and self.command == "GET":
                self.answer(200, json.dumps(None if home.head is None else str(home.head)).encode())
            else:
                status, found = home.commit(*json.loads(body))
                lost, home.lose_answer = home.lose_answer, False
                self.answer(503 if lost else status, json.dumps(found).encode())

        def do_GET(self) -> None:
            if self.path.startswith("/home/"):
                self.handle_any()
            else:
                super().do_GET()

        do_POST = do_PUT = handle_any

    with served(VECTORS, Handler) as url:
        home.url = url
        yield home


def content(size: int, seed: int) -> bytes:
    """The bytes that the page makes of a size and a seed."""
    words = array("I", range(seed << 24, (seed << 24) + -(-size // 4)))
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()[:size]
