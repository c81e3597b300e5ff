"""What an account sent or is about to send: every signed transaction, kept before the chain can hear of it.

Promises of every outbox: one key stands for one `Outgoing` of a chain, and so does one nonce of a sender, whoever asks
and from however many threads or processes. Signed bytes are never forgotten, because any of them may be the one that a
block has.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from eth_hash.auto import keccak

from consent.chain.account import Transaction, read_transaction
from core.ids import Address


class Fate(StrEnum):
    """What became of an outgoing transaction, as far as was seen."""

    SENT = "sent"
    MINED = "mined"
    REVERTED = "reverted"
    VOID = "void"  # another transaction has its nonce, and it was given up


ALIVE = (Fate.SENT, Fate.MINED)  # what stands under its key


@dataclass(frozen=True)
class Attempt:
    """One signed transaction and when it was signed, in Unix seconds."""

    raw: bytes
    at: float

    @cached_property
    def tx_hash(self) -> bytes:
        """The transaction's hash."""
        return keccak(self.raw)

    @cached_property
    def transaction(self) -> Transaction:
        """What was signed."""
        return read_transaction(self.raw)


@dataclass(frozen=True)
class Outgoing:
    """One effect on its way: all that was signed for it, oldest first; at most one of them can ever be mined.

    `chain` is the hash of the chain's first block, `since` the newest block when it was first signed. `key` names the
    effect, so that a retry finds it; None is an effect that nobody will ask for again.
    """

    chain: bytes
    sender: Address
    nonce: int
    key: str | None
    since: int
    attempts: tuple[Attempt, ...]
    fate: Fate = Fate.SENT
    number: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether it happened or can still happen under its nonce."""
        return self.fate in ALIVE

    @property
    def newest(self) -> Attempt:
        """What was signed last."""
        return self.attempts[-1]

    @property
    def hashes(self) -> list[bytes]:
        """The hashes of all that was signed."""
        return [attempt.tx_hash for attempt in self.attempts]


class Outbox(Protocol):
    """Where outgoing transactions are kept. Numbers are given by `add`."""

    def add(self, outgoing: Outgoing) -> Outgoing | None:
        """Keep a new one; None if its key or its sender's nonce is taken."""

    def get(self, number: int) -> Outgoing | None:
        """The one of that number as it is now; None if it was removed."""

    def find(self, chain: bytes, key: str) -> Outgoing | None:
        """The one that stands for `key`."""

    def between(self, chain: bytes, sender: Address, first: int, last: int) -> list[Outgoing]:
        """Those of a sender's nonces `first` … `last`, in their order."""

    def last_nonce(self, chain: bytes, sender: Address) -> int | None:
        """The highest nonce that is kept for a sender."""

    def attempt(self, number: int, attempt: Attempt) -> None:
        """Add something signed for the same nonce."""

    def move(self, number: int, nonce: int, to: int, attempt: Attempt) -> bool:
        """Give one that is alive and has `nonce` another, with what was signed for it; False if either is not so."""

    def mark(self, number: int, nonce: int, fate: Fate) -> bool:
        """Note the fate of one that is alive and has `nonce`; False if it is not so. A dead one gives its key back."""

    def remove(self, number: int) -> None:
        """Forget one that no node ever took."""


class MemoryOutbox:
    """An outbox that lasts as long as its process; safe to share between threads."""

    def __init__(self) -> None:
        self._all: dict[int, Outgoing] = {}
        self._last = 0
        self._guard = threading.Lock()

    def add(self, outgoing: Outgoing) -> Outgoing | None:
        """See `Outbox`."""
        with self._guard:
            for other in self._all.values():
                same = other.chain == outgoing.chain
                if same and (other.sender, other.nonce) == (outgoing.sender, outgoing.nonce):
                    return None
                if same and outgoing.key is not None and other.key == outgoing.key:
                    return None
            self._last += 1
            self._all[self._last] = replace(outgoing, number=self._last)
            return self._all[self._last]

    def get(self, number: int) -> Outgoing | None:
        """See `Outbox`."""
        with self._guard:
            return self._all.get(number)

    def find(self, chain: bytes, key: str) -> Outgoing | None:
        """See `Outbox`."""
        with self._guard:
            return next((one for one in self._all.values() if (one.chain, one.key) == (chain, key)), None)

    def between(self, chain: bytes, sender: Address, first: int, last: int) -> list[Outgoing]:
        """See `Outbox`."""
        found = [one for one in self._of(chain, sender) if first <= one.nonce <= last]
        return sorted(found, key=lambda one: one.nonce)

    def last_nonce(self, chain: bytes, sender: Address) -> int | None:
        """See `Outbox`."""
        return max((one.nonce for one in self._of(chain, sender)), default=None)

    def _of(self, chain: bytes, sender: Address) -> list[Outgoing]:
        with self._guard:
            return [one for one in self._all.values() if (one.chain, one.sender) == (chain, sender)]

    def attempt(self, number: int, attempt: Attempt) -> None:
        """See `Outbox`."""
        with self._guard:
            one = self._all[number]
            if attempt.tx_hash not in one.hashes:
                self._all[number] = replace(one, attempts=(*one.attempts, attempt))

    def move(self, number: int, nonce: int, to: int, attempt: Attempt) -> bool:
        """See `Outbox`."""
        with self._guard:
            one = self._all[number]
            ours = [other for other in self._all.values() if (other.chain, other.sender) == (one.chain, one.sender)]
            if one.nonce != nonce or not one.is_alive or any(other.nonce == to for other in ours):
                return False
            self._all[number] = replace(one, nonce=to, fate=Fate.SENT, attempts=(*one.attempts, attempt))
            return True

    def mark(self, number: int, nonce: int, fate: Fate) -> bool:
        """See `Outbox`."""
        with self._guard:
            one = self._all[number]
            if one.nonce != nonce or not one.is_alive:
                return False
            self._all[number] = replace(one, fate=fate, key=one.key if fate in ALIVE else None)
            return True

    def remove(self, number: int) -> None:
        """See `Outbox`."""
        with self._guard:
            del self._all[number]
