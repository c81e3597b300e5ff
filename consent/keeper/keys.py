"""A keeper's own keys: one secp256k1 key that signs for it, and one HPKE key per epoch that its shares are sealed to.

Promises: every file is readable by its user alone; no key shows in a repr, an error or a pickle. Destroying an epoch's
key ends what this keeper can release of every share table sealed to it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn, Self

from consent.chain.account import Account
from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.files import sync_directory, write_atomic
from core.ids import Address
from vault.sharing import hpke_generate, hpke_public

_SIGNING_FILE = "signing.key"
_EPOCH_PREFIX, _EPOCH_SUFFIX = "hpke-", ".key"


def _epoch_file(epoch: int) -> str:
    return f"{_EPOCH_PREFIX}{epoch}{_EPOCH_SUFFIX}"


class KeeperKeys:
    """The keys in one folder. `account` signs receipts and settlements; `address` is what clients pin."""

    def __init__(self, folder: Path, account: Account, seeds: dict[int, bytes]) -> None:
        self._folder = folder
        self._seeds = seeds
        self.account = account

    @classmethod
    def create(cls, folder: Path, *, epoch: int = 1) -> Self:
        """New keys in `folder`, with an HPKE key for `epoch`; `Conflict` if it holds keys already."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (folder / _SIGNING_FILE).exists():
            raise Conflict("This folder holds a keeper's keys already.", hint="Open it instead of creating it anew.")
        keys = cls(folder, _fresh_account(folder), {})
        keys.add_epoch(epoch)
        return keys

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The keys that `create` made; `NotFound` without them, `Corrupted` for a file of the wrong length."""
        try:
            account = Account(_read_key(folder / _SIGNING_FILE))
        except FileNotFoundError:
            raise NotFound("No keeper's keys lie here.", hint="Create the keeper first.") from None
        seeds = {}
        for path in folder.glob(f"{_EPOCH_PREFIX}*{_EPOCH_SUFFIX}"):
            number = path.name.removeprefix(_EPOCH_PREFIX).removesuffix(_EPOCH_SUFFIX)
            if number.isascii() and number.isdigit():
                seeds[int(number)] = _read_key(path)
        return cls(folder, account, seeds)

    @property
    def address(self) -> Address:
        """The address of the signing key."""
        return self.account.address

    @property
    def epochs(self) -> list[int]:
        """The epochs whose HPKE key is still here."""
        return sorted(self._seeds)

    def hpke_public(self, epoch: int) -> bytes:
        """The X-Wing public key of an epoch, 1216 bytes."""
        return hpke_public(self.hpke_private(epoch))

    def hpke_private(self, epoch: int) -> bytes:
        """The X-Wing seed of an epoch, 32 bytes; `NotFound` if it was never made or is destroyed."""
        try:
            return self._seeds[epoch]
        except KeyError:
            raise NotFound(
                f"This keeper holds no key for epoch {epoch}.", hint="Ask a committee that is live."
            ) from None

    def add_epoch(self, epoch: int) -> None:
        """Make the HPKE key of a new epoch; `Conflict` if there is one."""
        if epoch < 1:
            raise InvalidInput("Epochs are counted from 1.")
        if epoch in self._seeds:
            raise Conflict(f"This keeper has a key for epoch {epoch} already.")
        seed, _ = hpke_generate()
        write_atomic(self._folder / _epoch_file(epoch), seed)
        self._seeds[epoch] = seed

    def destroy_epoch(self, epoch: int) -> None:
        """Remove an epoch's HPKE key for good."""
        self.hpke_private(epoch)
        (self._folder / _epoch_file(epoch)).unlink()
        sync_directory(self._folder)
        del self._seeds[epoch]

    def __repr__(self) -> str:
        return f"KeeperKeys(0x{self.address.hex()}, epochs={self.epochs})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A keeper's keys are not pickled.")


def _fresh_account(folder: Path) -> Account:
    while True:
        key = os.urandom(32)
        try:
            account = Account(key)
        except InvalidInput:  # one in 2^128: the bytes are no scalar of the curve
            continue
        write_atomic(folder / _SIGNING_FILE, key)
        return account


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != 32:
        raise Corrupted(f"The key file {path.name} is not 32 bytes long.", hint="Bring it back from a backup.")
    return key
