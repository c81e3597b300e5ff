"""Writes the payload vectors beside this file: one tiny program per vector, one failure each.

    python tests/vectors/payload/generate.py

Everything is made from `cryptography` alone, in a second, plainer hand than the code under test. Plaintexts are
the AES-CTR keystream itself, so ciphertexts are zeros and megabytes compress to nothing; tags are real.

A vector is a text header, an empty line and the ciphertext in zlib. Header lines:

    expect       success; size (the size can be no ciphertext's: refused before any cryptography); key (the data key
                 misses the commitment: likewise); payload (a segment or the ciphertext's shape is wrong)
    about        the one thing that is wrong
    vault id, object id, dek, dek commit, size     what the manifest and the key's owner say
    segment I    sha256 of the plaintext of segment I, for each that opens at its place. A stream may release those
                 from 0 up to the first one missing in this list, and nothing else; a success releases all.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT = 1048576
FIRST = SEGMENT - 56
REST = SEGMENT - 16

VAULT = hashlib.sha256(b"payload vectors: vault").digest()
OBJECT = hashlib.sha256(b"payload vectors: object").digest()
DEK = hashlib.sha256(b"payload vectors: dek").digest()
SALT = hashlib.sha256(b"payload vectors: salt").digest()
PREFIX = hashlib.sha256(b"payload vectors: prefix").digest()[:7]
OTHER = hashlib.sha256(b"payload vectors: other").digest()


def derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def commit(dek: bytes, vault: bytes, object_: bytes) -> bytes:
    return derive(dek, b"", b"allod/dek-commit/v1\0" + vault + object_)


def segment(index: int, length: int, last: bool, salt: bytes = SALT, prefix: bytes = PREFIX) -> tuple[bytes, bytes]:
    """(plaintext, ciphertext with header and tag) of a segment with `length` bytes of plaintext, all zeros sealed."""
    key = derive(DEK, salt, b"allod/object/v1\0" + VAULT + OBJECT)
    nonce = prefix + index.to_bytes(4, "big") + bytes([last])
    stream = Cipher(algorithms.AES(key), modes.CTR(nonce + b"\0\0\0\2")).encryptor()
    plain = stream.update(bytes(length))
    sealed = AESGCM(key).encrypt(nonce, plain, None)
    return plain, (b"\x28" + salt + prefix if index == 0 else b"") + sealed


@dataclass(frozen=True)
class Vector:
    expect: str
    about: str
    segments: list[bytes]
    opens: dict[int, bytes] = field(default_factory=dict)
    dek: bytes = DEK
    vault: bytes = VAULT
    object: bytes = OBJECT
    dek_commit: bytes = commit(DEK, VAULT, OBJECT)
    size: int | None = None  # the ciphertext's own, unless said

    @property
    def body(self) -> bytes:
        return b"".join(self.segments)

    def header(self) -> str:
        size = len(self.body) if self.size is None else self.size
        lines = [
            f"expect: {self.expect}",
            f"about: {self.about}",
            f"vault id: {self.vault.hex()}",
            f"object id: {self.object.hex()}",
            f"dek: {self.dek.hex()}",
            f"dek commit: {self.dek_commit.hex()}",
            f"size: {size}",
            *(f"segment {i}: {hashlib.sha256(plain).hexdigest()}" for i, plain in sorted(self.opens.items())),
        ]
        return "\n".join(lines) + "\n\n"


def whole(size: int, about: str = "") -> Vector:
    """A right sealing of `size` bytes."""
    lengths = [min(size, FIRST)]
    left = size - lengths[0]
    while left:
        lengths.append(min(left, REST))
        left -= lengths[-1]
    pairs = [segment(i, length, i == len(lengths) - 1) for i, length in enumerate(lengths)]
    return Vector("success", about, [c for _, c in pairs], {i: p for i, (p, _) in enumerate(pairs)})


THREE = whole(FIRST + REST + 1000)
TWO_FULL = whole(FIRST + REST)
SHORT = whole(100)
EXTRA = segment(2, 50, True)


def broken(base: Vector, about: str, segments: list[bytes], opens: list[int], **changes: object) -> Vector:
    """`base` with other segments, of which those in `opens` still open."""
    kept = {i: base.opens[i] for i in opens}
    return replace(base, expect="payload", about=about, segments=segments, opens=kept, **changes)  # type: ignore[arg-type]


def flip(data: bytes, position: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)


def size_of(base: Vector, size: int, about: str, body: bytes | None = None) -> Vector:
    return replace(
        base, expect="size", about=about, segments=[base.body if body is None else body], opens={}, size=size
    )


A, B, C = THREE.segments
VECTORS: dict[str, Callable[[], Vector]] = {
    "empty": lambda: whole(0, "no plaintext at all: 56 bytes"),
    "one_byte": lambda: whole(1, "one byte"),
    "first_less_one": lambda: whole(FIRST - 1, "one byte less than segment 0 holds"),
    "first_full": lambda: whole(FIRST, "segment 0 exactly full and last"),
    "first_and_one": lambda: whole(FIRST + 1, "one byte in segment 1"),
    "second_less_one": lambda: whole(FIRST + REST - 1, "one byte less than two segments hold"),
    "second_full": lambda: whole(FIRST + REST, "segment 1 exactly full and last"),
    "second_and_one": lambda: whole(FIRST + REST + 1, "one byte in segment 2"),
    "truncated_by_a_byte": lambda: broken(THREE, "the last byte is gone, and the size says so", [A, B, C[:-1]], [0, 1]),
    "truncated_by_a_byte_size_kept": lambda: broken(
        THREE, "the last byte is gone, and the size does not say so", [A, B, C[:-1]], [0, 1], size=len(THREE.body)
    ),
    "truncated_by_a_tag": lambda: broken(THREE, "the last tag is gone", [A, B, C[:-16]], [0, 1]),
    "truncated_inside_first": lambda: broken(SHORT, "one segment, half gone", [SHORT.body[:100]], []),
    "cut_at_edge": lambda: broken(THREE, "the last segment is gone, and the size says so", [A, B], [0]),
    "cut_at_edge_size_kept": lambda: broken(
        THREE, "the last segment is gone, and the size does not say so", [A, B], [0, 1], size=len(THREE.body)
    ),
    "cut_to_first": lambda: broken(THREE, "only segment 0 is left", [A], []),
    "missing_first": lambda: broken(THREE, "segment 0 is gone", [B, C], []),
    "missing_middle": lambda: broken(THREE, "segment 1 is gone", [A, C], [0]),
    "doubled_first": lambda: broken(THREE, "segment 0 stands twice", [A, A, B, C], [0]),
    "doubled_middle": lambda: broken(THREE, "segment 1 stands twice", [A, B, B, C], [0, 1]),
    "doubled_last": lambda: broken(
        TWO_FULL, "the full last segment stands twice", [*TWO_FULL.segments, TWO_FULL.segments[1]], [0]
    ),
    "swapped": lambda: broken(
        whole(FIRST + 2 * REST + 5),
        "segments 1 and 2 are exchanged",
        [whole(FIRST + 2 * REST + 5).segments[i] for i in (0, 2, 1, 3)],
        [0, 3],
    ),
    "swapped_with_last": lambda: broken(
        TWO_FULL, "a middle and the last segment are exchanged", [A, TWO_FULL.segments[1], B], [0]
    ),
    "extra_segment": lambda: replace(
        broken(TWO_FULL, "an authentic last segment behind the last", [*TWO_FULL.segments, EXTRA[1]], []),
        opens={0: TWO_FULL.opens[0], 2: EXTRA[0]},
    ),
    "extra_segment_size_kept": lambda: broken(
        TWO_FULL,
        "an authentic last segment behind the last, beyond the size",
        [*TWO_FULL.segments, EXTRA[1]],
        [0],
        size=len(TWO_FULL.body),
    ),
    "extra_garbage": lambda: broken(
        TWO_FULL, "17 zero bytes behind the last segment", [*TWO_FULL.segments, bytes(17)], [0]
    ),
    "full_last_and_a_byte": lambda: size_of(
        TWO_FULL, len(TWO_FULL.body) + 1, "a byte behind a full last segment (Tink accepts it)", TWO_FULL.body + b"\0"
    ),
    "full_last_and_a_byte_size_kept": lambda: broken(
        TWO_FULL,
        "a byte behind a full last segment, beyond the size (Tink accepts it)",
        [*TWO_FULL.segments, b"\0"],
        [0, 1],
        size=len(TWO_FULL.body),
    ),
    "full_first_and_a_byte_size_kept": lambda: broken(
        whole(FIRST),
        "a byte behind a full only segment, beyond the size",
        [whole(FIRST).body, b"\0"],
        [0],
        size=SEGMENT,
    ),
    "short_last_and_a_byte": lambda: broken(THREE, "a byte behind a short last segment", [A, B, C + b"\0"], [0, 1]),
    "no_last": lambda: broken(THREE, "the last segment is not marked last", [A, B, segment(2, 1000, False)[1]], [0, 1]),
    "two_last": lambda: broken(THREE, "segment 1 is marked last too", [A, segment(1, REST, True)[1], C], [0, 2]),
    "empty_last": lambda: size_of(
        TWO_FULL,
        len(TWO_FULL.body) + 16,
        "an empty segment behind two full ones",
        TWO_FULL.body + segment(2, 0, True)[1],
    ),
    "wrong_counter": lambda: broken(
        THREE, "segment 1 was sealed as segment 2", [A, segment(2, REST, False)[1], C], [0, 2]
    ),
    "spliced": lambda: broken(
        THREE,
        "segment 1 comes from another sealing under the same key",
        [A, segment(1, REST, False, salt=OTHER)[1], C],
        [0, 2],
    ),
    "flipped_first_tag": lambda: broken(THREE, "a bit of segment 0's tag", [flip(A, -1), B, C], [1, 2]),
    "flipped_middle_tag": lambda: broken(THREE, "a bit of segment 1's tag", [A, flip(B, -16, 7), C], [0, 2]),
    "flipped_last_tag": lambda: broken(THREE, "a bit of the last tag", [A, B, flip(C, -3, 4)], [0, 1]),
    "flipped_body": lambda: broken(THREE, "a bit in the middle of segment 1", [A, flip(B, 500000, 3), C], [0, 2]),
    "flipped_header_length": lambda: broken(SHORT, "the header says 41 bytes", [flip(SHORT.body, 0)], []),
    "flipped_salt": lambda: broken(THREE, "a bit of the salt", [flip(A, 5), B, C], []),
    "flipped_prefix": lambda: broken(THREE, "a bit of the nonce prefix", [flip(A, 39), B, C], []),
    "wrong_dek": lambda: replace(
        SHORT, expect="key", about="another data key than the committed one", dek=OTHER, opens={}
    ),
    "wrong_commit": lambda: replace(
        SHORT, expect="key", about="a commitment to another key", dek_commit=OTHER, opens={}
    ),
    "commit_of_another_object": lambda: replace(
        SHORT,
        expect="key",
        about="the key's commitment for another object",
        dek_commit=commit(DEK, VAULT, OTHER),
        opens={},
    ),
    "wrong_dek_and_commit": lambda: broken(
        THREE, "another key with its own commitment", [A, B, C], [], dek=OTHER, dek_commit=commit(OTHER, VAULT, OBJECT)
    ),
    "wrong_object": lambda: broken(
        THREE, "sealed for another object", [A, B, C], [], object=OTHER, dek_commit=commit(DEK, VAULT, OTHER)
    ),
    "wrong_vault": lambda: broken(
        THREE, "sealed for another vault", [A, B, C], [], vault=OTHER, dek_commit=commit(DEK, OTHER, OBJECT)
    ),
    "nothing": lambda: size_of(SHORT, 0, "no ciphertext at all", b""),
    "header_only": lambda: size_of(SHORT, 40, "a header and nothing behind it", SHORT.body[:40]),
    "less_than_empty": lambda: size_of(SHORT, 55, "one byte less than an empty file's ciphertext", SHORT.body[:55]),
    "tag_in_second": lambda: size_of(THREE, SEGMENT + 16, "a second segment that can hold no plaintext", A + B[:16]),
}


def main() -> None:
    folder = Path(__file__).parent
    for name, make in VECTORS.items():
        vector = make()
        (folder / name).write_bytes(vector.header().encode() + zlib.compress(vector.body, 9))


if __name__ == "__main__":
    main()
