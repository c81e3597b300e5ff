"""Auditing a keeper: from a live one, its folder or a saved file, to a log with every flaw named.

What a keeper says is held against the reader's own chain, its own accepted committee, the bundles of jobs and the head
that an earlier audit saw; nothing is believed because the keeper says it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from allod.world import World
from core.encoding import decode_json, encode_json, from_hex, to_hex
from core.errors import AllodError, Conflict, InvalidInput, NotFound
from core.files import write_atomic
from core.settings import Settings

if TYPE_CHECKING:
    from consent.committee import Committee
    from consent.keeper.audit import Log, Promise
    from consent.keeper.receipt import Receipt
    from consent.tree import SumTree
    from core.ids import Address, ConsentId, JobId
    from finetune.bundle import Bundle


@dataclass(frozen=True)
class Audited:
    """A keeper's log with its flaws, how many receipts were held against it, and what could not be looked at."""

    index: int
    address: Address
    log: Log
    receipts: int
    notes: list[str]


def audit_keeper(
    settings: Settings,
    source: str,
    *,
    number: int | None = None,
    bundles: Sequence[Path] = (),
    state: Path | None = None,
    save: Path | None = None,
) -> Audited:
    """Audit the keeper that `source` names: its number in the accepted committee, its folder, or a saved log.

    A file needs `number`. `state` remembers the head of a log without flaws; `save` gets the log as a file.
    """
    from consent.keeper.audit import read, write_log
    from consent.keeper.hindsight import Hindsight
    from finetune.bundle import Bundle

    with World(settings) as world:
        if not world.has_keepers:
            raise NotFound("Whose log this is cannot be said without a committee.", hint="Name it with --committee.")
        index, encoded, promises, own_tree = _read(world, source, number)
        if save is not None:
            write_atomic(save, write_log(encoded), mode=0o644)
        address = world.committee.addresses[index - 1]
        promises += _remembered(state, address)
        opened = [Bundle(folder) for folder in bundles]
        receipts, notes = _receipts(opened, world.committee, index)
        log = read(encoded, promises, receipts)
        trees = _trees(opened, own_tree)
        hindsight = Hindsight(world.market, trees, _dues(opened))
        hindsight.check(log)
    if state is not None and not log.flaws:
        seen = {"v": 1, "address": to_hex(address), "entries": len(encoded), "head": to_hex(log.head)}
        write_atomic(state, encode_json(seen), mode=0o644)
    return Audited(index, address, log, len(receipts), notes + hindsight.notes)


def _read(
    world: World, source: str, number: int | None
) -> tuple[int, list[bytes], list[Promise], Callable[[JobId], bytes | None]]:
    """The keeper's number, its entries, what promises them, and how to get a job's tree from it."""
    from consent.keeper.audit import fetch_log, read_log_file
    from consent.keeper.keys import KeeperKeys
    from consent.keeper.store import StoredLog

    committee, path = world.committee, Path(source)
    if source.isascii() and source.isdigit():
        index = _member(committee, int(source))
        port = world.ports[index]
        entries, promise = fetch_log(port, committee.addresses[index - 1])
        return index, entries, [promise], _asking(world, index)
    if path.is_dir():
        address = KeeperKeys.open(path).address
        if address not in committee.addresses:
            raise InvalidInput("That keeper is not in this committee.", hint="Name its own with --committee.")
        stored = StoredLog(path / "keeper.sqlite")
        return committee.addresses.index(address) + 1, stored.entries(), [], stored.tree
    if number is None:
        raise InvalidInput("A file does not say whose log it is.", hint="Say so with --keeper NUMBER.")
    entries, promise = read_log_file(path.read_bytes())
    index = _member(committee, number)
    return index, entries, [promise], _asking(world, index)


def _member(committee: Committee, index: int) -> int:
    if not 1 <= index <= committee.n:
        raise InvalidInput(f"The committee has no keeper {index}; it has {committee.n}.")
    return index


def _asking(world: World, index: int) -> Callable[[JobId], bytes | None]:
    from consent.keeper.trees import write_job_query
    from consent.keeper.wire import read_reply

    def ask(job: JobId) -> bytes | None:
        try:
            reply = read_reply(
                world.ports[index].call("tree", write_job_query(job)), ("order", "tree", "final"), "The reply"
            )
        except AllodError:
            return None
        return reply["tree"] if isinstance(reply["tree"], bytes) else None

    return ask


def _remembered(state: Path | None, address: Address) -> list[Promise]:
    """The head that an earlier audit saw."""
    from consent.keeper.audit import Promise

    if state is None or not state.exists():
        return []
    seen = decode_json(state.read_bytes())
    if (
        not isinstance(seen, dict)
        or seen.keys() != {"v", "address", "entries", "head"}
        or type(seen["entries"]) is not int
    ):
        raise InvalidInput(f"{state} does not hold the head of an audit.", hint="Name another --state.")
    if seen["address"] != to_hex(address):
        raise Conflict(f"{state} is about the keeper {seen['address']}.", hint="Give each keeper a --state of its own.")
    return [Promise(seen["entries"], from_hex(seen["head"], 32), "the last audit")]


def _receipts(bundles: Sequence[Bundle], committee: Committee, index: int) -> tuple[list[Receipt], list[str]]:
    """This keeper's receipts in the bundles, each of which it signed; and what is wrong with others."""
    receipts, notes = [], []
    address = committee.addresses[index - 1]
    for bundle in bundles:
        order = bundle.order
        for receipt in bundle.receipts:
            if receipt.keeper > len(order.keepers) or order.keepers[receipt.keeper - 1] != address:
                continue
            try:
                receipt.verify(order.chain_id, order.escrow, address)
            except AllodError as error:
                notes.append(f"{bundle.folder}: {error.message}")
            else:
                receipts.append(receipt)
    return receipts, notes


def _trees(bundles: Sequence[Bundle], own_tree: Callable[[JobId], bytes | None]) -> Callable[[JobId], SumTree | None]:
    from consent.tree import SumTree

    shown = {bundle.order.job_id: bundle.opening for bundle in bundles}

    def tree_of(job: JobId) -> SumTree | None:
        if job in shown:
            return shown[job]
        try:
            encoded = own_tree(job)
            return None if encoded is None else SumTree.decode(encoded)
        except AllodError:
            return None

    return tree_of


def _dues(bundles: Sequence[Bundle]) -> dict[tuple[JobId, ConsentId], int]:
    """What the terms in the bundles ask of their jobs."""
    from consent.terms import quote
    from consent.tree import FEE

    dues = {}
    for bundle in bundles:
        for leaf in bundle.opening.leaves:
            if leaf.consent_id == FEE:
                continue
            try:
                licence = bundle.licence(leaf.consent_id)
                licence.check()
                dues[bundle.order.job_id, leaf.consent_id] = quote(licence.terms, bundle.recipe, licence.counts)
            except AllodError:
                continue  # `job verify` names it
    return dues
