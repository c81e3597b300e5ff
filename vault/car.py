"""CARv1 files: writing, and strict reading of what strangers send.

A CAR is a header with roots and then blocks, each behind its length and CID. Reading holds one block in memory,
checks every hash, codec and size, and turns whatever is cut short, oversized or malformed into `Corrupted`. A CAR
that ends early at a block's edge reads like a whole one: completeness is checked by walking from a root that we
know (`vault.unixfs.walk`), never from the roots a header claims. Source: the CARv1 specification of IPLD.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Self

from core.encoding import Link, decode_cbor, encode_cbor, encode_uvarint
from core.errors import Corrupted, InvalidInput
from vault.blocks import MAX_BLOCK, Data, check_size, verify_block
from vault.cid import CID_SIZE, Cid
from vault.unixfs import read_full

MAX_HEADER = 64 << 10  # bytes; some 1,500 roots
MAX_FRAME = 4 + CID_SIZE  # bytes in front of a block: its length and its CID

_HINT = "Fetch the archive again, or export it anew; blocks read before this point were verified."


def encode_header(roots: Iterable[Cid] = ()) -> bytes:
    """The first bytes of a CARv1 file with these roots."""
    header = encode_cbor({"roots": [root.link for root in roots], "version": 1})
    return encode_uvarint(len(header)) + header


def encode_frame(cid: Cid, length: int) -> bytes:
    """What stands in front of a block of `length` bytes."""
    return encode_uvarint(CID_SIZE + length) + cid.bytes


def write_car(sink: BinaryIO, roots: Iterable[Cid], blocks: Iterable[tuple[Cid, Data]]) -> int:
    """Write a CAR of `blocks` in the order given and return its length in bytes."""
    header = encode_header(roots)
    sink.write(header)
    total = len(header)
    for cid, data in blocks:
        length = check_size(data)
        frame = encode_frame(cid, length)
        sink.write(frame)
        sink.write(data)
        total += len(frame) + length
    return total


@dataclass(frozen=True, slots=True)
class Car:
    """An archive being read: the roots it claims, and its blocks, which can be iterated once."""

    roots: tuple[Cid, ...]
    blocks: Iterator[tuple[Cid, bytes]]

    @classmethod
    def read(cls, stream: BinaryIO, *, limit: int | None = None) -> Self:
        """Begin to read; `limit` caps the whole file in bytes. Every error of the format is `Corrupted`."""
        budget = _Budget(stream, limit)
        length = budget.uvarint()
        if length is None or not 0 < length <= MAX_HEADER:
            raise Corrupted("Not a CARv1 file: it has no header of a sensible length.", hint=_HINT)
        return cls(_roots(budget.exactly(length)), _sections(budget))


def _roots(data: bytes) -> tuple[Cid, ...]:
    try:
        header = decode_cbor(data)
        if not isinstance(header, dict) or header.get("version") != 1 or set(header) != {"roots", "version"}:
            hint = "Export it as CAR version 1." if isinstance(header, dict) and header.get("version") == 2 else _HINT
            raise Corrupted("The archive's header is not that of CAR version 1.", hint=hint)
        roots = header["roots"]
        if type(header["version"]) is not int or not isinstance(roots, list):
            raise InvalidInput("roots are a list and the version is a number")
        if not all(isinstance(root, Link) for root in roots):
            raise InvalidInput("a root is a link")
        return tuple(Cid.from_link(root) for root in roots)
    except InvalidInput as error:
        raise Corrupted(f"The archive's header cannot be read: {error.message}", hint=_HINT) from None


def _sections(budget: _Budget) -> Iterator[tuple[Cid, bytes]]:
    while (length := budget.uvarint()) is not None:
        if not CID_SIZE <= length <= CID_SIZE + MAX_BLOCK:
            raise Corrupted(f"The archive announces a block of {length - CID_SIZE} bytes.", hint=_HINT)
        try:
            cid = Cid.parse(budget.exactly(CID_SIZE))
        except InvalidInput as error:
            raise Corrupted(f"The archive holds a block under another kind of CID: {error.message}") from None
        data = budget.exactly(length - CID_SIZE)
        verify_block(cid, data)
        yield cid, data


class _Budget:
    """Reads from a stream, no more than was allowed and never half of what was announced."""

    def __init__(self, stream: BinaryIO, limit: int | None) -> None:
        self._stream = stream
        self._left = limit

    def exactly(self, length: int) -> bytes:
        data = self._read(length)
        if len(data) < length:
            raise Corrupted("The archive is cut short.", hint=_HINT)
        return data

    def uvarint(self) -> int | None:
        """The next length, or None at the file's end."""
        number = 0
        for position in range(4):  # 2^28: above every length that is allowed
            byte = self._read(1)
            if not byte:
                if position == 0:
                    return None
                raise Corrupted("The archive is cut short.", hint=_HINT)
            number |= (byte[0] & 0x7F) << (7 * position)
            if byte[0] < 0x80:
                if byte[0] == 0 and position > 0:
                    break
                return number
        raise Corrupted("The archive holds a length that is malformed or far too large.", hint=_HINT)

    def _read(self, length: int) -> bytes:
        if self._left is not None:
            if length > self._left:
                rest = memoryview(bytearray(self._left + 1))
                if read_full(self._stream, rest) == len(rest):
                    raise Corrupted("The archive is larger than expected.", hint=_HINT)
                self._left = 0
                return b""
            self._left -= length
        data = bytearray(length)
        return bytes(data[: read_full(self._stream, memoryview(data))])
