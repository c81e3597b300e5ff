"""What a signed head needs: every block that can be reached from it, found without trusting a byte of it.

A vault consists of *units*: its head, each page, each dataset with its card and member lists, each record, each
object with its payload. A unit is named by its first block and never changes, so one that was found whole before is
not walked again: a commit costs what is new in it, and the reading of its lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from itertools import islice

from core.errors import Corrupted, InvalidInput, NotFound
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, Cid
from vault.datasets import MAX_CARD, Card
from vault.documents import read_document
from vault.manifest import MEMBERS_KIND, PAGE_KIND, DatasetHeader, ObjectManifest, VaultHead, decode_page
from vault.unixfs import parts

MAX_LISTS = 4096  # pages that one head may reach, its datasets' included: some four million objects
MAX_MISSING = 1000  # missing blocks that one answer names

Sizes = Callable[[list[Cid]], dict[Cid, int]] | None


class Incomplete(InvalidInput):
    """Blocks that a head needs are not here; detail `missing` names up to a thousand of them."""

    slug = "incomplete"


@dataclass
class Reach:
    """What a head needs: units that were not known before, with the sizes of their blocks, and those that were."""

    new: dict[Cid, dict[Cid, int]] = field(default_factory=dict)
    kept: set[Cid] = field(default_factory=set)


def reach(blocks: BlockStore, cid: Cid, head: VaultHead, known: Set[Cid], sizes: Sizes) -> Reach:
    """What the head, whose CID is `cid`, needs, itself included.

    `known` are units that are here whole. `sizes` tells the sizes of blocks, as far as somebody has noted them; None
    for blocks of one's own, whose sizes nobody doubts. Raises `Incomplete` for what is missing or damaged here,
    `InvalidInput` or `Corrupted` for what contradicts itself.
    """
    walk = _Walk(blocks, known, sizes)
    walk.head(head)
    if walk.missing:
        raise incomplete(walk.missing)
    walk.found.new[cid] = {cid: len(head.encode())}
    return walk.found


def incomplete(missing: Iterable[Cid]) -> Incomplete:
    """The error that names what is missing."""
    names = [str(cid) for cid in islice(missing, MAX_MISSING)]
    return Incomplete(
        f"Blocks that the vault needs are not here: {len(names)}{' or more' * (len(names) == MAX_MISSING)}.",
        hint="Send those that `missing` names, then commit again.",
        missing=names,
    )


class _TooMuchMissing(Exception):
    """Enough is known to answer."""


class _Walk:
    def __init__(self, blocks: BlockStore, known: Set[Cid], sizes: Sizes) -> None:
        self._blocks = blocks
        self._known = known
        self._sizes = sizes
        self._lists = 0
        self.missing: dict[Cid, None] = {}
        self.found = Reach()

    def head(self, head: VaultHead) -> None:
        """Everything below the head."""
        try:
            objects = self._listed(head.objects)
            records = self._listed(head.records)
            for cid in objects:
                self._unit(cid, lambda cid=cid: self._object(cid, head))  # type: ignore[misc]
            for cid in records:
                self._unit(cid, lambda cid=cid: self._record(cid, head))  # type: ignore[misc]
            for cid in dict.fromkeys(head.datasets):
                self._dataset(cid, head)
        except _TooMuchMissing:
            pass

    def document(self, cid: Cid) -> bytes | None:
        """The bytes of a dag-cbor block; None, and noted, if it is not here."""
        if cid.codec != DAG_CBOR:
            raise InvalidInput(f"{cid} is named as a document, and its codec is another.")
        try:
            return self._blocks.get(cid)
        except (NotFound, Corrupted):
            self._miss(cid)
            return None

    def _miss(self, cid: Cid) -> None:
        self.missing[cid] = None
        if len(self.missing) >= MAX_MISSING:
            raise _TooMuchMissing

    def _unit(self, cid: Cid, walk: Callable[[], dict[Cid, int] | None]) -> None:
        if cid in self._known:
            self.found.kept.add(cid)
        elif cid not in self.found.new and (blocks := walk()) is not None:
            self.found.new[cid] = blocks

    def _listed(self, pages: tuple[Cid, ...]) -> list[Cid]:
        """What the pages of a head list. They are units of their own."""
        cids: dict[Cid, None] = {}
        for page in dict.fromkeys(pages):
            data = self._list(page)
            if data is not None:
                self._unit(page, lambda page=page, data=data: {page: len(data)})  # type: ignore[misc]
                cids.update(dict.fromkeys(decode_page(data, PAGE_KIND)))
        return list(cids)

    def _list(self, page: Cid) -> bytes | None:
        self._lists += 1
        if self._lists > MAX_LISTS:
            raise InvalidInput(f"The vault has more than {MAX_LISTS} pages of lists.", hint="Divide it into several.")
        return self.document(page)

    def _object(self, cid: Cid, head: VaultHead) -> dict[Cid, int] | None:
        data = self.document(cid)
        if data is None:
            return None
        manifest = ObjectManifest.decode(data)
        if manifest.vault_id != head.vault_id:
            raise InvalidInput(f"The object {cid} is another vault's.")
        found = {cid: len(data)}
        wanted = dict(parts(manifest.payload, self._blocks, manifest.size, self._miss))
        for absent in self._blocks.missing(wanted):
            self._miss(absent)
        self._check_sizes({part: size for part, size in wanted.items() if part not in self.missing})
        return {**found, **wanted}

    def _check_sizes(self, wanted: dict[Cid, int]) -> None:
        if self._sizes is None:
            return
        noted = self._sizes(list(wanted))
        for cid, size in wanted.items():
            length = noted.get(cid)
            if length is None:
                try:
                    length = len(self._blocks.get(cid))
                except (NotFound, Corrupted):
                    self._miss(cid)
                    continue
            if length != size:
                raise Corrupted(
                    f"Block {cid} has {length} bytes where its file says {size}.", hint="Seal the file again."
                )

    def _record(self, cid: Cid, head: VaultHead) -> dict[Cid, int] | None:
        data = self.document(cid)
        if data is None:
            return None
        record = read_document(data, "record", ("vault", "record", "sealed"))
        record.octets("sealed")
        if record.octets("vault", 32) != head.vault_id:
            raise InvalidInput(f"The record {cid} is another vault's.")
        return {cid: len(data)}

    def _dataset(self, cid: Cid, head: VaultHead) -> None:
        """A dataset, and its objects.

        An object that was removed although it is published stays listed by its dataset: of it is kept what is here
        whole, and nothing is asked for.
        """
        data = self.document(cid)
        if data is None:
            return
        header = DatasetHeader.decode(data)
        if header.vault_id != head.vault_id or header.manifest_pk != head.manifest_pk:
            raise InvalidInput(f"The dataset {cid} is another vault's.")
        card_data = self.document(header.card)
        if card_data is None:
            return
        if len(card_data) > MAX_CARD:
            raise InvalidInput(f"The card of the dataset {cid} is larger than {MAX_CARD} bytes.")
        found = {cid: len(data), header.card: len(card_data)}
        members: dict[Cid, None] = {}
        for page in dict.fromkeys(Card.decode(card_data).pages):
            page_data = self._list(page)
            if page_data is not None:
                found[page] = len(page_data)
                members.update(dict.fromkeys(decode_page(page_data, MEMBERS_KIND)))
        if self.missing:
            return
        if len(members) != header.objects:
            raise InvalidInput(f"The dataset {cid} lists {len(members)} objects and counts {header.objects}.")
        is_new = cid not in self._known
        self._unit(cid, lambda: found)
        for member in members:
            if member in self._known:
                self.found.kept.add(member)
            elif is_new and member not in self.found.new:
                self._remains(member, head)

    def _remains(self, cid: Cid, head: VaultHead) -> None:
        aside = _Walk(self._blocks, self._known, self._sizes)
        try:
            blocks = aside._object(cid, head)
        except (_TooMuchMissing, Corrupted, InvalidInput):
            return
        if blocks is not None and not aside.missing:
            self.found.new[cid] = blocks
