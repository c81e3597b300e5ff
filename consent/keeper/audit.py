"""Auditing a keeper's log by itself: is it one chain, does it hold what was promised elsewhere, does it keep its rules?

A log that its keeper rewrote chains again; only what others kept contradicts it: a head that it signed or that an
earlier audit saw, and the receipts in jobs' bundles, each of which names the entry before its own. `hindsight` holds
the log against the blockchain. Nothing here raises for what a log says: every flaw is named, with its entry.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from consent.fields import exact_list, integer, octets
from consent.keeper.log import START, Entry
from consent.keeper.port import KeeperPort
from consent.keeper.receipt import Receipt
from consent.keeper.service import MAX_ENTRIES, read_service
from consent.keeper.wire import MAX_REPLY, any_octets, read_reply, write
from core.encoding import decode_cbor, encode_cbor, to_hex
from core.errors import Corrupted, InvalidInput
from core.ids import Address

MOST = 10_000_000  # entries; a keeper that claims more is not believed


class Flaw(NamedTuple):
    """What is wrong: a stable slug, the entry's number if it is about one, a sentence."""

    slug: str
    entry: int | None
    sentence: str


class Promise(NamedTuple):
    """That a log has at least `entries` entries, the last of them with the hash `head`, and who says so."""

    entries: int
    head: bytes
    source: str


@dataclass
class Log:
    """A log as it was read: encoded entries, those that can be read by their place, and what is wrong with it."""

    encoded: Sequence[bytes]
    entries: dict[int, Entry] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hashes = [hashlib.sha256(data).digest() for data in self.encoded]

    @property
    def head(self) -> bytes:
        """The hash of the last entry."""
        return self.hashes[-1] if self.hashes else START

    @property
    def kinds(self) -> dict[str, int]:
        """How many entries of each kind there are."""
        return dict(sorted(Counter(entry.kind for entry in self.entries.values()).items()))

    def of(self, kind: str) -> list[tuple[int, Entry]]:
        """The entries of one kind, with their places."""
        return [(place, entry) for place, entry in sorted(self.entries.items()) if entry.kind == kind]

    def add(self, slug: str, entry: int | None, sentence: str) -> None:
        """Name a flaw."""
        self.flaws.append(Flaw(slug, entry, sentence))


def fetch_log(port: KeeperPort, address: Address) -> tuple[list[bytes], Promise]:
    """A live keeper's entries, and the head that it signs for them."""
    said = read_service(port.call("service", b""), address)
    if said.entries > MOST:
        raise Corrupted(f"The keeper claims {said.entries} entries.", hint="Ask its operator for the log as a file.")
    entries: list[bytes] = []
    while len(entries) < said.entries:
        query = write("log", first=len(entries), count=MAX_ENTRIES)
        reply = read_reply(port.call("log", query), ("list", "entries", "head"), "The log")
        try:
            page = [any_octets(item, "An entry") for item in exact_list(reply["list"], "The log", at_most=MAX_ENTRIES)]
        except InvalidInput as error:
            raise Corrupted(f"The keeper's log cannot be read: {error.message}") from None
        if not page:
            break
        entries += page
    return entries, Promise(said.entries, said.head, "the keeper's own signed word")


def write_log(entries: Sequence[bytes]) -> bytes:
    """A log as a file, of the form that a page of it has."""
    head = hashlib.sha256(entries[-1]).digest() if entries else START
    return encode_cbor({"v": 1, "list": list(entries), "entries": len(entries), "head": head})


def read_log_file(data: bytes) -> tuple[list[bytes], Promise]:
    """What `write_log` writes, with the head that the file promises; else `InvalidInput`."""
    fields = decode_cbor(data, limit=max(len(data), MAX_REPLY))
    if not isinstance(fields, dict) or fields.keys() != {"v", "list", "entries", "head"} or fields["v"] != 1:
        raise InvalidInput("The file is no keeper's log.", hint="`allod keeper audit --save` writes one.")
    entries = [any_octets(item, "An entry") for item in exact_list(fields["list"], "The log", at_most=MOST)]
    promised = integer(fields["entries"], "The count of entries", at_most=MOST)
    return entries, Promise(promised, octets(fields["head"], "The log's head", 32), "the file itself")


