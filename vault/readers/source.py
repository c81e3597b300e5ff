"""A file's bytes on their way to a reader: UTF-8 without a mark in front, in pieces, or in bounded lines.

Memory stays at one piece or one line, whatever the file's size.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

PIECE = 1 << 16


def pieces(data: BinaryIO | Iterable[bytes]) -> Iterator[bytes]:
    """The data in pieces, none of them empty."""
    if hasattr(data, "read"):
        while piece := data.read(PIECE):
            yield piece
        return
    for piece in data:
        if piece:
            yield piece


def peek(stream: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """The first `size` bytes or all there are, and a stream that begins with them again."""
    taken: list[bytes] = []
    length = 0
    while length < size:
        piece = next(stream, None)
        if piece is None:
            break
        taken.append(piece)
        length += len(piece)
    return b"".join(taken)[:size], chain(taken, stream)


def as_utf8(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The same text as UTF-8 without a byte-order mark; UTF-16 is recognised by its mark."""
    head, stream = peek(stream, 3)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        for piece in stream:
            if text := decoder.decode(piece):
                yield text.encode("utf-8", "replace")
        yield decoder.decode(b"", final=True).encode("utf-8", "replace")
        return
    skip = len(codecs.BOM_UTF8) if head == codecs.BOM_UTF8 else 0
    for piece in stream:
        yield piece[skip:]
        skip = max(0, skip - len(piece))


def lines(stream: Iterator[bytes], limit: int) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 1, line without its ending, whole) for each line.

    A line longer than `limit` comes as several parts of at most that size with the same number, all but its last
    marked as not whole; UTF-8 characters stay together. `\\n`, `\\r\\n` and a lone `\\r` end a line.
    """
    number, begun = 1, _Begun()
    held = b""  # a \r at the end of a piece may be half of a \r\n
    for fresh in stream:
        piece = held + fresh
        held = b"\r" if piece.endswith(b"\r") else b""
        found = piece[: len(piece) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in found[:-1]:
            begun.add(line)
            yield from ((number, part, whole) for part, whole in begun.parts(limit, ended=True))
            number += 1
        begun.add(found[-1])
        yield from ((number, part, whole) for part, whole in begun.parts(limit, ended=False))
    if begun.size or held:
        yield from ((number, part, whole) for part, whole in begun.parts(limit, ended=True))


class _Begun:
    """A line that has not ended yet, in the pieces it came in: joining them at every piece would be quadratic."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def parts(self, limit: int, *, ended: bool) -> Iterator[tuple[bytes, bool]]:
        """What can be given out: all of a line that has ended, else only what is beyond doubt too long."""
        if not ended and self.size <= limit:
            return
        rest = b"".join(self._pieces)
        while len(rest) > limit:
            cut = limit
            while cut > limit - 4 and rest[cut] & 0xC0 == 0x80:
                cut -= 1
            yield rest[:cut], False
            rest = rest[cut:]
        self._pieces, self.size = ([], 0) if ended else ([rest], len(rest))
        if ended:
            yield rest, True
