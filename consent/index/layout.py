"""Raw JSON logs of our contracts as events, without an ABI codec in the loop.

Every argument of our events is one 32-byte word, so a log is its words in the order topics, data: what lies where is
worked out once from the ABI, and a log then costs some slices. Promises: what comes out equals `Contract.decode`; a log
of another contract, of an unknown event, out of order, twice, removed, or with a word that its type cannot hold is an
error, never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from eth_hash.auto import keccak

from consent.chain.abi import signature_of
from consent.chain.contract import Event
from consent.chain.deployment import Deployment
from consent.contracts import load
from core.encoding import to_hex
from core.errors import InvalidInput
from core.ids import Address

WORD = 32
INTEGER_MAX = 2**31 - 1

_ARTIFACTS = {"registry": "DataRegistry", "token": "ConsentToken", "escrow": "JobEscrow"}

# Which key column an argument fills. A consent moves only from nobody or to nobody, so the two ends of a Transfer share
# one column: the one that is somebody stays.
_COLUMNS = {
    "owner": "owner",
    "asset": "asset",
    "token_id": "consent",
    "tokenId": "consent",
    "id": "consent",
    "consent": "consent",
    "sender": "holder",
    "receiver": "holder",
    "payer": "payer",
    "payee": "payee",
    "lane": "lane",
}
KEYS = ("owner", "holder", "payer", "payee", "asset", "consent", "lane")

_READERS: dict[str, Callable[[bytes], Any]] = {
    "address": lambda word: word[12:],
    "bytes32": lambda word: word,
    "bool": lambda word: word[31] == 1,
    "uint": lambda word: int.from_bytes(word, "big"),
}


class Field(NamedTuple):
    """One argument: its name, the place of its word, and how a word becomes its value."""

    name: str
    start: int
    kind: str


@dataclass(frozen=True)
class Layout:
    """One event of one contract. `fields` stand in the order of the ABI, their words in that of topics and data."""

    contract: str
    name: str
    topics: int
    size: int
    fields: tuple[Field, ...]
    zeros: tuple[tuple[int, int], ...]
    booleans: tuple[int, ...]
    keys: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, contract: str, entry: Mapping[str, Any]) -> Layout:
        """Work out the layout of an ABI's event."""
        inputs = entry["inputs"]
        ordered = [item for item in inputs if item["indexed"]] + [item for item in inputs if not item["indexed"]]
        places = {item["name"]: number * WORD for number, item in enumerate(ordered)}
        fields, zeros, booleans, keys = [], [], [], []
        for item in inputs:
            kind, start = str(item["type"]), places[item["name"]]
            used = WORD
            if kind.startswith("uint"):
                kind, used = "uint", int(kind[4:]) // 8
            elif kind in ("address", "bool"):
                used = 20 if kind == "address" else 1
            if kind not in _READERS:
                raise ValueError(f"{entry['name']} has an argument of type {kind}, which is not one plain word")
            if used < WORD:
                zeros.append((start, start + WORD - used))
            if kind == "bool":
                booleans.append(start + WORD - 1)
            if column := _COLUMNS.get(item["name"]):
                keys.append((column, start + WORD - used if kind == "address" else start, start + WORD))
            fields.append(Field(item["name"], start, kind))
        topics = sum(item["indexed"] for item in inputs)
        size = len(inputs) * WORD
        return cls(contract, entry["name"], topics, size, tuple(fields), tuple(zeros), tuple(booleans), tuple(keys))

    def args(self, words: bytes) -> dict[str, Any]:
        """The arguments by name, as the generic decoder gives them."""
        return {name: _READERS[kind](words[start : start + WORD]) for name, start, kind in self.fields}

    def filters(self, wanted: Mapping[str, object]) -> dict[str, bytes]:
        """The key columns and values by which events with these arguments are found; other arguments are left out."""
        if unknown := wanted.keys() - {field.name for field in self.fields}:
            raise InvalidInput(f"Event {self.name} has no argument {', '.join(sorted(unknown))}.")
        found = {}
        for name, value in wanted.items():
            word = value.to_bytes(WORD, "big") if isinstance(value, int) else value
            if isinstance(word, bytes) and any(word) and name in _COLUMNS:  # nobody is in no column, see above
                found[_COLUMNS[name]] = word
        return found

    def key_columns(self, words: bytes) -> dict[str, bytes | None]:
        """The values of all key columns; None where the event has no such argument."""
        columns: dict[str, bytes | None] = dict.fromkeys(KEYS)
        for column, start, stop in self.keys:
            value = words[start:stop]
            if columns[column] is None or any(value):
                columns[column] = value
        return columns


