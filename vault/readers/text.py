"""Plain text and Markdown as records of at most 4 KiB, whole where possible.

A file is a row of blocks: paragraphs parted by blank lines, a fenced code block being one. Blocks are joined into a
record until the next one no longer fits; then the record ends at its last heading if it has one further on, else
here. So a short file is one record and a long one falls apart at headings and paragraphs. A block of three or more
lines that are sentences of their own (a note a line) gives one record a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vault.readers.record import BrokenRecord, Draft
from vault.readers.source import lines

RECORD: Final = 4 << 10  # UTF-8 bytes of one record at most
BLOCK: Final = 64 << 10  # a longer paragraph is taken apart where it reaches this

_GAP: Final = 2  # bytes of the blank line between blocks
_HEADING = re.compile(r"#{1,6}\s")
_FENCE = re.compile(r"\s*(```|~~~)")
_MARKUP = re.compile(r"[#>|`~\s]|[-*+]\s|\d+[.)]\s")  # how lines begin that belong to those around them
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
_BREAK = re.compile(r"(?<=[.!?…])\s+|\s+")


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str


class _Block:
    """A stretch of text with its lines, and its size in UTF-8 bytes."""

    __slots__ = ("first", "is_heading", "last", "size", "text")

    def __init__(self, first: int, last: int, text: str) -> None:
        self.first, self.last, self.text = first, last, text
        self.size = len(text) if text.isascii() else len(text.encode("utf-8"))
        self.is_heading = _HEADING.match(text) is not None


def read_text(stream: Iterator[bytes]) -> Iterator[Draft | BrokenRecord]:
    """The records of a text; a line that is not UTF-8 text is broken and stands apart."""
    group: list[_Block] = []
    size = 0
    for item in _paragraphs(stream):
        if isinstance(item, BrokenRecord):
            yield from _finished(group)
            group, size = [], 0
            yield item
        elif _is_list_of_notes(item):
            yield from _finished(group)
            group, size = [], 0
            for line in item:
                yield from (_drafted([part]) for part in _cut(_Block(line.number, line.number, line.text.strip())))
        else:
            for block in _blocks(item):
                group.append(block)
                size += block.size + _GAP
                while size - _GAP > RECORD:
                    at = _end_of_record(group)
                    yield _drafted(group[:at])
                    group = group[at:]
                    size = sum(kept.size + _GAP for kept in group)
    yield from _finished(group)


def _paragraphs(stream: Iterator[bytes]) -> Iterator[list[_Line] | BrokenRecord]:
    """Runs of lines without a blank one between them, outside of fenced code."""
    run: list[_Line] = []
    size = 0
    fence = ""
    for number, data, _ in lines(stream, BLOCK):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            if run:
                yield run
            run, size, fence = [], 0, ""
            yield BrokenRecord(f"line {number}", "The line is not UTF-8 text.")
            continue
        if mark := _FENCE.match(text):
            if not fence:
                fence = mark.group(1)
            elif mark.group(1) == fence:
                fence = ""
        blank = not text.strip()
        if run and ((blank and not fence) or size + len(data) > BLOCK):
            yield run
            run, size = [], 0
        if not blank or (fence and run):
            run.append(_Line(number, text))
            size += len(data) + 1
    if run:
        yield run


def _is_list_of_notes(run: list[_Line]) -> bool:
    """Whether nine in ten lines are sentences of their own and none is markup: wrapped prose is neither."""
    if len(run) < 3 or any(_MARKUP.match(line.text) or line.text[:1].islower() for line in run):
        return False
    ended = sum(1 for line in run if _SENTENCE_END.search(line.text.rstrip()))
    return ended * 10 >= len(run) * 9


def _blocks(run: list[_Line]) -> Iterator[_Block]:
    """A run as blocks that fit a record: headings apart from what stands right under them, long runs cut."""
    part: list[_Line] = []
    fenced = False
    for line in run:
        if part and not fenced and _HEADING.match(line.text):
            yield from _cut(_joined(part))
            part = []
        fenced ^= _FENCE.match(line.text) is not None
        part.append(line)
    yield from _cut(_joined(part))


def _joined(part: list[_Line]) -> _Block:
    return _Block(part[0].number, part[-1].number, "\n".join(line.text.rstrip() for line in part))


def _cut(block: _Block) -> Iterator[_Block]:
    """The block in pieces of at most 4 KiB: at line ends, else behind sentences, else at spaces, else anywhere."""
    if block.size <= RECORD:
        yield block
        return
    number, start, text = block.first, block.first, ""
    for row in block.text.split("\n"):
        joined = f"{text}\n{row}" if text else row
        if len(joined.encode("utf-8")) <= RECORD:
            text = joined
        else:
            if text.strip():
                yield _Block(start, number - 1, text)
            start, text = number, row
            while len(text.encode("utf-8")) > RECORD:
                head, text = _split(text)
                yield _Block(number, number, head)
        number += 1
    if text.strip():
        yield _Block(start, block.last, text)


def _split(text: str) -> tuple[str, str]:
    """The longest good beginning of at most 4 KiB, and the rest."""
    fits = text.encode("utf-8")[:RECORD].decode("utf-8", "ignore")
    breaks = [found for found in _BREAK.finditer(fits) if found.start() > len(fits) // 2]
    sentences = [found for found in breaks if fits[found.start() - 1] in ".!?…"]
    best = (sentences or breaks)[-1:] or None
    if best is None:
        return fits, text[len(fits) :]
    return fits[: best[0].start()], text[best[0].end() :]


def _end_of_record(group: list[_Block]) -> int:
    """How many blocks of a group that is one block too long make a record."""
    for at in range(len(group) - 1, 0, -1):
        if group[at].is_heading and not group[at - 1].is_heading:
            return at
    return len(group) - 1


def _drafted(blocks: list[_Block]) -> Draft:
    first, last = blocks[0].first, blocks[-1].last
    place = f"line {first}" if first == last else f"lines {first}–{last}"
    return Draft(place, "\n\n".join(block.text for block in blocks))


def _finished(group: list[_Block]) -> Iterator[Draft]:
    if group:
        yield _drafted(group)
