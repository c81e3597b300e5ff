"""The key file: a vault's root key, locked by any number of slots.

A slot holds the root key under what one passphrase stretches to (scrypt, RFC 7914). Slots come and go without
touching anything sealed; taking one away does not defeat who kept a copy of the file. The file's public members
(vault id, manifest key, address) are authenticated in every slot, so an edited file does not unlock.
Exact bytes in docs/format/30-vault.md.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Self

from cryptography.exceptions import InvalidTag

from core.encoding import decode_json, encode_json, from_hex, to_hex
from core.errors import Conflict, Corrupted, Denied, InvalidInput, NotFound
from core.ids import Address, VaultId
from vault.rootkey import RootKey

__all__ = ["KeyFile", "RootKey", "Slot", "Stretch"]

MAX_SLOTS = 32


@dataclass(frozen=True, slots=True)
class Stretch:
    """scrypt's cost: `n` a power of two, memory 128·n·r bytes. The default takes 128 MiB and about half a second."""

    n: int = 1 << 17
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        # An upper bound too: a foreign key file must not be able to ask for all memory.
        if self.n & (self.n - 1) or not 1 << 10 <= self.n <= 1 << 20 or self.r != 8 or not 1 <= self.p <= 4:
            raise InvalidInput("The passphrase slot asks for a scrypt cost that is out of bounds.")

    def lock(self, passphrase: str, salt: bytes) -> bytes:
        """What `passphrase` stretches to, 32 bytes. Unicode is normalised (NFKC), nothing is trimmed."""
        if not passphrase:
            raise InvalidInput("The passphrase is empty.", hint="Choose one of at least a few words.")
        data = unicodedata.normalize("NFKC", passphrase).encode("utf-8")
        memory = 128 * self.n * self.r + (1 << 20) * (self.p + 1)
        return hashlib.scrypt(data, salt=salt, n=self.n, r=self.r, p=self.p, maxmem=memory, dklen=32)


@dataclass(frozen=True, slots=True)
class Slot:
    """One lock on the root key: who stretches the right passphrase over `salt` can open `sealed`."""

    slot_id: bytes
    salt: bytes
    cost: Stretch
    sealed: bytes

    def document(self) -> dict[str, Any]:
        """This slot as JSON."""
        return {
            "kind": "passphrase",
            "id": to_hex(self.slot_id),
            "salt": to_hex(self.salt),
            "scrypt": {"n": self.cost.n, "r": self.cost.r, "p": self.cost.p},
            "sealed": to_hex(self.sealed),
        }

    @classmethod
    def read(cls, value: Any) -> Self:
        """A slot from its JSON, or `InvalidInput`."""
        if not isinstance(value, dict) or set(value) != {"kind", "id", "salt", "scrypt", "sealed"}:
            raise InvalidInput("A slot of the key file has other members than it should.")
        cost = value["scrypt"]
        if value["kind"] != "passphrase" or not isinstance(cost, dict) or set(cost) != {"n", "r", "p"}:
            raise InvalidInput("The key file has a slot of a kind that this program does not know.")
        if not all(type(number) is int for number in cost.values()):
            raise InvalidInput("A slot's scrypt cost is not made of integers.")
        return cls(
            from_hex(value["id"], 32), from_hex(value["salt"], 32), Stretch(**cost), from_hex(value["sealed"], 60)
        )


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A vault's key file. Changing it makes a new value; write `encode()` to disk atomically."""

    vault_id: VaultId
    manifest_pk: bytes
    address: Address
    slots: tuple[Slot, ...]

    @classmethod
    def create(
        cls,
        root: RootKey,
        passphrase: str,
        *,
        vault_id: VaultId | None = None,
        address: Address,
        cost: Stretch | None = None,
    ) -> Self:
        """A key file with one passphrase slot; without `vault_id`, for a new vault."""
        identity = VaultId(secrets.token_bytes(32)) if vault_id is None else vault_id
        return cls(identity, root.manifest_pk(), address, ()).add_slot(root, passphrase, cost=cost)

    def unlock(self, passphrase: str) -> RootKey:
        """The root key, or `Denied` if no slot opens with this passphrase."""
        for slot in self.slots:
            lock = slot.cost.lock(passphrase, slot.salt)
            try:
                root = RootKey.opened_from(slot.sealed, lock, self.vault_id, slot.slot_id, self._head())
            except InvalidTag:
                continue
            if root.manifest_pk() != self.manifest_pk:
                raise Corrupted(
                    "The key file names another vault's manifest key.", hint="Restore it from the 24 recovery words."
                )
            return root
        raise Denied(
            "The passphrase is wrong, or the key file was changed.",
            hint="Try again; if it is lost, restore the vault from the 24 recovery words.",
        )

    def add_slot(self, root: RootKey, passphrase: str, *, cost: Stretch | None = None) -> Self:
        """The key file with one passphrase more. `root` must be this vault's."""
        if root.manifest_pk() != self.manifest_pk:
            raise Denied("That root key belongs to another vault.", hint="Unlock this vault first.")
        if len(self.slots) == MAX_SLOTS:
            raise Conflict(f"A key file has at most {MAX_SLOTS} slots.", hint="Remove one first.")
        cost = cost or Stretch()
        slot_id, salt = secrets.token_bytes(32), secrets.token_bytes(32)
        sealed = root.sealed_in(cost.lock(passphrase, salt), self.vault_id, slot_id, self._head())
        return replace(self, slots=(*self.slots, Slot(slot_id, salt, cost, sealed)))

    def remove_slot(self, slot_id: bytes) -> Self:
        """The key file without that slot; the last one stays (`Conflict`)."""
        kept = tuple(slot for slot in self.slots if slot.slot_id != slot_id)
        if len(kept) == len(self.slots):
            raise NotFound("The key file has no such slot.", hint="List its slots and name one of them.")
        if not kept:
            raise Conflict("This is the last slot of the key file.", hint="Add another passphrase first.")
        return replace(self, slots=kept)

    def encode(self) -> bytes:
        """The file's bytes: canonical JSON."""
        return encode_json({**self._public(), "slots": [slot.document() for slot in self.slots]})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """A key file from its bytes, or `InvalidInput`."""
        value = decode_json(data)
        if not isinstance(value, dict) or set(value) != {"v", "type", "vault_id", "manifest_pk", "address", "slots"}:
            raise InvalidInput("The key file has other members than it should.")
        if value["v"] != 1 or isinstance(value["v"], bool) or value["type"] != "allod/keyfile":
            raise InvalidInput("The key file has a version that this program does not know.")
        slots = value["slots"]
        if not isinstance(slots, list) or not 0 < len(slots) <= MAX_SLOTS:
            raise InvalidInput(f"A key file has between 1 and {MAX_SLOTS} slots.")
        file = cls(
            VaultId(from_hex(value["vault_id"], 32)),
            from_hex(value["manifest_pk"], 32),
            Address(from_hex(value["address"], 20)),
            tuple(Slot.read(slot) for slot in slots),
        )
        if file.encode() != data:
            raise InvalidInput("The key file spells its bytes in another way than lower-case hex.")
        return file

    def _public(self) -> dict[str, Any]:
        return {
            "v": 1,
            "type": "allod/keyfile",
            "vault_id": to_hex(self.vault_id),
            "manifest_pk": to_hex(self.manifest_pk),
            "address": to_hex(self.address),
        }

    def _head(self) -> bytes:
        return encode_json(self._public())
