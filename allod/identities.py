"""Who can act in this home: named key files. A name is local; what the world sees is the address.

Owners, trainers and payees are the same kind of identity: a vault root key, and the EVM account below it (or an
address whose wallet lives elsewhere).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from consent.chain.account import Account
from core.errors import Conflict, Denied, InvalidInput, NotFound
from core.files import write_atomic
from core.ids import Address, VaultId
from vault.keys import KeyFile, Stretch
from vault.rootkey import RootKey

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True)
class Identity:
    """A name in this home and its key file, still locked."""

    name: str
    key_file: KeyFile

    @property
    def address(self) -> Address:
        """The EVM address that acts on chain."""
        return self.key_file.address

    @property
    def vault_id(self) -> VaultId:
        """The id of the vault."""
        return self.key_file.vault_id

    def unlock(self, passphrase: str) -> Unlocked:
        """The root key and what follows from it; `Denied` for a wrong passphrase."""
        return Unlocked(self, self.key_file.unlock(passphrase))


class Unlocked:
    """An identity whose root key is in memory."""

    def __init__(self, identity: Identity, root: RootKey) -> None:
        self.identity = identity
        self.root = root

    @property
    def account(self) -> Account:
        """The EVM account below the root key; `Denied` where the owner's wallet lives elsewhere."""
        account = Account(self.root.evm_key())
        if account.address != self.identity.address:
            raise Denied(
                f"{self.identity.name} signs with a wallet of its own, which this program does not hold.",
                hint="Act with an identity whose key is below its 24 words.",
            )
        return account


class Identities:
    """The identities of one home: `identities/NAME.json`."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "identities"

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def get(self, name: str) -> Identity:
        """The identity of that name, or `NotFound`."""
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError:
            known = ", ".join(self.names()) or "none yet"
            raise NotFound(
                f"Nobody is called {name} here (known: {known}).",
                hint=f"Make the vault with `allod vault init --as {name}`.",
            ) from None
        return Identity(name, KeyFile.decode(data))

    def acting(self, name: str | None) -> Identity:
        """Who acts: `name`, or the only identity there is."""
        if name is not None:
            return self.get(name)
        names = self.names()
        if len(names) == 1:
            return self.get(names[0])
        if not names:
            raise NotFound("There is no identity in this home yet.", hint="Make one with `allod vault init`.")
        raise InvalidInput(f"Several can act here: {', '.join(names)}.", hint="Say who with --as NAME or ALLOD_AS.")

    def create(
        self,
        name: str,
        root: RootKey,
        passphrase: str,
        *,
        vault_id: VaultId | None = None,
        address: Address | None = None,
        cost: Stretch | None = None,
    ) -> Identity:
        """Lock `root` under a passphrase and give it a name; `Conflict` where the name is taken."""
        path = self.require_free(name)
        whose = Account(root.evm_key()).address if address is None else address
        key_file = KeyFile.create(root, passphrase, vault_id=vault_id, address=whose, cost=cost)
        write_atomic(path, key_file.encode())
        return Identity(name, key_file)

    def require_free(self, name: str) -> Path:
        """Where a new identity of that name will lie; `Conflict` where it is taken, `InvalidInput` if it is none."""
        path = self._path(name)
        if path.exists():
            raise Conflict(f"{name} has a vault in this home already.", hint="Choose another name with --as NAME.")
        return path

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                "A name is 1 to 32 lower-case letters, digits, - or _, and begins with a letter or digit.",
                hint="Choose it with --as NAME or ALLOD_AS.",
            )
        return self._folder / f"{name}.json"
