"""A consent: what an owner signs so that one trainer's jobs may read one dataset, and the token id it becomes.

Promises: a `Consent` that exists is well-formed (DESIGN §4.5); its encoding is one deterministic dag-cbor map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from consent.fields import UINT16_MAX, UINT40_MAX, UINT96_MAX, constant, exact_map, integer, octets
from consent.typed import consent_digest, keccak
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput
from core.ids import NOBODY, Address, Asset, ConsentId

_KEYS = (
    "v", "kind", "owner", "grantee", "asset", "terms", "purpose", "runner", "escrow", "not_before", "expiry",
    "max_uses", "nonce",
)  # fmt: skip


def nonce_of(epoch: int, word: int, bit: int) -> int:
    """The nonce epoch32 ‖ word56 ‖ bit8."""
    integer(epoch, "The nonce's epoch", at_most=2**32 - 1)
    integer(word, "The nonce's word", at_most=2**56 - 1)
    integer(bit, "The nonce's bit", at_most=255)
    return epoch << 64 | word << 8 | bit


@dataclass(frozen=True)
class Consent:
    """One consent. Times are Unix seconds; `grantee` 20 zero bytes makes it an offer; `runner` zero means any.

    `max_uses` 0 means unlimited until `expiry`. `terms` is sha256 of the terms document, `purpose` the hash of an
    entry of `consent.purposes`.
    """

    owner: Address
    grantee: Address
    asset: Asset
    terms: bytes
    purpose: bytes
    runner: Address
    escrow: Address
    not_before: int
    expiry: int
    max_uses: int
    nonce: int

    def __post_init__(self) -> None:
        for name in ("owner", "grantee", "runner", "escrow"):
            octets(getattr(self, name), f"The consent's {name}", 20)
        for name in ("asset", "terms", "purpose"):
            octets(getattr(self, name), f"The consent's {name}", 32)
        integer(self.not_before, "The consent's not_before", at_most=UINT40_MAX)
        integer(self.expiry, "The consent's expiry", at_least=1, at_most=UINT40_MAX)
        integer(self.max_uses, "The consent's max_uses", at_most=UINT16_MAX)
        integer(self.nonce, "The consent's nonce", at_most=UINT96_MAX)
        if self.owner == NOBODY:
            raise InvalidInput("A consent needs an owner.")
        if self.escrow == NOBODY:
            raise InvalidInput("A consent names the escrow that pays for it.")
        if self.expiry <= self.not_before:
            raise InvalidInput("A consent must expire after it begins.", hint="Choose a later expiry.")

    @property
    def is_offer(self) -> bool:
        """Whether any trainer may take it."""
        return self.grantee == NOBODY

    @property
    def epoch(self) -> int:
        """The owner's epoch in which it can hold."""
        return self.nonce >> 64

    @property
    def word(self) -> int:
        """The 56-bit number of its word among the owner's revocation bits of this epoch."""
        return (self.nonce >> 8) & (2**56 - 1)

    @property
    def bit(self) -> int:
        """Its bit within that word, 0 to 255."""
        return self.nonce & 255

    def as_tuple(self) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, int, int, int, int]:
        """The members in the order of the contract's struct."""
        return (
            self.owner, self.grantee, self.asset, self.terms, self.purpose, self.runner, self.escrow,
            self.not_before, self.expiry, self.max_uses, self.nonce,
        )  # fmt: skip

    def digest(self, chain_id: int, token: Address) -> bytes:
        """The EIP-712 digest that the owner signs, for the ConsentToken at `token`."""
        return consent_digest(
            chain_id,
            token,
            owner=self.owner,
            grantee=self.grantee,
            asset=self.asset,
            terms=self.terms,
            purpose=self.purpose,
            runner=self.runner,
            escrow=self.escrow,
            not_before=self.not_before,
            expiry=self.expiry,
            max_uses=self.max_uses,
            nonce=self.nonce,
        )

    def holder(self, taker: Address | None = None) -> Address:
        """Who holds its token: the grantee, or for an offer the trainer who takes it.

        A named consent with another taker, or an offer without one, is `InvalidInput`.
        """
        if not self.is_offer:
            if taker is not None and taker != self.grantee:
                raise InvalidInput("This consent names another trainer.")
            return self.grantee
        if taker is None or taker == NOBODY:
            raise InvalidInput("An offer has a holder only once somebody takes it.")
        return Address(octets(taker, "The holder", 20))

    def id(self, chain_id: int, token: Address, holder: Address) -> ConsentId:
        """The token's id: keccak256(digest ‖ holder)."""
        return ConsentId(keccak(self.digest(chain_id, token) + self.holder(holder)))

    def with_nonce(self, nonce: int) -> Consent:
        """The same consent under another nonce."""
        return replace(self, nonce=nonce)

    def encode(self) -> bytes:
        """Its dag-cbor form (docs/format/60-consent.md)."""
        return encode_cbor(
            {
                "v": 1,
                "kind": "consent",
                "owner": self.owner,
                "grantee": self.grantee,
                "asset": self.asset,
                "terms": self.terms,
                "purpose": self.purpose,
                "runner": self.runner,
                "escrow": self.escrow,
                "not_before": self.not_before,
                "expiry": self.expiry,
                "max_uses": self.max_uses,
                "nonce": self.nonce.to_bytes(12, "big"),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        fields = exact_map(decode_cbor(data, limit=1024), _KEYS, "The consent")
        constant(fields["v"], 1, "The consent's version")
        constant(fields["kind"], "consent", "The consent's kind")
        nonce = int.from_bytes(octets(fields["nonce"], "The consent's nonce", 12), "big")
        members = {key: fields[key] for key in _KEYS if key not in ("v", "kind", "nonce")}
        return cls(nonce=nonce, **members)
