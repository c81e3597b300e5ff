"""Reading dag-cbor documents strictly: exactly the members a kind has, each of its type and size.

Every document of the vault is a map with `v` = 1 and a `kind`. `read_document` refuses a member too many, one
missing, or one of another type with `InvalidInput`, so that code behind it holds values, never maps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.encoding import Link, decode_cbor
from core.errors import InvalidInput
from vault.cid import Cid

MAX_COUNT = 2**53 - 1  # what every implementation can count exactly


class Members:
    """The members of one document, each read once by the type it must have."""

    def __init__(self, what: str, values: dict[str, Any]) -> None:
        self._what = what
        self._values = values

    def _wrong(self, name: str, wanted: str) -> InvalidInput:
        return InvalidInput(f"The {self._what} document has no {wanted} in its member {name!r}.")

    def octets(self, name: str, length: int | None = None) -> bytes:
        """A byte string; of exactly `length` bytes if given."""
        value = self._values[name]
        if not isinstance(value, bytes) or (length is not None and len(value) != length):
            raise self._wrong(name, f"{length} bytes" if length is not None else "bytes")
        return value

    def number(self, name: str, low: int = 0, high: int = MAX_COUNT) -> int:
        """An integer from `low` to `high`."""
        value = self._values[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, f"integer from {low} to {high}")
        return value

    def text(self, name: str) -> str:
        """A text."""
        value = self._values[name]
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def cid(self, name: str) -> Cid:
        """A link."""
        value = self._values[name]
        if not isinstance(value, Link):
            raise self._wrong(name, "link")
        return Cid.from_link(value)

    def cids(self, name: str) -> tuple[Cid, ...]:
        """A list of links."""
        return tuple(Cid.from_link(item) for item in self._items(name, Link, "list of links"))

    def chunks(self, name: str, length: int | None = None) -> tuple[bytes, ...]:
        """A list of byte strings; each of exactly `length` bytes if given."""
        items = tuple(self._items(name, bytes, "list of bytes"))
        if length is not None and any(len(item) != length for item in items):
            raise self._wrong(name, f"list of {length} bytes each")
        return items

    def document(self, name: str) -> dict[str, Any]:
        """A map of its own."""
        value = self._values[name]
        if not isinstance(value, dict):
            raise self._wrong(name, "map")
        return value

    def _items(self, name: str, kind: type[Any], wanted: str) -> list[Any]:
        value = self._values[name]
        if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
            raise self._wrong(name, wanted)
        return value


def read_document(data: bytes, kind: str, names: Iterable[str]) -> Members:
    """The members of a document of version 1 and this kind, which has exactly `names` besides `v` and `kind`."""
    value = decode_cbor(data)
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise InvalidInput(f"The bytes are no {kind} document.")
    if value.get("v") != 1 or isinstance(value["v"], bool):
        raise InvalidInput(
            f"The {kind} document has a version that this program does not know.", hint="Install a newer Allod."
        )
    return read_map(value, kind, {"v", "kind", *names})


def read_map(value: Any, what: str, names: Iterable[str]) -> Members:
    """The members of a map that has exactly `names`."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise InvalidInput(f"The {what} document has other members than it should.")
    return Members(what, value)
