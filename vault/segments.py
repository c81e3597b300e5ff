"""The payload's format: Tink AES-GCM-HKDF streaming, `AES256_GCM_HKDF_1MB`, one segment at a time.

    header (40 B) = 0x28 ‖ salt[32] ‖ prefix[7]
    key           = HKDF-SHA256(ikm = DEK, salt, info = associated data, 32)
    nonce_i       = prefix[7] ‖ u32be(i) ‖ (0x01 if last else 0x00)

The nonce may count because salt and prefix are random for every encryption and so no key meets the same nonce
twice. Three promises go beyond Tink's own reader: the total size fixes which segment is the last, so anything
behind it is refused; the key is checked against a commitment first, because AES-GCM would let one ciphertext
open under two keys; and sizes that no plaintext can have are refused before any cryptography.
Source: Tink's "AES-GCM-HKDF Streaming AEAD" specification; docs/format/10-payload.md.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import Corrupted, InvalidInput
from core.ids import ObjectId, VaultId

SEGMENT: Final = 1 << 20  # ciphertext bytes of every segment but the last
TAG: Final = 16
HEADER: Final = 40
FIRST: Final = SEGMENT - HEADER - TAG  # plaintext bytes of segment 0
REST: Final = SEGMENT - TAG  # plaintext bytes of each later one
MAX_SEGMENTS: Final = 1 << 32  # the nonce counts in 32 bits

_HINT = "Fetch the object again from another copy; nothing unverified was released."


def associated_data(vault_id: VaultId, object_id: ObjectId) -> bytes:
    """What ties a payload to its place: it enters the segment key's derivation."""
    return _place(b"allod/object/v1\0", vault_id, object_id)


def dek_commitment(dek: bytes, vault_id: VaultId, object_id: ObjectId) -> bytes:
    """32 bytes that fix the data key without revealing it; kept in the manifest."""
    _check_dek(dek)
    return _hkdf(dek, b"", _place(b"allod/dek-commit/v1\0", vault_id, object_id))


