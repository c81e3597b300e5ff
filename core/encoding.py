"""Bytes in and out: hex, canonical JSON (RFC 8785), deterministic dag-cbor, unsigned varints.

Decoders are strict: one value has exactly one encoding, and anything else is `InvalidInput`. That is what
lets a signature over bytes be a signature over a meaning.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import cbor2
import rfc8785

from core.errors import InvalidInput

MAX_DEPTH = 32
MAX_SAFE_INT = 2**53 - 1


def to_hex(data: bytes) -> str:
    """`data` as lower-case hex with 0x in front."""
    return "0x" + data.hex()


def from_hex(text: object, length: int | None = None) -> bytes:
    """The bytes of a 0x-prefixed hex string; of exactly `length` bytes if given."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise InvalidInput("Expected hex that starts with 0x.")
    try:
        data = bytes.fromhex(text[2:])
    except ValueError:
        raise InvalidInput("Expected hex digits after 0x.") from None
    if len(data) * 2 != len(text) - 2 or (length is not None and len(data) != length):
        raise InvalidInput(f"Expected {length if length is not None else 'whole'} bytes of hex, got {len(data)}.")
    return data


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise InvalidInput("A JSON object names the same key twice.")
    return out


def _check_json(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"JSON nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        for item in value.values():
            _check_json(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_json(item, depth + 1)
    elif isinstance(value, float):
        raise InvalidInput("Allod documents hold no fractional numbers; write amounts as integers or strings.")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_SAFE_INT:
        raise InvalidInput("An integer beyond 2^53 − 1 cannot be written in canonical JSON; write it as a string.")


def encode_json(value: Any) -> bytes:
    """The RFC 8785 form of a document without fractional numbers."""
    _check_json(value)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, ValueError):
        raise InvalidInput("A document holds half a character, or a key that is no text.") from None


def decode_json(data: bytes, *, limit: int = 1 << 20) -> Any:
    """Parse canonical JSON; anything that would encode differently is `InvalidInput`."""
    if len(data) > limit:
        raise InvalidInput(f"Document of {len(data)} bytes; at most {limit} are accepted.")
    try:
        value = json.loads(data, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        raise InvalidInput("Not a JSON document.") from None
    if encode_json(value) != data:
        raise InvalidInput("The document is not in canonical form (RFC 8785).")
    return value


@dataclass(frozen=True, order=True)
class Link:
    """An IPLD link inside dag-cbor: tag 42 over 0x00 ‖ the binary CID."""

    cid: bytes


def _default(encoder: cbor2.CBOREncoder, value: Any) -> None:
    if isinstance(value, Link):
        encoder.encode(cbor2.CBORTag(42, b"\0" + value.cid))
        return
    raise InvalidInput(f"A value of type {type(value).__name__} has no dag-cbor form.")


def _check_cbor(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"dag-cbor nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidInput("dag-cbor maps have text keys only.")
            _check_cbor(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_cbor(item, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool):
        if not -(2**64) <= value < 2**64:
            raise InvalidInput("An integer beyond 64 bits has no dag-cbor form.")
    elif not isinstance(value, str | bytes | bool | Link | None):
        raise InvalidInput(f"A value of type {type(value).__name__} has no dag-cbor form here.")


def encode_cbor(value: Any) -> bytes:
    """Deterministic dag-cbor: shortest integers, map keys by length then bytes, no floats.

    Values are dict (text keys), list, bytes, str, int, bool, None and `Link`.
    """
    _check_cbor(value)
    try:
        return cbor2.dumps(value, canonical=True, default=_default)
    except UnicodeEncodeError:
        raise InvalidInput("A text with half a character has no dag-cbor form.") from None


def _tag(decoder: Any, tag: cbor2.CBORTag) -> Link:
    if tag.tag != 42 or not isinstance(tag.value, bytes) or tag.value[:1] != b"\0":
        raise InvalidInput("dag-cbor knows tag 42 (a link) only.")
    return Link(tag.value[1:])


def _refuse_foreign(data: bytes) -> None:
    """Walk the heads of all items: `InvalidInput` unless they are dag-cbor's, before anything is built from them.

    cbor2 knows tags (shared values, fractions, patterns) by which a few bytes stand for more than a machine can hold
    or compute.
    """
    at, left = 0, [1]  # how many items are still to come, at each level
    while left:
        if left[-1] == 0:
            left.pop()
            continue
        left[-1] -= 1
        head = data[at]
        kind, number = head >> 5, head & 31
        at += 1
        if number >= 24:
            length = 1 << number - 24
            if length > 8:
                raise InvalidInput("dag-cbor has no lengths left open.")
            number = int.from_bytes(data[at : at + length], "big")
            at += length
        if kind in (2, 3):
            at += number
        elif kind in (4, 5):
            if len(left) > MAX_DEPTH + 1:
                raise InvalidInput(f"dag-cbor nested deeper than {MAX_DEPTH} levels.")
            left.append(number if kind == 4 else 2 * number)
        elif kind == 6:
            if number != 42 or data[at] >> 5 != 2:
                raise InvalidInput("dag-cbor knows tag 42 (a link) only.")
            left[-1] += 1
        elif kind == 7 and head not in (0xF4, 0xF5, 0xF6):
            raise InvalidInput("dag-cbor holds true, false and null, and here no floats.")
    if at != len(data):
        raise InvalidInput("Not one dag-cbor value.")


def decode_cbor(data: bytes, *, limit: int = 4 << 20) -> Any:
    """Parse deterministic dag-cbor; anything that would encode differently is `InvalidInput`."""
    if len(data) > limit:
        raise InvalidInput(f"Block of {len(data)} bytes; at most {limit} are accepted.")
    stream = io.BytesIO(data)
    try:
        _refuse_foreign(data)
        value = cbor2.CBORDecoder(stream, tag_hook=_tag).decode()
        same = encode_cbor(value) == data
    except InvalidInput:
        raise
    except Exception:
        raise InvalidInput("Not a dag-cbor value.") from None
    if not same:
        raise InvalidInput("The value is not in deterministic dag-cbor form.")
    return value


def encode_uvarint(number: int) -> bytes:
    """Unsigned LEB128, as multiformats use it."""
    if number < 0:
        raise InvalidInput("A varint is never negative.")
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_uvarint(data: bytes | memoryview, offset: int = 0) -> tuple[int, int]:
    """The number at `offset` and the offset behind it; minimal form and at most nine bytes."""
    number = shift = 0
    for position in range(offset, min(offset + 9, len(data))):
        byte = data[position]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if byte == 0 and position > offset:
                raise InvalidInput("A varint with a needless zero byte.")
            return number, position + 1
    raise InvalidInput("A varint that does not end.")
