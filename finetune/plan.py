"""The plan of a job: which record is trained on when, fixed and signed before the first step.

A plan lists every consented object with the token count of each of its records. Order and steps are not
stored: they follow from the recipe's seed by a rule anyone can repeat (docs/format/71-plan-ledger.md). So two
runs of one plan step on the same records in the same order, a run resumes by the number of a step, and the
plan says nothing about what the records contain. Exact bytes: docs/format/71-plan-ledger.md.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from core.encoding import Link, decode_cbor, encode_cbor
from core.errors import InvalidInput
from core.ids import Address, ConsentId, JobId, ObjectId
from finetune.packing import plan_steps

PLAN_LABEL = b"allod/plan/v1\0"
ORDER_LABEL = b"allod/plan-order/v1\0"
PLAN_LIMIT = 256 << 20  # bytes of one encoded plan: some fifty million records
MAX_EPOCHS = 1000
MAX_SEQUENCE = 1 << 20
MAX_ROWS = 1 << 16


class Signer(Protocol):
    """The runner's signing side, as `consent.chain.account.Account` offers it."""

    def sign_hash(self, digest: bytes) -> bytes:
        """r ‖ s ‖ v over `digest`."""
        ...


@dataclass(frozen=True)
class PlannedObject:
    """One object of the plan: whose it is, where its ciphertext lies, and how long each record is in tokens."""

    object_id: ObjectId
    consent: ConsentId
    owner: Address
    payload: Link
    tokens: array[int]  # one u32 for each record, in the reader's order


