"""A way to a keeper: bytes in, bytes out, in this process or over HTTP alike."""

from __future__ import annotations

from typing import Protocol

from consent.keeper.node import Keeper


class KeeperPort(Protocol):
    """What clients hold of a keeper. A port that cannot reach it raises `Unavailable`."""

    def call(self, path: str, body: bytes) -> bytes:
        """The reply to one request; `path` is one of `consent.keeper.node.PATHS`."""
        ...


class InProcessPort:
    """A keeper in this process, reached through copies of bytes, as over a wire."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def call(self, path: str, body: bytes) -> bytes:
        """The keeper's reply."""
        return bytes(bytearray(self._keeper.handle(str(path), bytes(bytearray(body)))))
