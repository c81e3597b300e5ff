"""A receipt: a keeper's signed statement of one release (EIP-712), which proves it afterwards to anyone.

It names both blocks the keeper decided by, the root over what it gave, and the log entry before its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Self

from consent.chain.account import Account, recover
from consent.fields import exact_map, integer, octets
from consent.typed import receipt_digest
from core.errors import Corrupted, InvalidInput
from core.ids import Address, ConsentId, JobId, ObjectId
from vault import merkle

_HASHES = ("job", "consent", "safe", "latest", "root", "previous")


def release_root(sealed: Sequence[tuple[ObjectId, bytes]]) -> bytes:
    """The RFC 9162 root over object_id ‖ sha256(R_i), in the order of the object ids."""
    return merkle.root([object_id + sha256(share).digest() for object_id, share in sealed])


@dataclass(frozen=True)
class Receipt:
    """One release. `safe` and `latest` are block hashes, `previous` the hash of the log entry before."""

    job: JobId
    consent: ConsentId
    keeper: int
    safe: bytes
    latest: bytes
    root: bytes
    previous: bytes
    sig: bytes

    def digest(self, chain_id: int, escrow: Address) -> bytes:
        """What the keeper signs."""
        return receipt_digest(
            chain_id,
            escrow,
            self.job,
            self.consent,
            self.keeper,
            self.safe,
            self.latest,
            self.root,
            self.previous,
        )

    def verify(self, chain_id: int, escrow: Address, address: Address) -> None:
        """`Corrupted` unless the keeper at `address` signed exactly this."""
        try:
            signer = recover(self.digest(chain_id, escrow), self.sig)
        except InvalidInput:
            signer = None
        if signer != address:
            raise Corrupted(f"Keeper {self.keeper} did not sign this receipt.")

    def signed(self, account: Account, chain_id: int, escrow: Address) -> Self:
        """This receipt under the keeper's signature."""
        return replace(self, sig=account.sign_hash(self.digest(chain_id, escrow)))

    def fields(self) -> dict[str, Any]:
        """As a dag-cbor map."""
        return {"keeper": self.keeper, "sig": self.sig, **{name: getattr(self, name) for name in _HASHES}}

    @classmethod
    def read(cls, value: Any) -> Self:
        """Parse exactly what `fields` gives, else `InvalidInput`."""
        fields = exact_map(value, ("keeper", "sig", *_HASHES), "The receipt")
        hashes = {name: octets(fields[name], f"The receipt's {name}", 32) for name in _HASHES}
        keeper = integer(fields["keeper"], "The receipt's keeper", at_least=1, at_most=255)
        return cls(keeper=keeper, sig=octets(fields["sig"], "The receipt's signature", 65), **hashes)  # type: ignore[arg-type]