@dataclass(frozen=True)
class Step:
    """One optimizer step: its number from 0, its epoch, and the numbers of its records."""

    number: int
    epoch: int
    records: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """An ordered list of records. Records are numbered from 0, object by object, in the order of `objects`."""

    job: JobId
    recipe: bytes
    seed: int
    epochs: int
    sequence: int
    rows: int
    objects: tuple[PlannedObject, ...]
    _starts: array[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(len(self.job) == 32 and len(self.recipe) == 32, "A plan names a job and a recipe of 32 bytes each.")
        _check(0 <= self.seed < 2**53, "A plan’s seed is between 0 and 2^53 − 1.")
        _check(1 <= self.epochs <= MAX_EPOCHS, f"A plan has 1 to {MAX_EPOCHS} epochs.")
        _check(2 <= self.sequence <= MAX_SEQUENCE, f"A row has 2 to {MAX_SEQUENCE} tokens.")
        _check(1 <= self.rows <= MAX_ROWS, f"A step has 1 to {MAX_ROWS} rows.")
        starts = array("Q", [0])
        seen: set[tuple[bytes, bytes]] = set()
        for item in self.objects:
            key = (item.consent, item.object_id)
            _check(key not in seen, "A plan lists an object twice under one consent.")
            _check(len(item.object_id) == 32 and len(item.consent) == 32, "Object and consent ids have 32 bytes.")
            _check(len(item.owner) == 20, "An owner's address has 20 bytes.")
            _check(all(count > 0 for count in item.tokens), "A planned record has at least one token.")
            seen.add(key)
            starts.append(starts[-1] + len(item.tokens))
        object.__setattr__(self, "_starts", starts)

    @property
    def records(self) -> int:
        """How many records one epoch has."""
        return self._starts[-1]

    def locate(self, record: int) -> tuple[int, int]:
        """The place of a record: the object's index in the plan and the record's index in that object."""
        _check(0 <= record < self.records, "The plan has no record of that number.")
        low, high = 0, len(self.objects)
        while high - low > 1:
            middle = (low + high) // 2
            if self._starts[middle] <= record:
                low = middle
            else:
                high = middle
        return low, record - self._starts[low]

    def number_of(self, item: int, index: int) -> int:
        """The record number of record `index` of object `item`."""
        return self._starts[item] + index

    def order(self, epoch: int) -> array[int]:
        """All record numbers in the order of `epoch`: Fisher–Yates under a keystream from seed and epoch."""
        _check(0 <= epoch < self.epochs, "The plan has no such epoch.")
        order = array("Q", range(self.records))
        draws = _draws(self.seed, epoch)
        for last in range(len(order) - 1, 0, -1):
            bound = last + 1
            limit = 2**64 - 2**64 % bound  # rejection keeps every j equally likely
            draw = next(draws)
            while draw >= limit:
                draw = next(draws)
            chosen = draw % bound
            order[last], order[chosen] = order[chosen], order[last]
        return order

    def steps(self, start: int = 0) -> Iterator[Step]:
        """Every step from number `start` on. A step never spans two epochs, and no order is held but one epoch's.

        Records are taken in the epoch's order for as long as they pack into `rows` rows (`packing.plan_steps`); a
        record is never split over two steps, so a completed step completes its records.
        """
        number = 0
        for epoch in range(self.epochs):
            order = self.order(epoch)
            for window in plan_steps([self.tokens_of(record) for record in order], self.sequence, self.rows):
                if number >= start:
                    yield Step(number, epoch, tuple(order[window.start : window.stop]))
                number += 1

    def tokens_of(self, record: int) -> int:
        """How many tokens a record has."""
        item, index = self.locate(record)
        return self.objects[item].tokens[index]

    def count_steps(self) -> int:
        """How many steps the plan has; counted once by whoever needs it, for the learning-rate schedule."""
        return sum(1 for _ in self.steps())

    def encode(self) -> bytes:
        """Deterministic dag-cbor."""
        return encode_cbor(
            {
                "v": 1,
                "kind": "plan",
                "job": self.job,
                "recipe": self.recipe,
                "seed": self.seed,
                "epochs": self.epochs,
                "sequence": self.sequence,
                "rows": self.rows,
                "objects": [
                    {
                        "object": item.object_id,
                        "consent": item.consent,
                        "owner": item.owner,
                        "payload": item.payload,
                        "tokens": list(item.tokens),
                    }
                    for item in self.objects
                ],
            }
        )

    def hash(self) -> bytes:
        """What the runner signs and the ledger starts from: sha256("allod/plan/v1" ‖ 0x00 ‖ encoded plan)."""
        return hashlib.sha256(PLAN_LABEL + self.encode()).digest()

    def sign(self, runner: Signer) -> bytes:
        """The runner's 65-byte signature over `hash()`."""
        return runner.sign_hash(self.hash())


def decode_plan(data: bytes) -> Plan:
    """Strictly decode a plan; `InvalidInput` where a field is missing, foreign, of a wrong type or out of range."""
    value = decode_cbor(data, limit=PLAN_LIMIT)
    names = {"v", "kind", "job", "recipe", "seed", "epochs", "sequence", "rows", "objects"}
    _check(isinstance(value, dict) and set(value) == names, "Not a plan.")
    _check(type(value["v"]) is int and value["v"] == 1 and value["kind"] == "plan", "Not a plan of version 1.")
    objects = value["objects"]
    _check(isinstance(objects, list), "A plan's objects are a list.")
    return Plan(
        job=JobId(_bytes(value["job"], 32)),
        recipe=_bytes(value["recipe"], 32),
        seed=_integer(value["seed"]),
        epochs=_integer(value["epochs"]),
        sequence=_integer(value["sequence"]),
        rows=_integer(value["rows"]),
        objects=tuple(_decode_object(item) for item in objects),
    )


def _decode_object(value: Any) -> PlannedObject:
    names = {"object", "consent", "owner", "payload", "tokens"}
    _check(isinstance(value, dict) and set(value) == names, "Not an object of a plan.")
    _check(isinstance(value["payload"], Link), "A planned object names its payload by a link.")
    tokens = value["tokens"]
    _check(
        isinstance(tokens, list) and all(type(count) is int and 0 < count < 2**32 for count in tokens),
        "Token counts are integers from 1 to 2^32 − 1.",
    )
    return PlannedObject(
        object_id=ObjectId(_bytes(value["object"], 32)),
        consent=ConsentId(_bytes(value["consent"], 32)),
        owner=Address(_bytes(value["owner"], 20)),
        payload=value["payload"],
        tokens=array("I", tokens),
    )


def _draws(seed: int, epoch: int) -> Iterator[int]:
    """Uniform u64 numbers: the ChaCha20 keystream under sha256(label ‖ seed ‖ epoch), big-endian."""
    key = hashlib.sha256(ORDER_LABEL + seed.to_bytes(8, "big") + epoch.to_bytes(4, "big")).digest()
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    while True:
        block = stream.update(bytes(4096))
        for offset in range(0, 4096, 8):
            yield int.from_bytes(block[offset : offset + 8], "big")


def _bytes(value: Any, length: int) -> bytes:
    _check(isinstance(value, bytes) and len(value) == length, f"Expected {length} bytes.")
    return bytes(value)


def _integer(value: Any) -> int:
    _check(type(value) is int, "Expected an integer.")
    return int(value)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidInput(message, hint="Make the plan anew from the job's recipe and objects.")
