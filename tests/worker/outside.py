"""What survives a worker: the chain, over JSON-RPC, and three keepers behind a Unix socket, in the test's process.

`Outside` is of one attempt: a chain of its own in memory, and the keepers of the home's copy.
"""

from __future__ import annotations

import shutil
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from allod.world import World
from consent.chain.client import Chain
from consent.chain.deployment import Deployment
from consent.chain.embedded import EmbeddedChain
from consent.chain.rpc import serving
from consent.keeper.node import Keeper
from consent.market.lanes import courses, remaining
from consent.market.paying import balance
from consent.market.place import Market
from core.ids import Address
from core.settings import Settings


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """One call of one keeper."""
        head = self.rfile.read(6)
        if len(head) < 6:
            return
        index, length, size = struct.unpack(">BBI", head)
        name, body = self.rfile.read(length), self.rfile.read(size)
        if len(body) == size:
            reply = self.server.answer(index, name.decode(), body)
            if reply is not None:
                self.wfile.write(reply)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, path: Path, outside: Outside) -> None:
        self.answer = outside.answer
        super().__init__(str(path), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A worker that died while it was answered."""


class Outside:
    """Chain and keepers of one home; close it, or use it in a `with` block."""

    def __init__(self, home: Path, chain: EmbeddedChain, folder: Path) -> None:
        self.home = home
        self._closing = ExitStack()
        self._closing.callback(chain.close)
        self.chain = Chain.embedded(chain)
        self._embedded = chain
        self._served = ExitStack()
        self._closing.callback(self._served.close)
        self.rpc = self._served.enter_context(serving(chain))
        deployment = Deployment.load(home / "chain" / "deployment.json")
        self.market = Market(self.chain, deployment)
        self._keepers = {index: Keeper(home / "keepers" / str(index), self.chain, deployment) for index in (1, 2, 3)}
        for keeper in self._keepers.values():
            self._closing.callback(keeper.close)
        self.silent: set[int] = set()
        """Keepers that hang up instead of answering."""
        self.keepers = str(folder / "keepers")
        self._server = _Server(Path(self.keepers), self)
        self._closing.callback(self._server.server_close)
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self._closing.callback(thread.join)
        self._closing.callback(self._server.shutdown)

    @contextmanager
    def chain_away(self) -> Iterator[None]:
        """Nobody answers at the chain's endpoint while the block runs; the keepers still see the chain."""
        self._served.close()
        try:
            yield
        finally:
            self._served.enter_context(serving(self._embedded, port=int(self.rpc.rpartition(":")[2])))

    def answer(self, index: int, path: str, body: bytes) -> bytes | None:
        """A keeper's reply, None while it is silent."""
        return None if index in self.silent else self._keepers[index].handle(path, body)

    def world(self) -> World:
        """The home over the same chain, for looking at it; its keepers stay with this."""
        return World(Settings(home=self.home), chain=self.chain)

    def free(self, payer: Address) -> int:
        """What the payer has in the escrow that no job holds, in UNITs."""
        return balance(self.market, payer).deposited

    def locked(self, payer: Address) -> int:
        """What the payer's jobs hold."""
        return sum(remaining(self.market, course) for course in courses(self.market, payer))

    def in_escrow(self) -> int:
        """All that the escrow has, in UNITs."""
        held = self.market.currency.read("balanceOf", self.market.escrow.address)
        return int(held) // self.market.deployment.unit

    def close(self) -> None:
        """End the servers and close everything."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Prepared:
    """A home with a chain in memory, left alone and copied for each attempt."""

    def __init__(self, home: Path, chain: EmbeddedChain) -> None:
        self.home = home
        self.chain = chain

    def copy(self, folder: Path) -> Outside:
        """A copy of home and chain below `folder`, with servers of its own."""
        folder.mkdir(parents=True)
        shutil.copytree(self.home, folder / "home")
        return Outside(folder / "home", self.chain.duplicate(), folder)
