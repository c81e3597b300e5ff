"""An owner's signed revocation, the same message that the ConsentToken takes, and what it ends.

`Revoke` ends consents by token id, `RevokeNonces` up to 256 signatures of one word, `RevokeAll` every consent of the
epoch it names and of those before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from consent.fields import UINT256_MAX, exact_list, integer, octets
from consent.keeper.store import Ended
from consent.keeper.wire import kind_of, read, write
from consent.typed import (
    bytes32_word,
    keccak,
    keeper_domain,
    revoke_all_digest,
    revoke_digest,
    revoke_nonces_digest,
    type_hash,
    uint_word,
)
from core.errors import InvalidInput
from core.ids import Address, ConsentId

MAX_IDS = 64
STORED_TYPE = "Stored(bytes32 message,uint40 seen)"


@dataclass(frozen=True)
class Revoke:
    """Ends these tokens, minted or not."""

    owner: Address
    ids: tuple[ConsentId, ...]

    def digest(self, chain_id: int, token: Address) -> bytes:
        """What the owner signs."""
        return revoke_digest(chain_id, token, self.owner, self.ids)

    @property
    def ended(self) -> list[Ended]:
        """What the store looks up."""
        return [Ended("id", consent_id) for consent_id in self.ids]

    @property
    def fields(self) -> dict[str, Any]:
        """Its own fields in a message."""
        return {"ids": list(self.ids)}


@dataclass(frozen=True)
class RevokeNonces:
    """Ends every consent whose nonce has this 56-bit `word` and a bit of `mask`, in every epoch."""

    owner: Address
    word: int
    mask: int

    def digest(self, chain_id: int, token: Address) -> bytes:
        """What the owner signs."""
        return revoke_nonces_digest(chain_id, token, self.owner, self.word, self.mask)

    @property
    def ended(self) -> list[Ended]:
        """What the store looks up."""
        bits = [bit for bit in range(256) if self.mask >> bit & 1]
        return [Ended("nonce", (self.word << 8 | bit).to_bytes(8, "big")) for bit in bits]

    @property
    def fields(self) -> dict[str, Any]:
        """Its own fields in a message."""
        return {"word": self.word.to_bytes(7, "big"), "mask": self.mask.to_bytes(32, "big")}


@dataclass(frozen=True)
class RevokeAll:
    """Ends every consent of this epoch and of those before."""

    owner: Address
    epoch: int

    def digest(self, chain_id: int, token: Address) -> bytes:
        """What the owner signs."""
        return revoke_all_digest(chain_id, token, self.owner, self.epoch)

    @property
    def ended(self) -> list[Ended]:
        """What the store looks up."""
        return [Ended("epoch", self.epoch.to_bytes(4, "big"))]

    @property
    def fields(self) -> dict[str, Any]:
        """Its own fields in a message."""
        return {"epoch": self.epoch}


Revocation = Revoke | RevokeNonces | RevokeAll
_KINDS: dict[str, type[Revoke] | type[RevokeNonces] | type[RevokeAll]] = {
    "revoke": Revoke,
    "revoke_nonces": RevokeNonces,
    "revoke_all": RevokeAll,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def write_revocation(message: Revocation) -> bytes:
    """The body of a revocation."""
    return write(_NAMES[type(message)], owner=message.owner, **message.fields)


def read_revocation(body: bytes) -> Revocation:
    """Parse exactly what `write_revocation` writes, else `InvalidInput`."""
    kind = kind_of(body)
    what = "The revocation"
    if kind == "revoke":
        fields = read(body, ("kind", "owner", "ids"), what)
        ids = exact_list(fields["ids"], "The revoked ids", at_least=1, at_most=MAX_IDS)
        return Revoke(_owner(fields), tuple(ConsentId(octets(item, "A revoked id", 32)) for item in ids))
    if kind == "revoke_nonces":
        fields = read(body, ("kind", "owner", "word", "mask"), what)
        word = int.from_bytes(octets(fields["word"], "The word", 7), "big")
        mask = int.from_bytes(octets(fields["mask"], "The mask", 32), "big")
        return RevokeNonces(_owner(fields), word, integer(mask, "The mask", at_least=1, at_most=UINT256_MAX))
    if kind == "revoke_all":
        fields = read(body, ("kind", "owner", "epoch"), what)
        return RevokeAll(_owner(fields), integer(fields["epoch"], "The epoch", at_most=2**32 - 1))
    raise InvalidInput("The request is no revocation that keepers take.")


def _owner(fields: dict[str, Any]) -> Address:
    return Address(octets(fields["owner"], "The owner", 20))


def stored_digest(chain_id: int, token: Address, message: bytes, seen: int) -> bytes:
    """What a keeper signs once it stored the revocation whose EIP-712 digest is `message`, first at Unix s `seen`."""
    words = bytes32_word(message) + uint_word(seen, 2**40 - 1)
    return keccak(b"\x19\x01" + keeper_domain(chain_id, token) + keccak(type_hash(STORED_TYPE) + words))
