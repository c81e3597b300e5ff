"""JSON values out of a stream, one at a time, without holding the file.

`objects` finds where each object of a top-level array (or of a row of objects) ends by following brackets and strings,
so an object that does not parse, or is too large, costs that object only. Memory is bounded by the largest one, and
time by the file's size, however it is nested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_OBJECT: Final = 64 << 20
MAX_DEPTH: Final = 500  # open brackets; what is nested deeper is given up, and reading goes on inside of it

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')


def objects(stream: Iterator[bytes], limit: int = MAX_OBJECT) -> Iterator[bytes | None]:
    """The bytes of each object in turn; None for one too long or too deep, and for one the file cuts short."""
    scanner = _Scanner(limit)
    for piece in stream:
        yield from scanner.feed(piece)
    if scanner.open:
        yield None


def depth(data: bytes) -> int:
    """How many brackets of a JSON text are open at once, at most."""
    deepest = opened = position = 0
    in_string = False
    while found := (_INSIDE if in_string else _OUTSIDE).search(data, position):
        position = found.end()
        mark = found.group()
        if mark == b"\\":
            position += 1
        elif mark == b'"':
            in_string = not in_string
        else:
            opened += 1 if mark in b"{[" else -1
            deepest = max(deepest, opened)
    return deepest


class _Scanner:
    """Follows nesting by the stack of open brackets: empty between objects."""

    def __init__(self, limit: int) -> None:
        self.open = bytearray()
        self._limit = limit
        self._in_string = self._escaped = False
        self._kept = bytearray()
        self._too_long = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        start = position = 0  # `start`: where this piece's part of the current object begins
        while position < len(piece):
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            found = (_INSIDE if self._in_string else _OUTSIDE).search(piece, position)
            if found is None:
                break
            position = found.end()
            mark = found.group()
            if self._in_string:
                self._in_string = mark != b'"'
                self._escaped = mark == b"\\"
            elif not self.open:
                # Between objects only an opening brace begins something; brackets belong to the array around.
                if mark == b"{":
                    self.open += mark
                    start = found.start()
            elif mark == b'"':
                self._in_string = True
            elif mark in b"{[":
                self.open += mark
                if len(self.open) > MAX_DEPTH:
                    yield None
                    self._begin_anew()
            else:
                self._close(mark)
                if not self.open:
                    self._keep(piece[start:position])
                    yield None if self._too_long else bytes(self._kept)
                    self._begin_anew()
        if self.open:
            self._keep(piece[start:])

    def _begin_anew(self) -> None:
        self.open.clear()
        self._kept.clear()
        self._too_long = False

    def _close(self, mark: bytes) -> None:
        # A missing bracket inside must not swallow the objects behind: a closing one ends all within its partner.
        partner = b"{" if mark == b"}" else b"["
        at = self.open.rfind(partner)
        if at >= 0:
            del self.open[at:]

    def _keep(self, part: bytes) -> None:
        if self._too_long or len(self._kept) + len(part) > self._limit:
            self._too_long = True
            self._kept.clear()
        else:
            self._kept += part
