"""ABI encoding of one contract's functions and events. Addresses are 20 raw bytes both ways; hex appears nowhere.

Structs are given as sequences in field order or as mappings by field name, and come back as tuples. A value that does
not fit its type is `InvalidInput`; bytes from a chain that do not decode are `Unavailable`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from eth_abi.codec import ABICodec
from eth_abi.decoding import AddressDecoder
from eth_abi.encoding import AddressEncoder
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import registry as _standard
from eth_hash.auto import keccak

from core.errors import InvalidInput, Unavailable

ArgumentTypes = Sequence[Mapping[str, Any]]


class _RawAddressDecoder(AddressDecoder):
    decoder_fn = staticmethod(bytes)  # type: ignore[assignment]


def _codec() -> ABICodec:
    registry = _standard.copy()  # type: ignore[no-untyped-call]
    registry.unregister_encoder("address")
    registry.unregister_decoder("address")
    registry.register("address", AddressEncoder, _RawAddressDecoder, label="address")
    return ABICodec(registry)


_CODEC = _codec()


def type_name(argument: Mapping[str, Any]) -> str:
    """The canonical type of an ABI argument: a struct becomes its fields in parentheses."""
    kind = str(argument["type"])
    if kind.startswith("tuple"):
        return f"({','.join(map(type_name, argument['components']))}){kind[5:]}"
    return kind


def signature_of(entry: Mapping[str, Any]) -> str:
    """`name(type,…)`, whose Keccak-256 is the selector or topic."""
    return f"{entry['name']}({','.join(map(type_name, entry['inputs']))})"


def _ordered(argument: Mapping[str, Any], value: Any) -> Any:
    """`value` with every struct in it as a tuple in field order."""
    kind = str(argument["type"])
    if not kind.startswith("tuple"):
        return value
    if kind.endswith("]"):
        element = {**argument, "type": kind[: kind.rindex("[")]}
        return [_ordered(element, item) for item in value]
    fields: ArgumentTypes = argument["components"]
    if isinstance(value, Mapping):
        if value.keys() != {field["name"] for field in fields}:
            raise InvalidInput(f"Expected the fields {', '.join(field['name'] for field in fields)}.")
        value = [value[field["name"]] for field in fields]
    if len(value) != len(fields):
        raise InvalidInput(f"A struct of {len(fields)} fields was given {len(value)} values.")
    return tuple(_ordered(field, item) for field, item in zip(fields, value, strict=True))


def encode_values(arguments: ArgumentTypes, values: Sequence[Any]) -> bytes:
    """The values as ABI bytes."""
    if len(arguments) != len(values):
        raise InvalidInput(f"Expected {len(arguments)} arguments, got {len(values)}.")
    try:
        ordered = [_ordered(argument, value) for argument, value in zip(arguments, values, strict=True)]
        return _CODEC.encode([type_name(argument) for argument in arguments], ordered)
    except (EncodingError, TypeError, ValueError, OverflowError):
        names = ", ".join(type_name(argument) for argument in arguments)
        raise InvalidInput(f"The values do not fit the types ({names}).") from None


def decode_values(arguments: ArgumentTypes, data: bytes) -> tuple[Any, ...]:
    """ABI bytes from a chain as values."""
    try:
        return tuple(_CODEC.decode([type_name(argument) for argument in arguments], data))
    except (DecodingError, ValueError, OverflowError):
        raise Unavailable(
            "The chain returned bytes that do not fit the contract's interface.",
            hint="Check the contract's address and that the endpoint serves the right chain.",
        ) from None


def _is_hashed(argument: Mapping[str, Any]) -> bool:
    """Whether an indexed argument is in its topic as a hash only."""
    kind = str(argument["type"])
    return kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("tuple")


class Interface:
    """The functions and events of one ABI (the JSON list a compiler writes)."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries

    @cached_property
    def _functions(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        return {(e["name"], len(e["inputs"])): e for e in self._entries if e["type"] == "function"}

    @cached_property
    def _events(self) -> dict[str, Mapping[str, Any]]:
        return {entry["name"]: entry for entry in self._entries if entry["type"] == "event"}

    @cached_property
    def _by_topic(self) -> dict[bytes, Mapping[str, Any]]:
        return {keccak(signature_of(entry).encode()): entry for entry in self._events.values()}

    def _function(self, name: str, count: int) -> Mapping[str, Any]:
        try:
            return self._functions[name, count]
        except KeyError:
            raise InvalidInput(f"The contract has no function {name} of {count} arguments.") from None

    def encode_call(self, name: str, arguments: Sequence[Any]) -> bytes:
        """Selector and arguments of a call."""
        function = self._function(name, len(arguments))
        return keccak(signature_of(function).encode())[:4] + encode_values(function["inputs"], arguments)

    def decode_call(self, data: bytes) -> tuple[str, tuple[Any, ...]] | None:
        """Name and arguments of a call, or None if it is to no function of this contract or does not decode."""
        for (name, _), function in self._functions.items():
            if data[:4] == keccak(signature_of(function).encode())[:4]:
                try:
                    return name, decode_values(function["inputs"], data[4:])
                except Unavailable:
                    return None
        return None

    def decode_result(self, name: str, count: int, data: bytes) -> Any:
        """What a function of `count` arguments returned: nothing, one value, or a tuple."""
        values = decode_values(self._function(name, count)["outputs"], data)
        return values[0] if len(values) == 1 else values or None

    def encode_constructor(self, arguments: Sequence[Any]) -> bytes:
        """Constructor arguments, as they follow the bytecode."""
        for entry in self._entries:
            if entry["type"] == "constructor":
                return encode_values(entry["inputs"], arguments)
        return encode_values([], arguments)

    def event_topics(self, name: str, indexed: Mapping[str, Any]) -> list[bytes | list[bytes] | None]:
        """The topics that select an event; a list as value means any of its items."""
        try:
            event = self._events[name]
        except KeyError:
            raise InvalidInput(f"The contract has no event {name}.") from None
        fields = [argument for argument in event["inputs"] if argument["indexed"]]
        if unknown := indexed.keys() - {field["name"] for field in fields}:
            raise InvalidInput(f"Event {name} has no indexed {', '.join(sorted(unknown))}.")
        topics: list[bytes | list[bytes] | None] = [keccak(signature_of(event).encode())]
        for field in fields:
            value = indexed.get(field["name"])
            if _is_hashed(field) and value is not None:
                raise InvalidInput(f"{field['name']} of event {name} is on chain as a hash only.")
            if isinstance(value, list):
                topics.append([encode_values([field], [item]) for item in value])
            else:
                topics.append(None if value is None else encode_values([field], [value]))
        return topics

    def decode_log(self, topics: Sequence[bytes], data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and arguments of a log, or None if it is no event of this contract; hashed arguments stay hashes."""
        event = self._by_topic.get(topics[0]) if topics else None
        if event is None:
            return None
        indexed = [argument for argument in event["inputs"] if argument["indexed"]]
        plain = [argument for argument in event["inputs"] if not argument["indexed"]]
        if len(topics) != 1 + len(indexed):
            return None
        values = dict(zip((argument["name"] for argument in plain), decode_values(plain, data), strict=True))
        for argument, topic in zip(indexed, topics[1:], strict=True):
            values[argument["name"]] = topic if _is_hashed(argument) else decode_values([argument], topic)[0]
        return str(event["name"]), {argument["name"]: values[argument["name"]] for argument in event["inputs"]}
