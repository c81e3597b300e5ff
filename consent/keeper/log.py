"""The keeper's log: an append-only chain of what it decided, each entry naming the hash of the one before.

An entry is deterministic dag-cbor (docs/format/62-keepers.md); its hash is sha256 of those bytes. Receipts carry the
hash of the entry before their own, so a keeper that rewrites its log contradicts a signature of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from consent.fields import UINT40_MAX, UINT64_MAX, constant, exact_map, integer, octets
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput, VerificationFailed

START = bytes(32)
"""What the first entry names as the one before it."""

_HEAD = {"v", "kind", "seq", "previous", "time"}
_HASH = 32
_FACTS: dict[str, dict[str, int]] = {  # width in bytes, 0 for an unsigned 64-bit integer
    "release": {"job": _HASH, "consent": _HASH, "objects": 0, "safe": _HASH, "latest": _HASH, "root": _HASH},
    "revocation": {"owner": 20, "message": _HASH},
    "closed": {"job": _HASH},
    "ledger": {"job": _HASH, "consent": _HASH, "record_epochs": 0},
    "settlement": {"job": _HASH, "root": _HASH, "statement": _HASH},
}


@dataclass(frozen=True)
class Entry:
    """One decision. `time` is the keeper's clock in Unix seconds; `facts` are the fields of its kind."""

    kind: str
    seq: int
    previous: bytes
    time: int
    facts: Mapping[str, Any]

    def encode(self) -> bytes:
        """Its dag-cbor bytes."""
        head = {"v": 1, "kind": self.kind, "seq": self.seq, "previous": self.previous, "time": self.time}
        return encode_cbor({**head, **self.facts})

    @property
    def hash(self) -> bytes:
        """What the next entry names."""
        return hashlib.sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        value = decode_cbor(data, limit=4096)
        kind = value.get("kind") if isinstance(value, dict) else None
        widths = _FACTS.get(kind) if isinstance(kind, str) else None
        if widths is None:
            raise InvalidInput("The log entry is of no known kind.")
        fields = exact_map(value, _HEAD | set(widths), "The log entry")
        constant(fields["v"], 1, "The log entry's version")
        facts = {
            name: octets(fields[name], f"The log entry's {name}", width)
            if width
            else integer(fields[name], f"The log entry's {name}", at_most=UINT64_MAX)
            for name, width in widths.items()
        }
        return cls(
            kind=fields["kind"],
            seq=integer(fields["seq"], "The log entry's number", at_most=UINT64_MAX),
            previous=octets(fields["previous"], "The log entry's predecessor", 32),
            time=integer(fields["time"], "The log entry's time", at_most=UINT40_MAX),
            facts=facts,
        )


def audit(entries: Iterable[bytes], *, head: bytes | None = None, seq: int = 0, previous: bytes = START) -> list[Entry]:
    """Check that encoded entries chain, from the entry after `previous` (number `seq`) on, and end at `head` if given.

    The first break is `VerificationFailed` that names the entry's number. Returns the entries.
    """
    checked: list[Entry] = []
    for data in entries:
        try:
            entry = Entry.decode(data)
        except InvalidInput as error:
            raise VerificationFailed(f"Entry {seq} of the keeper's log cannot be read: {error.message}") from None
        if entry.seq != seq:
            raise VerificationFailed(f"The keeper's log skips from entry {seq} to entry {entry.seq}.")
        if entry.previous != previous:
            raise VerificationFailed(f"Entry {seq} of the keeper's log does not follow from the one before it.")
        checked.append(entry)
        seq, previous = seq + 1, hashlib.sha256(data).digest()
    if head is not None and previous != head:
        raise VerificationFailed(f"The keeper's log of {seq} entries does not end at the hash that was promised.")
    return checked
