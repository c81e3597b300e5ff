"""Reading one field of an untrusted document: its exact keys, its type, its range.

Promises: whatever is not exactly of the asked form is `InvalidInput` that names the field; a bool is never an integer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.encoding import from_hex
from core.errors import InvalidInput

UINT16_MAX = 2**16 - 1
UINT40_MAX = 2**40 - 1
UINT64_MAX = 2**64 - 1
UINT96_MAX = 2**96 - 1
UINT256_MAX = 2**256 - 1


def exact_map(value: Any, keys: Iterable[str], what: str) -> dict[str, Any]:
    """`value` as a map with exactly these keys."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} is not a map.")
    wanted = set(keys)
    if unknown := set(value) - wanted:
        raise InvalidInput(f"{what} holds an unknown field: {sorted(map(repr, unknown))[0][:60]}.")
    if missing := wanted - set(value):
        raise InvalidInput(f"{what} lacks the field '{sorted(missing)[0]}'.")
    return value


def exact_list(value: Any, what: str, *, at_most: int, at_least: int = 0) -> list[Any]:
    """`value` as a list of a bounded length."""
    if not isinstance(value, list) or not at_least <= len(value) <= at_most:
        raise InvalidInput(f"{what} is not a list of {at_least} to {at_most} entries.")
    return value


def integer(value: Any, what: str, *, at_most: int, at_least: int = 0) -> int:
    """`value` as an integer in at_least … at_most."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{what} is not an integer.")
    if not at_least <= value <= at_most:
        raise InvalidInput(f"{what} is {value}; it must lie between {at_least} and {at_most}.")
    return value


def octets(value: Any, what: str, length: int) -> bytes:
    """`value` as exactly `length` bytes."""
    if not isinstance(value, bytes) or len(value) != length:
        raise InvalidInput(f"{what} is not {length} bytes long.")
    return value


def hex_octets(value: Any, what: str, length: int) -> bytes:
    """The `length` bytes that a lower-case 0x-prefixed text spells."""
    try:
        data = from_hex(value, length)
    except InvalidInput:
        raise InvalidInput(f"{what} is not {length} bytes of hex with 0x in front.") from None
    if value != value.lower():
        raise InvalidInput(f"{what} is not written in lower-case hex.")
    return data


def text(value: Any, what: str, *, at_most: int, at_least: int = 1) -> str:
    """`value` as text of a bounded number of characters."""
    if not isinstance(value, str) or not at_least <= len(value) <= at_most:
        raise InvalidInput(f"{what} is not a text of {at_least} to {at_most} characters.")
    return value


def constant(value: Any, expected: Any, what: str) -> None:
    """`value` is exactly `expected`, of the same type."""
    if type(value) is not type(expected) or value != expected:
        raise InvalidInput(f"{what} is not {expected!r}.", hint="It may come from another version of Allod.")
