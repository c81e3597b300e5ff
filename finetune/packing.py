"""Isolated packing: several documents share one row of tokens and never see each other.

A row carries token ids, labels and positions, and no attention mask. Positions start again at 0 with every document,
and from that the model builds its block mask itself; a two-dimensional mask of ones beside them would silently let
one owner's text into another's context. The first token of each document bears no loss, since the token in front of
it belongs to somebody else.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from core.errors import InvalidInput

NO_LOSS = -100


@dataclass(frozen=True)
class Document:
    """One tokenised record: its id, its owner's index in the job, its tokens, and labels (−100 = no loss)."""

    record: bytes
    owner: int
    ids: Sequence[int]
    labels: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.labels):
            raise InvalidInput("A record needs one label for each of its tokens.")


@dataclass(frozen=True)
class Part:
    """What a row holds of one record: `tokens` tokens, of which `loss_tokens` bear loss."""

    record: bytes
    owner: int
    tokens: int
    loss_tokens: int


@dataclass
class Row:
    """One packed row; `parts` lie in it one behind the other."""

    input_ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    position_ids: list[int] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    @property
    def loss_tokens(self) -> int:
        """How many tokens of this row bear loss."""
        return sum(label != NO_LOSS for label in self.labels)

    def append(self, document: Document) -> None:
        """Put `document` behind what is already here, isolated from it."""
        labels = [NO_LOSS, *document.labels[1:]]
        self.input_ids += document.ids
        self.labels += labels
        self.position_ids += range(len(document.ids))
        bearing = sum(label != NO_LOSS for label in labels)
        self.parts.append(Part(document.record, document.owner, len(document.ids), bearing))


class _Spaces:
    """Free space of open rows; finds the tightest one that still takes a piece."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        self.rows = 0

    def place(self, length: int, max_length: int, *, most: int | None = None) -> int | None:
        """The row for a piece of `length`, a new one where none fits; None if that would exceed `most` rows."""
        at = bisect_left(self._free, (length, -1))
        if at < len(self._free):
            free, row = self._free.pop(at)
        elif most is not None and self.rows >= most:
            return None
        else:
            free, row = max_length, self.rows
            self.rows += 1
        if free > length:
            insort(self._free, (free - length, row))
        return row


def _pieces(length: int, max_length: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, max_length):
        yield start, min(start + max_length, length)


def pack(documents: Iterable[Document], max_length: int) -> list[Row]:
    """Rows of at most `max_length` tokens, each document in the tightest row that takes it whole.

    A document longer than a row is cut into pieces that are isolated like documents of their own. The same
    documents in the same order give the same rows.
    """
    spaces, rows = _Spaces(), list[Row]()
    for document in documents:
        for start, end in _pieces(len(document.ids), max_length):
            row = spaces.place(end - start, max_length)
            assert row is not None
            if row == len(rows):
                rows.append(Row())
            rows[row].append(
                Document(document.record, document.owner, document.ids[start:end], document.labels[start:end])
            )
    return rows


def plan_steps(lengths: Sequence[int], max_length: int, rows_per_step: int) -> list[range]:
    """Cut a plan of records with these token counts into optimizer steps of at most `rows_per_step` packed rows.

    Each range holds consecutive plan positions. Records are never split over two steps, so one completed step
    completes its records; a record longer than a whole step gets a step of its own.
    """
    steps: list[range] = []
    first, spaces = 0, _Spaces()
    for position, length in enumerate(lengths):
        if not _fits(spaces, length, max_length, rows_per_step) and position > first:
            steps.append(range(first, position))
            first, spaces = position, _Spaces()
            _fits(spaces, length, max_length, rows_per_step)
    if first < len(lengths):
        steps.append(range(first, len(lengths)))
    return steps


def _fits(spaces: _Spaces, length: int, max_length: int, most: int) -> bool:
    return all(
        spaces.place(end - start, max_length, most=most) is not None for start, end in _pieces(length, max_length)
    )
