"""Content identifiers: CIDv1 with sha2-256 over raw, dag-pb or dag-cbor, and nothing else.

A `Cid` is always valid: whoever holds one holds 32 bytes of SHA-256 and one of three codecs. Everything
outside that set (CIDv0, other hashes, identity, other bases) is `InvalidInput` at the edge, so that no later
check has to think of it. Source: the multiformats CID specification; profile `unixfs-v1-2025` of IPIP-499.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Self

from core.encoding import Link
from core.errors import InvalidInput

Octets = bytes  # inside Cid the name `bytes` is taken by its binary form

RAW = 0x55
DAG_PB = 0x70
DAG_CBOR = 0x71
CODECS = {RAW: "raw", DAG_PB: "dag-pb", DAG_CBOR: "dag-cbor"}
CID_SIZE = 36

_HEADS = {codec: bytes((1, codec, 0x12, 0x20)) for codec in CODECS}
_TEXT_LENGTH = 1 + 58  # 'b' and 36 bytes in unpadded base32


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """CIDv1 of one block. `codec` is RAW, DAG_PB or DAG_CBOR; `digest` the SHA-256 of the block."""

    codec: int
    digest: Octets

    def __post_init__(self) -> None:
        if self.codec not in CODECS or len(self.digest) != 32:
            raise InvalidInput("A CID here has codec raw, dag-pb or dag-cbor and a sha2-256 digest.")

    @classmethod
    def of(cls, codec: int, data: Octets | bytearray | memoryview) -> Self:
        """The identifier of a block with this content."""
        return cls(codec, hashlib.sha256(data).digest())

    @classmethod
    def parse(cls, value: str | Octets) -> Self:
        """Read the text form (multibase base32, 'b…') or the 36 binary bytes; anything else is `InvalidInput`."""
        data = _from_base32(value) if isinstance(value, str) else Octets(value)
        if len(data) != CID_SIZE or data[1] not in _HEADS or data[:4] != _HEADS[data[1]]:
            raise InvalidInput(
                "Not a CID of version 1 with sha2-256 and codec raw, dag-pb or dag-cbor.",
                hint="Convert it with: ipfs cid format -v 1 -b base32",
            )
        return cls(data[1], data[4:])

    @classmethod
    def from_link(cls, link: Link) -> Self:
        """The CID that a dag-cbor link names."""
        return cls.parse(link.cid)

    @property
    def link(self) -> Link:
        """This CID as a link inside dag-cbor."""
        return Link(_HEADS[self.codec] + self.digest)

    def __str__(self) -> str:
        packed = base64.b32encode(_HEADS[self.codec] + self.digest).decode("ascii")
        return "b" + packed.rstrip("=").lower()

    @property
    def bytes(self) -> Octets:
        """The binary form: 0x01, codec, 0x12, 0x20, digest; 36 bytes."""
        return _HEADS[self.codec] + self.digest


def _from_base32(text: str) -> Octets:
    wrong = InvalidInput("Not a CID in base32: it starts with b and has 59 characters.")
    if len(text) != _TEXT_LENGTH or text[0] != "b" or text != text.lower() or not text.isascii():
        raise wrong
    try:
        data = base64.b32decode(text[1:].upper() + "=" * 6)
    except ValueError:
        raise wrong from None
    # 58 characters carry two spare bits: only the form with both clear is the CID's one spelling.
    if base64.b32encode(data).decode("ascii").rstrip("=").lower() != text[1:]:
        raise wrong
    return data
