"""The committee document: the n keepers of one epoch, signed by each of them.

Promises: a `Committee` that exists is well-formed, and `verify` says whether every keeper signed it. Who is *accepted*
is the reader's own setting (`hash`, over the addresses); a committee's own answer never decides that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from consent.chain.account import recover
from consent.fields import UINT40_MAX, constant, exact_list, exact_map, hex_octets, integer, octets, text
from consent.typed import address_word, keccak, uint_word
from core.encoding import decode_json, encode_json, to_hex
from core.errors import Corrupted, InvalidInput, NotFound
from core.ids import NOBODY, Address

HPKE_PUBLIC_KEY = 1216  # MLKEM768-X25519
MAX_KEEPERS = 16
_SIGNED_PREFIX = b"allod/committee/v1\0"


def committee_hash(q: int, keepers: Sequence[Address]) -> bytes:
    """keccak256(abi.encode(uint256 q, address[] keepers)): what terms and jobs name."""
    integer(q, "The quorum", at_least=1, at_most=MAX_KEEPERS)
    if not q <= len(keepers) <= MAX_KEEPERS:
        raise InvalidInput("The quorum is larger than the committee, or the committee is too large.")
    head = uint_word(q) + uint_word(64) + uint_word(len(keepers))
    return keccak(head + b"".join(map(address_word, keepers)))


@dataclass(frozen=True)
class Member:
    """One keeper: its index 1…n, its HPKE public key of the epoch, its signing address, where it answers."""

    index: int
    hpke: bytes
    address: Address
    endpoint: str

    def __post_init__(self) -> None:
        integer(self.index, "A keeper's index", at_least=1, at_most=MAX_KEEPERS)
        octets(self.hpke, "A keeper's HPKE key", HPKE_PUBLIC_KEY)
        octets(self.address, "A keeper's address", 20)
        text(self.endpoint, "A keeper's endpoint", at_most=300)
        if self.address == NOBODY:
            raise InvalidInput("A keeper has an address.")

    @property
    def document(self) -> dict[str, Any]:
        """This keeper as JSON values."""
        return {
            "index": self.index,
            "hpke": to_hex(self.hpke),
            "address": to_hex(self.address),
            "endpoint": self.endpoint,
        }


@dataclass(frozen=True)
class Committee:
    """t shares open a key, q signatures settle; `end` is Unix seconds, after which nothing is released."""

    t: int
    q: int
    epoch: int
    end: int
    keepers: tuple[Member, ...]
    signatures: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.keepers)
        if not isinstance(self.keepers, tuple) or not 1 <= n <= MAX_KEEPERS:
            raise InvalidInput(f"A committee has between one and {MAX_KEEPERS} keepers.")
        integer(self.t, "The committee's t", at_least=1, at_most=n)
        # Below n − t + 1, keepers that released a share could be left out of the statement that lowers its leaf.
        integer(self.q, "The committee's q", at_least=n - self.t + 1, at_most=n)
        integer(self.epoch, "The committee's epoch", at_most=UINT40_MAX)
        integer(self.end, "The committee's end", at_least=1, at_most=UINT40_MAX)
        if [keeper.index for keeper in self.keepers] != list(range(1, n + 1)):
            raise InvalidInput("A committee's keepers are numbered from 1, in order.")
        if len({keeper.address for keeper in self.keepers}) != n or len({keeper.hpke for keeper in self.keepers}) != n:
            raise InvalidInput("Two keepers of a committee share an address or a key.")
        if not isinstance(self.signatures, tuple) or len(self.signatures) not in (0, n):
            raise InvalidInput("A committee is signed by each keeper, or not yet at all.")
        for signature in self.signatures:
            octets(signature, "A keeper's signature", 65)

    @property
    def n(self) -> int:
        """How many keepers there are."""
        return len(self.keepers)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The signing addresses in index order."""
        return tuple(keeper.address for keeper in self.keepers)

    @property
    def hpke_keys(self) -> tuple[bytes, ...]:
        """The HPKE public keys in index order."""
        return tuple(keeper.hpke for keeper in self.keepers)

    @property
    def _body(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": "allod/committee",
            "t": self.t,
            "n": self.n,
            "q": self.q,
            "epoch": self.epoch,
            "end": self.end,
            "keepers": [keeper.document for keeper in self.keepers],
        }

    @cached_property
    def id(self) -> bytes:
        """The committee_id: sha256 of the canonical form without its signatures. Share tables name it."""
        return sha256(encode_json(self._body)).digest()

    @cached_property
    def hash(self) -> bytes:
        """keccak(q, addresses): outlives HPKE epochs; terms and jobs name it."""
        return committee_hash(self.q, self.addresses)

    @property
    def digest(self) -> bytes:
        """What each keeper signs: keccak256("allod/committee/v1" ‖ 0x00 ‖ id)."""
        return keccak(_SIGNED_PREFIX + self.id)

    def signed(self, signatures: Sequence[bytes]) -> Committee:
        """This committee with every keeper's signature, in index order; a wrong one is `Corrupted`."""
        out = replace(self, signatures=tuple(signatures))
        out.verify()
        return out

    def verify(self) -> None:
        """`Corrupted` unless every keeper signed, each with the key of its address."""
        if len(self.signatures) != self.n:
            raise Corrupted("The committee's document is not signed by its keepers.")
        for keeper, signature in zip(self.keepers, self.signatures, strict=True):
            try:
                signer = recover(self.digest, signature)
            except InvalidInput:
                signer = NOBODY
            if signer != keeper.address:
                raise Corrupted(f"Keeper {keeper.index} did not sign this committee's document.")

    def encode(self) -> bytes:
        """The canonical JSON bytes with the signatures."""
        return encode_json({**self._body, "signatures": [to_hex(signature) for signature in self.signatures]})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The document in a file (a final line break is allowed), signed by every keeper; `NotFound` without one."""
        try:
            committee = cls.decode(path.read_bytes().rstrip())
        except FileNotFoundError:
            raise NotFound(
                f"There is no committee's document at {path}.", hint="Ask the keepers for it; ALLOD_COMMITTEE names it."
            ) from None
        committee.verify()
        return committee

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`. Does not verify the signatures."""
        keys = ("v", "type", "t", "n", "q", "epoch", "end", "keepers", "signatures")
        fields = exact_map(decode_json(data, limit=256 << 10), keys, "The committee")
        constant(fields["v"], 1, "The committee's version")
        constant(fields["type"], "allod/committee", "The committee's type")
        keepers = []
        for item in exact_list(fields["keepers"], "The committee's keepers", at_least=1, at_most=MAX_KEEPERS):
            keeper = exact_map(item, ("index", "hpke", "address", "endpoint"), "A keeper")
            keepers.append(
                Member(
                    keeper["index"],
                    hex_octets(keeper["hpke"], "A keeper's HPKE key", HPKE_PUBLIC_KEY),
                    Address(hex_octets(keeper["address"], "A keeper's address", 20)),
                    keeper["endpoint"],
                )
            )
        constant(fields["n"], len(keepers), "The committee's n")
        signatures = exact_list(fields["signatures"], "The committee's signatures", at_most=MAX_KEEPERS)
        return cls(
            t=fields["t"],
            q=fields["q"],
            epoch=fields["epoch"],
            end=fields["end"],
            keepers=tuple(keepers),
            signatures=tuple(hex_octets(item, "A keeper's signature", 65) for item in signatures),
        )
