"""The trees of jobs: laid down among the blocks, and found again by whoever is to be paid.

An owner can claim only with the job's tree. So the runner puts it into the block store when the job opens and when it
ends, and it is looked for in a job's folder of this home, among the blocks, and at the keepers. A tree is believed only
if its root is the one on chain, so nothing here needs to be trusted. Bytes: docs/format/61-job.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from core.encoding import decode_cbor, encode_cbor
from core.errors import AllodError
from core.ids import JobId
from vault.blocks import BlockStore
from vault.cid import DAG_CBOR, RAW, Cid
from vault.unixfs import CHUNK, FileBuilder, walk

if TYPE_CHECKING:
    from allod.world import World
    from consent.market.earnings import TreeLookup
    from consent.tree import SumTree

KIND = "job-tree"
MAX_TREE = 8 << 20  # bytes; what SumTree.decode takes
_POINTER = 256  # bytes; a longer block is none
_PLACES = 64  # files that are remembered for one root: strangers may name any number, and keepers have the tree too
_AT_ONCE = 8  # of them, those that one look goes into
_MEMBERS = {"v", "kind", "root", "size", "file"}


def lay_down(blocks: BlockStore, tree: SumTree) -> Cid:
    """Put a tree among the blocks, durably: a file, and a small dag-cbor block that names its root and that file."""
    data = tree.encode()
    builder = FileBuilder(blocks.put)
    for start in range(0, len(data), CHUNK):
        part = data[start : start + CHUNK]
        builder.add(blocks.add(RAW, part), len(part))
    file, size = builder.finish()
    pointer = {"v": 1, "kind": KIND, "root": tree.root.to_bytes(32, "big"), "size": size, "file": file.link}
    cid = blocks.add(DAG_CBOR, encode_cbor(pointer))
    blocks.flush()
    return cid


def find_tree(world: World) -> TreeLookup:
    """A lookup for `market.earnings`, which believes a tree only if its root is the one on chain."""
    kept = cache(lambda: _kept(world))  # read once for all jobs, and only when one is looked for
    book = cache(lambda: PointerBook(world.blocks))

    def look(job_id: JobId, root: int) -> SumTree | None:
        return kept().get(root) or book().tree(root) or ask_keepers(world, job_id, root)

    return look


class PointerBook:
    """Knows where trees lie among the blocks: each small block is read once, and each file that holds no such tree."""

    def __init__(self, blocks: BlockStore) -> None:
        self._blocks = blocks
        self._places: dict[int, dict[tuple[Cid, int], None]] = {}  # by root: files and sizes, what to look into first
        self._seen: set[bytes] = set()
        self.look()

    def look(self) -> None:
        """Read the blocks that are new."""
        for cid in self._blocks.cids(DAG_CBOR):
            short = cid.digest[:12]
            if short in self._seen:
                continue
            self._seen.add(short)
            for root, place in _pointers_in(self._blocks, cid):
                places = self._places.setdefault(root, {})
                if len(places) < _PLACES:
                    places.setdefault(place)

    def tree(self, root: int) -> SumTree | None:
        """The tree of this root word, if one of the files that are said to hold it does."""
        places = self._places.get(root, {})
        for place in list(places)[:_AT_ONCE]:
            data = _read(self._blocks, *place)
            tree = _decoded(data) if data else None
            if tree is not None and tree.root == root:
                return tree
            del places[place]
            if not data:  # it may come
                places[place] = None
        return None


def ask_keepers(world: World, job_id: JobId, root: int) -> SumTree | None:
    """The tree of this root, if a keeper has it."""
    found = map(_decoded, _asked(world, job_id))
    return next((tree for tree in found if tree is not None and tree.root == root), None)


def _pointers_in(blocks: BlockStore, cid: Cid) -> Iterator[tuple[int, tuple[Cid, int]]]:
    """The root word that a block points for, and where to, if it is a pointer."""
    try:
        block = blocks.get(cid)
        value = decode_cbor(block) if len(block) <= _POINTER else None
        if not isinstance(value, dict) or value.keys() != _MEMBERS or (value["v"], value["kind"]) != (1, KIND):
            return
        root, size, file = value["root"], value["size"], Cid.from_link(value["file"])
    except (AllodError, KeyError, AttributeError, TypeError):
        return  # damaged, or of another kind
    if isinstance(root, bytes) and len(root) == 32 and type(size) is int and 0 < size <= MAX_TREE:
        yield int.from_bytes(root, "big"), (file, size)


def _kept(world: World) -> dict[int, SumTree]:
    from finetune.workspace import workspaces

    jobs, names = workspaces(world.home / "jobs"), ("final.cbor", "tree.cbor")
    trees = [_decoded(job.get(name)) for job in jobs for name in names if job.has(name)]
    return {tree.root: tree for tree in trees if tree is not None}


def _read(blocks: BlockStore, file: Cid, size: int) -> bytes:
    try:
        return b"".join(walk(file, blocks, size))
    except AllodError:
        return b""


def _asked(world: World, job_id: JobId) -> Iterator[bytes]:
    from consent.keeper.trees import write_job_query
    from consent.keeper.wire import read_reply

    if not world.has_keepers:  # a restored home has none, and founding some would not make them know the job
        return
    for port in world.ports.values():
        try:
            reply = read_reply(port.call("tree", write_job_query(job_id)), ("order", "tree", "final"), "The reply")
        except AllodError:
            continue
        yield from (reply["final"], reply["tree"])


def _decoded(data: bytes) -> SumTree | None:
    from consent.tree import SumTree

    try:
        return SumTree.decode(data)
    except AllodError:
        return None
