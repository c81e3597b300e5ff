"""What the broker and the trainer child say to each other: length-prefixed dag-cbor over a pair of pipes.

A frame is a 4-byte big-endian length and that many bytes of deterministic dag-cbor holding a map with a `kind`.
docs/format/70-model.md lists the kinds. Records cross as token numbers only, and only towards the child.
What comes back is numbers, the adapter's bytes, and error sentences that are ours.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import IO, Any

from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput
from finetune.packing import Row

MAX_FRAME = 64 << 20
MAX_STEP_TOKENS = 4 << 20  # of one step: at twelve bytes each they stay below a frame
FILE_CHUNK = 1 << 20
MAX_STATE = 2 * 10**9  # bytes of a training run: an adapter of 512 MiB, its two moments, and some room
MICRO = 1_000_000


class Torn(Corrupted):
    """The stream ended inside a frame: whoever wrote it has died."""


def write_frame(stream: IO[bytes], frame: dict[str, Any]) -> None:
    """Send one frame; `BrokenPipeError` if nobody reads any more."""
    body = encode_cbor(frame)
    if len(body) > MAX_FRAME:
        raise InvalidInput(f"A frame of {len(body)} bytes; at most {MAX_FRAME} go through the trainer's pipe.")
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


def read_frame(stream: IO[bytes], *, limit: int = MAX_FRAME) -> dict[str, Any] | None:
    """The next frame, or None where the stream ended between two frames.

    A length above `limit` is refused before anything of that size is read.
    """
    head = _read(stream, 4)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if len(head) < 4:
        raise Torn("The trainer's pipe ended inside a frame.")
    if length > limit:
        raise Corrupted("The trainer's pipe carries something that is not a frame.")
    body = _read(stream, length)
    if len(body) < length:
        raise Torn("The trainer's pipe ended inside a frame.")
    try:
        frame = decode_cbor(body, limit=limit)
    except InvalidInput:
        raise Corrupted("The trainer's pipe carries something that is not a frame.") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("kind"), str):
        raise Corrupted("A frame on the trainer's pipe has no kind.")
    return frame


def _read(stream: IO[bytes], length: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = stream.read(min(length, FILE_CHUNK))
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def numbers_to_bytes(numbers: Sequence[int]) -> bytes:
    """Whole numbers as signed 32-bit little-endian words."""
    try:
        words = array("i", numbers)
    except (OverflowError, TypeError):
        raise InvalidInput("Token numbers must fit 32 bits.") from None
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


def numbers_from_bytes(data: object) -> list[int]:
    """The numbers that `numbers_to_bytes` wrote."""
    if not isinstance(data, bytes) or len(data) % 4:
        raise Corrupted("A list of token numbers is damaged.")
    words = array("i", data)
    if sys.byteorder == "big":
        words.byteswap()
    return words.tolist()


def row_to_wire(row: Row) -> dict[str, bytes]:
    """The three lists of a row; which record and owner they come from stays with the broker."""
    return {
        "input_ids": numbers_to_bytes(row.input_ids),
        "labels": numbers_to_bytes(row.labels),
        "position_ids": numbers_to_bytes(row.position_ids),
    }


def row_from_wire(wire: object) -> Row:
    """A row as the child sees it, without parts: it learns no record id and no owner."""
    if not isinstance(wire, dict) or set(wire) != {"input_ids", "labels", "position_ids"}:
        raise Corrupted("A row on the trainer's pipe does not hold exactly its three lists.")
    ids, labels, positions = (numbers_from_bytes(wire[name]) for name in ("input_ids", "labels", "position_ids"))
    return Row(ids, labels, positions)
