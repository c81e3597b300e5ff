"""The runner's machine identity, and the one-time key of each job.

A machine key of 32 random bytes lies in the runner's folder. From it come the runner's EVM account and the key that
seals job keys. A job key (X-Wing, for HPKE) is made before the job is opened, because the job commits to its public
half; its private half is on disk only sealed, and is destroyed when the job has settled. A runner asks keepers for
shares only under a key that it made: `JobKeys.open` knows no other.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent.chain.account import SECP256K1_ORDER, Account
from core.encoding import decode_cbor, encode_cbor, from_hex
from core.errors import Corrupted, InvalidInput, NotFound
from core.files import Lock, shred, write_atomic
from core.ids import Address
from vault.hpke import hpke_generate, hpke_public

EVM_LABEL = b"allod/runner-evm/v1\0"
SEAL_LABEL = b"allod/job-key/v1\0"
PUBLIC_SIZE = 1216


class Runner:
    """A machine that executes jobs: an EVM account and the job keys that it made."""

    def __init__(self, machine_key: bytes, folder: Path) -> None:
        if len(machine_key) != 32:
            raise InvalidInput("A machine key is 32 bytes.")
        self.account = Account(_evm_key(machine_key))
        self.keys = JobKeys(_derive(machine_key, SEAL_LABEL), folder / "keys")

    def __repr__(self) -> str:
        return f"Runner(0x{self.account.address.hex()})"


def open_runner(folder: Path) -> Runner:
    """The runner whose folder this is; its machine key is made at the first call."""
    path = folder / "machine.key"
    if not path.exists():
        with Lock(folder / "LOCK", what="The runner's folder"):
            if not path.exists():
                write_atomic(path, secrets.token_bytes(32))
    key = path.read_bytes()
    if len(key) != 32:
        raise Corrupted("The runner's machine key is damaged.", hint=f"Restore {path} from a copy.")
    runner = Runner(key, folder)
    if runner_address(folder) != runner.account.address:
        write_atomic(folder / "address", runner.account.address.hex().encode())
    return runner


def runner_address(folder: Path) -> Address | None:
    """The address of the runner whose folder this is, without its key; None while it never ran."""
    try:
        return Address(from_hex("0x" + (folder / "address").read_text("ascii"), 20))
    except (FileNotFoundError, ValueError, InvalidInput):
        return None


class JobKeys:
    """Job keys on disk, each sealed under the machine's key, named by the hash of its public half."""

    def __init__(self, sealing_key: bytes, folder: Path) -> None:
        self._seal = AESGCM(sealing_key)
        self._folder = folder

    def create(self) -> bytes:
        """Make a key pair, seal its private half durably, and return the public half (1216 bytes)."""
        private, public = hpke_generate()
        nonce = secrets.token_bytes(12)
        sealed = nonce + self._seal.encrypt(nonce, private, SEAL_LABEL + public)
        write_atomic(self._path(public), encode_cbor({"v": 1, "kind": "job-key", "public": public, "sealed": sealed}))
        return public

    def open(self, public: bytes) -> bytes:
        """The private seed of a key that this runner made; `NotFound` for every other and for destroyed ones."""
        try:
            data = self._path(public).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                "This runner did not make the key of this job, or has destroyed it.",
                hint="Run the job on the machine that opened it, or settle it.",
            ) from None
        try:
            value = decode_cbor(data)
            sealed = value["sealed"]
            if value != {"v": 1, "kind": "job-key", "public": public, "sealed": sealed}:
                raise InvalidInput("Not a sealed job key.")
            private = self._seal.decrypt(sealed[:12], sealed[12:], SEAL_LABEL + public)
            if hpke_public(private) != public:
                raise InvalidInput("The halves do not belong together.")
        except (InvalidInput, InvalidTag, KeyError, TypeError, ValueError):
            raise Corrupted("The sealed job key is damaged.", hint="The job can still be settled.") from None
        return private

    def holds(self, public: bytes) -> bool:
        """Whether this runner made the key and still has it."""
        return self._path(public).exists()

    def destroy(self, public: bytes) -> None:
        """Overwrite and remove a job key; once more changes nothing. Shares sealed to it stay closed for good."""
        shred(self._path(public))

    def _path(self, public: bytes) -> Path:
        if len(public) != PUBLIC_SIZE:
            raise InvalidInput(f"A job's public key has {PUBLIC_SIZE} bytes.")
        return self._folder / f"{hashlib.sha256(public).hexdigest()}.key"


def _derive(key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=info).derive(key)


def _evm_key(machine_key: bytes) -> bytes:
    for counter in range(256):
        candidate = _derive(machine_key, EVM_LABEL + bytes([counter]))
        if 0 < int.from_bytes(candidate, "big") < SECP256K1_ORDER:
            return candidate
    raise InvalidInput("This machine key yields no EVM key.")