def segment_count(size: int) -> int:
    """Segments of a ciphertext of `size` bytes; `Corrupted` if no plaintext encrypts to that size."""
    count = -(-size // SEGMENT)
    least = HEADER + TAG if count == 1 else TAG + 1
    if size <= 0 or count > MAX_SEGMENTS or size - (count - 1) * SEGMENT < least:
        raise Corrupted(f"A sealed object never has {size} bytes: its size is wrong.", hint=_HINT)
    return count


def ciphertext_size(plaintext: int) -> int:
    """Bytes of ciphertext for `plaintext` bytes: 40, and 16 per segment, more."""
    if plaintext < 0:
        raise InvalidInput("A size is never negative.")
    count = max(1, -(-(plaintext + HEADER) // REST))
    if count > MAX_SEGMENTS:
        raise InvalidInput("The file is too large for one object (4 PiB).", hint="Split it.")
    return plaintext + HEADER + TAG * count


def plaintext_size(size: int) -> int:
    """Bytes of plaintext in a ciphertext of `size` bytes; `Corrupted` if there is no such ciphertext."""
    return size - HEADER - TAG * segment_count(size)


def segment_size(size: int, index: int) -> int:
    """Ciphertext bytes of segment `index` in a ciphertext of `size` bytes."""
    if not 0 <= index < segment_count(size):
        raise InvalidInput(f"Segment {index} lies outside the object.")
    return min(SEGMENT, size - index * SEGMENT)


def plaintext_start(index: int) -> int:
    """Where segment `index` begins in the plaintext."""
    return 0 if index == 0 else FIRST + (index - 1) * REST


def segment_at(offset: int) -> int:
    """The segment that holds the plaintext byte at `offset`."""
    return (offset + HEADER) // REST


class SegmentKey:
    """The key of one encryption: a header, its derived AES key, and the nonces below it."""

    __slots__ = ("_aead", "_prefix", "header")

    def __init__(self, dek: bytes, header: bytes, associated: bytes) -> None:
        if len(header) != HEADER or header[0] != HEADER:
            raise Corrupted("The object does not begin with a payload header.", hint=_HINT)
        _check_dek(dek)
        self.header = bytes(header)
        self._prefix = self.header[33:]
        self._aead = AESGCM(_hkdf(dek, self.header[1:33], associated))

    def __repr__(self) -> str:
        return "SegmentKey()"

    def _nonce(self, index: int, last: bool) -> bytes:
        return self._prefix + index.to_bytes(4, "big") + (b"\1" if last else b"\0")

    def seal(self, index: int, last: bool, plaintext: memoryview, into: memoryview) -> int:
        """Write segment `index` to the start of `into`; returns its length, header included in segment 0."""
        start = 0
        if index == 0:
            into[:HEADER] = self.header
            start = HEADER
        end = start + len(plaintext) + TAG
        self._aead.encrypt_into(self._nonce(index, last), plaintext, None, into[start:end])
        return end

    def open(self, index: int, last: bool, segment: bytes | memoryview) -> bytes:
        """The plaintext of segment `index`, or `Corrupted`."""
        body = memoryview(segment)[HEADER if index == 0 else 0 :]
        try:
            return self._aead.decrypt(self._nonce(index, last), body, None)
        except InvalidTag:
            raise Corrupted(f"Segment {index} of the object does not authenticate.", hint=_HINT) from None


class Opener:
    """Opens the segments of one object, in any order once segment 0 was seen; safe to share among threads.

    `size` (ciphertext bytes) and `dek_commit` come from the object's manifest. A key that is not the committed
    one, or a size that cannot be, is `Corrupted` here, before a byte is looked at.
    """

    def __init__(self, dek: bytes, vault_id: VaultId, object_id: ObjectId, size: int, dek_commit: bytes) -> None:
        self.size = size
        self.segments = segment_count(size)
        self.plaintext_size = plaintext_size(size)
        if not hmac.compare_digest(dek_commitment(dek, vault_id, object_id), dek_commit):
            raise Corrupted(
                "The key does not belong to this object: it misses the commitment in the manifest.",
                hint="Get the object's key again; with this one nothing is opened.",
            )
        self._dek = bytes(dek)
        self._associated = associated_data(vault_id, object_id)
        self._key: SegmentKey | None = None

    def __repr__(self) -> str:
        return f"Opener(size={self.size})"

    def begin(self, segment: bytes | memoryview) -> None:
        """Take the header from segment 0 (whole, or its first 40 bytes). Opening segment 0 does this by itself."""
        header = bytes(memoryview(segment)[:HEADER])
        if self._key is None:
            self._key = SegmentKey(self._dek, header, self._associated)
        elif self._key.header != header:
            raise Corrupted("Two different beginnings for one object.", hint=_HINT)

    def open_segment(self, index: int, data: bytes | memoryview) -> bytes:
        """The authenticated plaintext of segment `index` from exactly its ciphertext bytes."""
        if memoryview(data).nbytes != segment_size(self.size, index):
            raise Corrupted(
                f"Segment {index} has {memoryview(data).nbytes} bytes, not {segment_size(self.size, index)}.",
                hint=_HINT,
            )
        if index == 0:
            self.begin(data)
        if self._key is None:
            raise InvalidInput("Open segment 0 first, or give its header to begin(): it carries the salt.")
        return self._key.open(index, index == self.segments - 1, data)


def _check_dek(dek: bytes) -> None:
    if len(dek) != 32:
        raise InvalidInput("A data key has 32 bytes.")


def _place(label: bytes, vault_id: VaultId, object_id: ObjectId) -> bytes:
    if len(vault_id) != 32 or len(object_id) != 32:
        raise InvalidInput("A vault id and an object id have 32 bytes each.")
    return label + vault_id + object_id


def _hkdf(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key)
