"""The owner's keys: one random root key, everything below it, and the 24 words that are it.

    derived = HKDF-SHA256(ikm = root key, salt = "", info = label ‖ 0x00 ‖ context, 32)

Every context has a fixed length for its label, so no two derivations share an `info`. The words encode the root
key itself (BIP-39 entropy and checksum, no PBKDF2): they bring back the vault, the manifest signature and, where
Allod made it, the owner's EVM key. Nothing here ever shows a key: not in `repr`, not in an error, not by pickling.
Sources: RFC 5869, BIP-39, DESIGN §4.3; exact bytes in docs/format/30-vault.md.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from typing import NoReturn, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import InvalidInput

KEY = 32
WORDS = 24
MANIFEST_SIGN_LABEL = "allod/manifest-sign/v1"
EVM_LABEL = "allod/evm/v1"

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class RootKey:
    """A vault's root key. Whoever holds it can open everything in the vault and sign for it."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY:
            raise InvalidInput(f"A root key has {KEY} bytes.")
        self._key = bytes(key)

    @classmethod
    def generate(cls) -> Self:
        """A new root key from the system's random source."""
        return cls(secrets.token_bytes(KEY))

    @classmethod
    def from_words(cls, words: str) -> Self:
        """The root key that 24 BIP-39 words (English list) encode; case and spacing do not matter."""
        from mnemonic import Mnemonic

        given = unicodedata.normalize("NFKD", words).lower().split()
        if len(given) != WORDS:
            raise InvalidInput(
                f"The recovery words are {WORDS} words; {len(given)} were given.", hint="Type all of them, in order."
            )
        book = Mnemonic("english")
        known = set(book.wordlist)
        for position, word in enumerate(given, 1):
            if word not in known:
                # The word itself stays out of the message: messages end up in logs.
                raise InvalidInput(
                    f"Word {position} of {WORDS} is not in the word list.", hint="Compare its spelling with your copy."
                )
        if not book.check(" ".join(given)):
            raise InvalidInput(
                "The recovery words do not fit together: their checksum is wrong.",
                hint="One word is another than the one written down, or two changed places.",
            )
        return cls(bytes(book.to_entropy(given)))

    def words(self) -> str:
        """The 24 words, separated by single spaces. Show them once, to their owner, and write them nowhere."""
        from mnemonic import Mnemonic

        return str(Mnemonic("english").to_mnemonic(self._key))

    def derive(self, label: str, *context: bytes) -> bytes:
        """32 bytes for one purpose; `context` parts must have fixed lengths under this label."""
        return hkdf(self._key, b"", label.encode("ascii") + b"\0" + b"".join(context))

    def signing_key(self) -> Ed25519PrivateKey:
        """The key that signs heads and share tables. It hangs on no vault id, so that words alone find a head."""
        return Ed25519PrivateKey.from_private_bytes(self.derive(MANIFEST_SIGN_LABEL))

    def manifest_pk(self) -> bytes:
        """The public half of `signing_key`, 32 bytes."""
        return self.signing_key().public_key().public_bytes_raw()

    def evm_key(self) -> bytes:
        """A secp256k1 private key for owners who bring no wallet: the first derivation in range, by u32be counter."""
        for counter in range(256):
            candidate = self.derive(EVM_LABEL, counter.to_bytes(4, "big"))
            if 0 < int.from_bytes(candidate, "big") < _SECP256K1_ORDER:
                return candidate
        raise AssertionError("256 derivations out of range: probability 2^-32000")

    def sealed_in(self, lock: bytes, vault_id: bytes, slot_id: bytes, head: bytes) -> bytes:
        """This key inside a slot that `lock` opens; `head` is authenticated with it. See `vault.keys`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(12)
        return nonce + AESGCM(_slot_key(lock, vault_id, slot_id)).encrypt(nonce, self._key, head)

    @classmethod
    def opened_from(cls, sealed: bytes, lock: bytes, vault_id: bytes, slot_id: bytes, head: bytes) -> Self:
        """The key inside a slot; raises `cryptography.exceptions.InvalidTag` if `lock` is another."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return cls(AESGCM(_slot_key(lock, vault_id, slot_id)).decrypt(sealed[:12], sealed[12:], head))

    def __repr__(self) -> str:
        return "RootKey(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RootKey) and hmac.compare_digest(self._key, other._key)

    __hash__ = None  # type: ignore[assignment]  # a key is no dictionary key

    def __reduce__(self) -> NoReturn:
        raise TypeError("a root key is never pickled")


def hkdf(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) with 32 bytes of output; an empty salt means 32 zero bytes, as the RFC says."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY, salt=salt or None, info=info).derive(ikm)


def _slot_key(lock: bytes, vault_id: bytes, slot_id: bytes) -> bytes:
    return hkdf(lock, b"", b"allod/slot/v1\0" + vault_id + slot_id)
