"""The ledger of a job: what was trained on, written down after every completed optimizer step.

Each entry carries the hash of the one before it and is on disk before the next step is sent, so a killed run never
forgets a step that completed. A record-epoch counts once its step has completed. A run that goes on from a checkpoint
at step k steps through the same plan from there: the steps from k on that were counted before are not in its adapter,
and are trained again. Nothing is erased; what holds at every moment is

    used(c)  = the record-epochs of c in the steps that made the present model (the lineage)
    owed(c)  = the greatest used(c) there ever was; it never falls, and used(c) <= owed(c)
    a dropped c is in no later step of any attempt, so owed(c) stays what keepers were told when it was dropped

so repeated steps are not paid twice, and steps that an owner's data really went through are not lost. Exact bytes:
docs/format/71-plan-ledger.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.encoding import decode_cbor, encode_cbor
from core.errors import Corrupted, InvalidInput
from core.files import sync_directory
from core.ids import ConsentId, JobId
from vault.merkle import root as merkle_root

START_LABEL = b"allod/ledger/v1\0"
ENTRY_LABEL = b"allod/ledger-entry/v1\0"
ENTRY_LIMIT = 16 << 20
_FIELDS = {
    "start": {"v", "kind", "previous", "attempt", "plan"},
    "resume": {"v", "kind", "previous", "attempt", "step"},
    "step": {"v", "kind", "previous", "step", "uses"},
    "drop": {"v", "kind", "previous", "step", "consents"},
}


@dataclass(frozen=True)
class Use:
    """What of one consent's data went into steps: record-epochs, and tokens that bore loss."""

    record_epochs: int = 0
    tokens: int = 0

    def __add__(self, other: Use) -> Use:
        return Use(self.record_epochs + other.record_epochs, self.tokens + other.tokens)


class Tally:
    """Reads entries in order, refuses any that does not follow from the ones before it, and keeps the sums."""

    def __init__(self, job: JobId) -> None:
        self._head = hashlib.sha256(START_LABEL + job).digest()
        self._leaves: list[bytes] = []
        self._past: dict[ConsentId, int] = {}
        self._now: dict[ConsentId, Use] = {}
        self._dropped: set[ConsentId] = set()
        self._next_step: int | None = None
        # The steps that made the present model, as (step, its uses), and (entry's hash, next step) for every entry
        # that stands on them: what a resume takes back, and what a checkpoint may name as its place.
        self._lineage: list[tuple[int, list[tuple[ConsentId, Use]]]] = []
        self._places: list[tuple[bytes, int]] = []
        self.attempts = 0
        self.plan: bytes | None = None

    @property
    def head(self) -> bytes:
        """The hash that the next entry must name as its `previous`."""
        return self._head

    @property
    def entries(self) -> int:
        """How many entries were read."""
        return len(self._leaves)

    def root(self) -> bytes:
        """RFC 9162 root over the entries, in order: the number that the statement carries."""
        return merkle_root(self._leaves)

    def read(self, entry: bytes) -> dict[str, Any]:
        """Take the next entry; `InvalidInput` if its form, its place or its numbers are not right."""
        value = decode_cbor(entry, limit=ENTRY_LIMIT)
        kind = value.get("kind") if isinstance(value, dict) else None
        _check(isinstance(kind, str) and kind in _FIELDS and set(value) == _FIELDS[kind], "Not a ledger entry.")
        _check(type(value["v"]) is int and value["v"] == 1, "Not a ledger entry of version 1.")
        _check(value["previous"] == self._head, "The entry does not follow the one before it.")
        getattr(self, f"_read_{kind}")(value)
        self._head = hashlib.sha256(ENTRY_LABEL + entry).digest()
        self._leaves.append(self._head)
        self._places.append((self._head, self.next_step))
        return dict(value)

    def _read_start(self, value: dict[str, Any]) -> None:
        _check(isinstance(value["plan"], bytes) and len(value["plan"]) == 32, "A start names the plan's hash.")
        self._begin(value["attempt"], 0)
        self.plan = value["plan"]

    def _read_resume(self, value: dict[str, Any]) -> None:
        step = value["step"]
        _check(type(step) is int and 0 < step <= self.next_step, "A run goes on from a step that it has reached.")
        self._begin(value["attempt"], step)

    def _begin(self, attempt: Any, step: int) -> None:
        """Take back the steps from `step` on; what they used stays owed."""
        numbered = type(attempt) is int and attempt == self.attempts
        _check(numbered, "The attempts are not numbered one after another.")
        while self._lineage and self._lineage[-1][0] >= step:
            for consent, use in self._lineage.pop()[1]:
                now = self._now[consent]
                self._past[consent] = max(self._past.get(consent, 0), now.record_epochs)
                self._now[consent] = Use(now.record_epochs - use.record_epochs, now.tokens - use.tokens)
        while self._places and (step == 0 or self._places[-1][1] > step):
            self._places.pop()
        self._next_step = step
        self.attempts += 1

    def _read_step(self, value: dict[str, Any]) -> None:
        self._advance(value["step"])
        uses, taken = value["uses"], list[tuple[ConsentId, Use]]()
        _check(isinstance(uses, list) and len(uses) > 0, "A step's uses are a list.")
        last = b""
        for use in uses:
            _check(isinstance(use, list) and len(use) == 3, "A use is consent, record-epochs, tokens.")
            consent, records, tokens = use
            _check(isinstance(consent, bytes) and len(consent) == 32 and consent > last, "Uses are sorted by consent.")
            _check(
                all(type(number) is int and number >= 0 for number in (records, tokens)), "Counts are never negative."
            )
            _check(consent not in self._dropped, "A step uses a consent that was dropped before it.")
            last = consent
            taken.append((ConsentId(consent), Use(records, tokens)))
        for name, use in taken:
            self._now[name] = self._now.get(name, Use()) + use
        self._lineage.append((value["step"], taken))
        self._next_step = value["step"] + 1

    def _read_drop(self, value: dict[str, Any]) -> None:
        self._advance(value["step"])
        consents = value["consents"]
        _check(isinstance(consents, list) and len(consents) > 0, "A drop names consents.")
        _check(all(isinstance(consent, bytes) and len(consent) == 32 for consent in consents), "Not a consent id.")
        _check(consents == sorted(set(consents)), "Dropped consents are sorted and distinct.")
        self._dropped.update(ConsentId(consent) for consent in consents)

    def _advance(self, step: Any) -> None:
        _check(self._next_step is not None, "The ledger does not begin with a start.")
        _check(type(step) is int and self._next_step is not None and step >= self._next_step, "Steps only go forward.")

    @property
    def next_step(self) -> int:
        """The first step that the present model has not seen."""
        return self._next_step or 0

    @property
    def completed(self) -> int:
        """How many steps made the present model."""
        return len(self._lineage)

    def stands_at(self, head: bytes, step: int) -> bool:
        """Whether the present model went through the state behind the entry of hash `head`, with `step` to come."""
        return any(place == (head, step) for place in reversed(self._places))

    def owed(self, consent: ConsentId) -> int:
        """The record-epochs of `consent` that completed, in whichever attempt had most of them."""
        return max(self._past.get(consent, 0), self._now.get(consent, Use()).record_epochs)

    def used(self, consent: ConsentId) -> Use:
        """What of `consent` went into the present model, and so into its adapter."""
        return self._now.get(consent, Use())

    @property
    def dropped(self) -> frozenset[ConsentId]:
        """Consents whose data stopped at some step. They never come back in a later attempt."""
        return frozenset(self._dropped)