class Found(NamedTuple):
    """One event where it stands; `words` are its arguments' words in the order of its layout."""

    block: int
    block_hash: bytes
    tx_index: int
    tx_hash: bytes
    log_index: int
    layout: Layout
    words: bytes

    @property
    def event(self) -> Event:
        """What `Contract.decode` makes of the same log."""
        args = self.layout.args(self.words)
        return Event(self.layout.name, args, self.block, self.block_hash, self.tx_hash, self.log_index)


class Layouts:
    """Every event of a deployment's contracts."""

    def __init__(self, deployment: Deployment) -> None:
        addresses = {
            "registry": deployment.registry,
            "token": deployment.consent_token,
            "escrow": deployment.escrow,
        }
        self.addresses: list[Address] = list(addresses.values())
        self._by_topic: dict[tuple[str, str], Layout] = {}
        self._by_name: dict[tuple[str, str], Layout] = {}
        for contract, artifact in _ARTIFACTS.items():
            for entry in load(artifact).abi:
                if entry["type"] == "event":
                    layout = Layout.of(contract, entry)
                    topic = to_hex(keccak(signature_of(entry).encode()))
                    self._by_topic[to_hex(addresses[contract]), topic] = layout
                    self._by_name[contract, layout.name] = layout

    def named(self, contract: str, name: str) -> Layout:
        """The layout of an event; `InvalidInput` if that contract has none of this name."""
        try:
            return self._by_name[contract, name]
        except KeyError:
            raise InvalidInput(f"The {contract} has no event {name}.") from None

    def read(self, logs: Any) -> list[Found]:
        """What a node answered to eth_getLogs, as events; anything that is off raises one of the errors of parsing."""
        if not isinstance(logs, list):
            raise ValueError("no list of logs")
        return list(self._read(logs))

    def _read(self, logs: list[dict[str, Any]]) -> Iterator[Found]:
        before = (-1, -1, -1)
        for log in logs:
            topics, data = log["topics"], log["data"]
            if log.get("removed") or not topics:
                raise ValueError("a log that counts no more, or of no event")
            layout = self._by_topic[log["address"].lower(), topics[0].lower()]
            text = data[2:] if len(topics) == 1 else "".join([topic[2:] for topic in topics[1:]]) + data[2:]
            words = bytes.fromhex(text)
            if len(topics) != layout.topics + 1 or len(words) != layout.size or len(text) != 2 * layout.size:
                raise ValueError("a log with more or fewer words than its event")
            if data[:2] != "0x" or any(len(topic) != 66 or topic[:2] != "0x" for topic in topics):
                raise ValueError("malformed words")
            for start, stop in layout.zeros:
                if words.count(0, start, stop) != stop - start:
                    raise ValueError("a word too large for its type")
            for place in layout.booleans:
                if words[place] > 1:
                    raise ValueError("a word that is neither true nor false")
            found = Found(
                _quantity(log["blockNumber"], 2**63 - 1),
                _hash(log["blockHash"]),
                _quantity(log["transactionIndex"], INTEGER_MAX),
                _hash(log["transactionHash"]),
                _quantity(log["logIndex"], INTEGER_MAX),
                layout,
                words,
            )
            place_now = (found.block, found.log_index, found.tx_index)
            if place_now[:2] <= before[:2] or (found.block == before[0] and found.tx_index < before[2]):
                raise ValueError("logs out of order, or twice")
            before = place_now
            yield found


def _quantity(text: str, most: int) -> int:
    digits = text[2:]
    if text[:2] != "0x" or not (digits.isascii() and digits.isalnum()):
        raise ValueError("not a quantity")
    number = int(digits, 16)
    if number > most:
        raise ValueError("a number beyond all bounds")
    return number


def _hash(text: str) -> bytes:
    value = bytes.fromhex(text[2:])
    if len(text) != 66 or text[:2] != "0x" or len(value) != WORD:
        raise ValueError("not a hash")
    return value