def read(encoded: Sequence[bytes], promises: Iterable[Promise] = (), receipts: Iterable[Receipt] = ()) -> Log:
    """The log with every flaw that it has by itself, against promised heads, and against verified receipts."""
    log = Log(encoded)
    _chain(log)
    for promise in promises:
        _keeps(log, promise)
    _holds(log, receipts)
    _rules(log)
    return log


def _chain(log: Log) -> None:
    """Every entry follows from the one before it, in its place."""
    previous, expected = START, 0
    for place, (data, digest) in enumerate(zip(log.encoded, log.hashes, strict=True)):
        try:
            entry = Entry.decode(data)
        except InvalidInput as error:
            log.add("unreadable", place, f"Entry {place} cannot be read: {error.message}")
            previous, expected = digest, expected + 1
            continue
        log.entries[place] = entry
        if entry.seq > expected:
            gone = f"entry {expected}" if entry.seq == expected + 1 else f"entries {expected} to {entry.seq - 1}"
            log.add("deleted", expected, f"The log lacks {gone}: entry {entry.seq} stands in its place.")
        elif entry.seq < expected:
            log.add("order", place, f"Entry {entry.seq} stands behind entry {expected - 1}: the order was changed.")
        elif entry.previous != previous:
            what = f"Entry {place} does not follow from what stands before it: one of the two was changed or forged."
            log.add("forged", place, what)
        previous, expected = digest, entry.seq + 1


def _keeps(log: Log, promise: Promise) -> None:
    """What was promised still stands in the log."""
    if promise.entries > len(log.encoded):
        what = f"The log has {len(log.encoded)} entries, and {promise.source} promises {promise.entries}: it was cut."
        log.add("truncated", len(log.encoded), what)
    elif (log.hashes[promise.entries - 1] if promise.entries else START) != promise.head:
        what = f"Entry {promise.entries - 1} is not the one that {promise.source} names: the log was rewritten."
        log.add("rewritten", promise.entries - 1, what)


def _holds(log: Log, receipts: Iterable[Receipt]) -> None:
    """Each release that a receipt proves is in the log, behind the entry that the receipt names."""
    behind = {entry.previous: (place, entry) for place, entry in log.entries.items()}
    known = {START, *log.hashes}
    for receipt in receipts:
        name = f"the release for consent {to_hex(receipt.consent)} in job {to_hex(receipt.job)}"
        place, entry = behind.get(receipt.previous, (None, None))
        if entry is None:
            cut = receipt.previous in known
            what = "was cut off" if cut else "was deleted, or what stood before it was changed"
            log.add("truncated" if cut else "deleted", None, f"A receipt proves {name}, and its entry {what}.")
            continue
        told = {"job": receipt.job, "consent": receipt.consent, "safe": receipt.safe, "latest": receipt.latest}
        if entry.kind != "release" or any(entry.facts[key] != value for key, value in told.items()):
            log.add("forged", place, f"Entry {place} is not the one that a receipt proves: {name}.")
        elif entry.facts["root"] != receipt.root:
            log.add("forged", place, f"Entry {place} names other shares than the receipt for {name}.")


def _rules(log: Log) -> None:
    """What a keeper never does, whatever the chain says."""
    closed: dict[bytes, int] = {}
    settled: dict[bytes, Mapping[str, object]] = {}
    totals: dict[tuple[bytes, bytes], int] = {}
    for place, entry in sorted(log.entries.items()):
        facts = entry.facts
        if entry.kind == "closed":
            closed.setdefault(facts["job"], place)
        elif entry.kind == "release" and facts["job"] in closed:
            what = f"Entry {place} releases for job {to_hex(facts['job'])}, which entry {closed[facts['job']]} closed."
            log.add("bad-release", place, what)
        elif entry.kind == "settlement":
            if facts["job"] not in closed:
                log.add("bad-settlement", place, f"Entry {place} settles a job that was not closed before.")
            if settled.setdefault(facts["job"], facts) != facts:
                log.add("bad-settlement", place, f"Entry {place} settles job {to_hex(facts['job'])} a second time.")
        elif entry.kind == "ledger":
            key = (facts["job"], facts["consent"])
            if totals.setdefault(key, facts["record_epochs"]) != facts["record_epochs"]:
                log.add("bad-ledger", place, f"Entry {place} replaces a ledger total; the first one stands.")