class Ledger:
    """A ledger in a file: entries with a 4-byte big-endian length in front. One process writes it."""

    def __init__(self, path: Path, job: JobId) -> None:
        """Open or begin the ledger at `path`; a torn last entry is cut off, any other damage is `Corrupted`."""
        self.tally = Tally(job)
        new = not path.exists()
        self._file = open(path, "r+b" if not new else "x+b", opener=_private)  # noqa: SIM115 - closed by close()
        if new:
            sync_directory(path.parent)
        end = 0
        try:
            for entry in _entries(self._file):
                self.tally.read(entry)
                end += 4 + len(entry)
        except InvalidInput as error:
            self._file.close()
            raise Corrupted(
                f"The ledger of this job is damaged at entry {self.tally.entries}: {error.message}",
                hint="Settle the job with `allod job settle`; it cannot be trained on.",
            ) from None
        self._file.truncate(end)
        self._file.seek(end)

    def start(self, plan: bytes) -> None:
        """Begin an attempt at the plan of this hash, at its first step."""
        self._append({"kind": "start", "attempt": self.tally.attempts, "plan": plan})

    def resume(self, step: int) -> None:
        """Begin an attempt that goes on from the state in front of `step`; steps from there on are taken back."""
        self._append({"kind": "resume", "attempt": self.tally.attempts, "step": step})

    def commit(self, step: int, uses: Mapping[ConsentId, Use]) -> None:
        """Write down a completed step; it is durable when this returns."""
        listed = [[consent, use.record_epochs, use.tokens] for consent, use in sorted(uses.items())]
        self._append({"kind": "step", "step": step, "uses": listed})

    def drop(self, step: int, consents: Sequence[ConsentId]) -> None:
        """Write down that no record of `consents` is used from `step` on."""
        self._append({"kind": "drop", "step": step, "consents": sorted(set(consents))})

    def _append(self, fields: dict[str, Any]) -> None:
        entry = encode_cbor({"v": 1, "previous": self.tally.head, **fields})
        self.tally.read(entry)
        self._file.write(len(entry).to_bytes(4, "big") + entry)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; nothing is lost, each entry is durable already."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def cut_torn_entry(path: Path, job: JobId) -> None:
    """Leave whole entries only, as opening the ledger does: for whoever ends a job without another attempt."""
    if path.exists():
        Ledger(path, job).close()


def read_ledger(data: bytes, job: JobId) -> Tally:
    """Replay the bytes of a whole ledger file, as a verifier does; a torn end or a broken chain is `InvalidInput`."""
    tally = Tally(job)
    for entry in split_ledger(data):
        tally.read(entry)
    return tally


def split_ledger(data: bytes) -> Iterator[bytes]:
    """The encoded entries of a whole ledger file; a torn end is `InvalidInput`."""
    import io

    end = 0
    for entry in _entries(io.BytesIO(data)):
        end += 4 + len(entry)
        yield entry
    _check(end == len(data), "The ledger ends in the middle of an entry.")


def owed(flat: int, per_record_epoch: int, record_epochs: int, leaf: int) -> int:
    """The UNITs that a consent which ended mid-job is still owed: never more than its leaf."""
    return min(leaf, flat + per_record_epoch * record_epochs)


def _entries(file: Any) -> Iterator[bytes]:
    while len(head := file.read(4)) == 4:
        length = int.from_bytes(head, "big")
        _check(length <= ENTRY_LIMIT, "An entry is longer than any ledger entry may be.")
        if len(entry := file.read(length)) < length:
            return
        yield entry


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidInput(message)
