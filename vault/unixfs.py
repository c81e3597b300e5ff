"""UnixFS files by the profile `unixfs-v1-2025` (IPIP-499): 1 MiB raw leaves, balanced, 1024 links a node.

Building is streaming: leaves go in one by one, inner dag-pb nodes come out as soon as they are full, and memory
grows with the depth of the tree, not with the file. Walking trusts nothing: each block is checked by the store,
sizes must add up from the root we were given, and what is incomplete, deeper than eight levels or of another
shape ends in `Corrupted` or `NotFound`, never in a short file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from core.encoding import decode_uvarint, encode_uvarint
from core.errors import Corrupted, InvalidInput, NotFound
from vault.blocks import MAX_BLOCK, BlockStore
from vault.cid import DAG_PB, RAW, Cid

CHUNK = 1 << 20  # bytes per leaf
WIDTH = 1024  # links per node
MAX_DEPTH = 8  # 1024^8 leaves: more than any file

Sink = Callable[[Cid, bytes], None]

_FILE = 2  # UnixFS Data.Type of a file


@dataclass(frozen=True, slots=True)
class Node:
    """An inner node of a file: its children with the file bytes below each, in order."""

    children: tuple[tuple[Cid, int], ...]

    @property
    def size(self) -> int:
        """File bytes below this node."""
        return sum(size for _, size in self.children)


@dataclass(frozen=True, slots=True)
class _Branch:
    cid: Cid
    size: int  # file bytes below
    weight: int  # bytes of all blocks below and its own: dag-pb's Tsize


class FileBuilder:
    """Builds one file's tree over leaves that the caller stores. `sink(cid, block)` gets every inner node."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._levels: list[list[_Branch]] = [[]]
        self._size = 0

    def add(self, leaf: Cid, size: int) -> None:
        """The next leaf, raw, of `size` bytes; all but the last hold exactly `CHUNK`."""
        if leaf.codec != RAW or not 0 < size <= CHUNK or self._size % CHUNK:
            raise InvalidInput("Leaves are raw blocks of 1 MiB each; only the last may be shorter, and none is empty.")
        self._size += size
        self._push(0, _Branch(leaf, size, size))

    def finish(self) -> tuple[Cid, int]:
        """The root and the file's size in bytes. The empty file is one empty raw leaf, handed to the sink."""
        if self._size == 0:
            empty = Cid.of(RAW, b"")
            self._sink(empty, b"")
            return empty, 0
        level = 0
        # A lone child at the end is wrapped up to the height of the tree: balanced, not "packed".
        while level < len(self._levels) - 1 or len(self._levels[level]) > 1:
            self._fold(level)
            level += 1
        return self._levels[level][0].cid, self._size

    def _push(self, level: int, branch: _Branch) -> None:
        if len(self._levels[level]) == WIDTH:
            self._fold(level)
        self._levels[level].append(branch)

    def _fold(self, level: int) -> None:
        branches = self._levels[level]
        if not branches:
            return
        block = _encode_node(branches)
        cid = Cid.of(DAG_PB, block)
        self._sink(cid, block)
        self._levels[level] = []
        if level + 1 == len(self._levels):
            self._levels.append([])
        weight = len(block) + sum(branch.weight for branch in branches)
        self._push(level + 1, _Branch(cid, sum(branch.size for branch in branches), weight))


def file_cid(stream: BinaryIO) -> Cid:
    """The root of a file's content without storing anything; reads `stream` to its end."""
    builder = FileBuilder(lambda _cid, _block: None)
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    while length := read_full(stream, view):
        builder.add(Cid.of(RAW, view[:length]), length)
    return builder.finish()[0]


def read_full(stream: BinaryIO, into: memoryview) -> int:
    """Fill `into` from `stream`; fewer bytes only at the stream's end."""
    filled = 0
    while filled < len(into):
        got = stream.readinto(into[filled:])  # type: ignore[attr-defined]
        if got is None:
            raise InvalidInput("The source is a non-blocking stream.", hint="Give a file or a blocking pipe.")
        if got == 0:
            break
        filled += got
    return filled


def walk(root: Cid, store: BlockStore, expected_size: int) -> Iterator[bytes]:
    """The file's leaves in order, each verified, together exactly `expected_size` bytes.

    Raises `Corrupted` where the tree contradicts itself or the expected size, and `NotFound` where a block is
    missing; what was yielded until then is a true prefix of the file.
    """
    for cid, _offset, size in leaves(root, store, expected_size):
        yield leaf(store, cid, size)


def leaf(store: BlockStore, cid: Cid, size: int) -> bytes:
    """One verified leaf that must have `size` bytes."""
    data = store.get(cid)
    if len(data) != size:
        raise Corrupted(f"Leaf {cid} has {len(data)} bytes where its file says {size}.", hint=_HINT)
    return data


def leaf_cids(root: Cid, store: BlockStore, expected_size: int | None = None) -> list[Cid]:
    """The file's leaves in order; reads inner nodes only. Give `expected_size` for a root from outside."""
    if root.codec == RAW:
        return [root]
    size = _node(root, store).size if expected_size is None else expected_size
    return [cid for cid, _offset, _size in leaves(root, store, size)]


def leaves(
    root: Cid, store: BlockStore, expected_size: int, start: int = 0, stop: int | None = None
) -> Iterator[tuple[Cid, int, int]]:
    """(leaf, its offset in the file, its size) for leaves that touch [start, stop), reading only nodes above them."""
    stop = expected_size if stop is None else stop
    stack = [(root, 0, expected_size, 0)]
    while stack:
        cid, offset, size, depth = stack.pop()
        if cid.codec == RAW:
            if size > MAX_BLOCK:
                raise Corrupted(f"The file under {root} claims a leaf of {size} bytes.", hint=_HINT)
            yield cid, offset, size
            continue
        if depth == MAX_DEPTH:
            raise Corrupted(f"The file under {root} is nested deeper than {MAX_DEPTH} levels.", hint=_HINT)
        node = _node(cid, store)
        if node.size != size:
            raise Corrupted(f"Node {cid} holds {node.size} bytes where {size} were promised.", hint=_HINT)
        below: list[tuple[Cid, int, int, int]] = []
        at = offset
        for child, length in node.children:
            if at < stop and at + length > start:
                below.append((child, at, length, depth + 1))
            at += length
        stack.extend(reversed(below))


def inner_nodes(root: Cid, store: BlockStore, expected_size: int) -> Iterator[Cid]:
    """Every dag-pb node of the file, the root first: what a copy of the file needs besides its leaves."""
    stack = [(root, expected_size, 0)]
    while stack:
        cid, size, depth = stack.pop()
        if cid.codec == RAW:
            continue
        if depth == MAX_DEPTH:
            raise Corrupted(f"The file under {root} is nested deeper than {MAX_DEPTH} levels.", hint=_HINT)
        node = _node(cid, store)
        if node.size != size:
            raise Corrupted(f"Node {cid} holds {node.size} bytes where {size} were promised.", hint=_HINT)
        yield cid
        stack.extend((child, length, depth + 1) for child, length in reversed(node.children))


def parts(root: Cid, store: BlockStore, expected_size: int, absent: Callable[[Cid], None]) -> Iterator[tuple[Cid, int]]:
    """Every block of the file, each once: a leaf with the size it must have, an inner node with the size it has.

    Only inner nodes are read. One that is missing or damaged is told to `absent`, and the walk goes on beside it. The
    tree may be a stranger's: work grows with its blocks, not with the size that it claims.
    """
    seen: dict[Cid, tuple[int, int]] = {}  # size and the greatest depth it was met at
    stack = [(root, expected_size, 0)]
    while stack:
        cid, size, depth = stack.pop()
        known = seen.get(cid)
        if known is not None and known[0] != size:
            raise Corrupted(f"Block {cid} stands for {known[0]} and for {size} bytes of its file.", hint=_HINT)
        if known is not None and known[1] >= depth:
            continue
        seen[cid] = size, depth
        if cid.codec == RAW:
            if size > MAX_BLOCK:
                raise Corrupted(f"The file under {root} claims a leaf of {size} bytes.", hint=_HINT)
            if known is None:
                yield cid, size
            continue
        if depth == MAX_DEPTH:
            raise Corrupted(f"The file under {root} is nested deeper than {MAX_DEPTH} levels.", hint=_HINT)
        _check_inner(cid)
        try:
            block = store.get(cid)
        except (NotFound, Corrupted):
            absent(cid)
            continue
        node = _decoded(cid, block)
        if node.size != size:
            raise Corrupted(f"Node {cid} holds {node.size} bytes where {size} were promised.", hint=_HINT)
        if known is None:
            yield cid, len(block)
        stack.extend((child, length, depth + 1) for child, length in reversed(node.children))


_HINT = "Fetch the file's blocks again from another copy."


def _node(cid: Cid, store: BlockStore) -> Node:
    _check_inner(cid)
    return _decoded(cid, store.get(cid))


def _check_inner(cid: Cid) -> None:
    if cid.codec != DAG_PB:
        raise Corrupted(f"Block {cid} is no part of a file: its codec is neither raw nor dag-pb.", hint=_HINT)


def _decoded(cid: Cid, block: bytes) -> Node:
    try:
        return decode_node(block)
    except InvalidInput as error:
        raise Corrupted(f"Block {cid} is not an inner node of a file: {error.message}", hint=_HINT) from None


def _field(number: int, wire: int) -> bytes:
    return encode_uvarint(number << 3 | wire)


def _delimited(number: int, data: bytes) -> bytes:
    return _field(number, 2) + encode_uvarint(len(data)) + data


def _encode_node(branches: list[_Branch]) -> bytes:
    links = b"".join(
        _delimited(2, _delimited(1, b.cid.bytes) + _delimited(2, b"") + _field(3, 0) + encode_uvarint(b.weight))
        for b in branches
    )
    data = _field(1, 0) + encode_uvarint(_FILE) + _field(3, 0) + encode_uvarint(sum(b.size for b in branches))
    data += b"".join(_field(4, 0) + encode_uvarint(b.size) for b in branches)
    return links + _delimited(1, data)


def decode_node(block: bytes) -> Node:
    """Read an inner node: links before data or data before links (IPIP-550), nothing unknown, sizes consistent.

    A child holds at least one byte, so a tree of n bytes has at most n leaves and walking it ends.
    """
    links: list[Cid] = []
    data: bytes | None = None
    blocks_of_links = 0
    previous = 0
    for number, value in _fields(block):
        if number == 2 and isinstance(value, bytes):
            blocks_of_links += previous != 2
            links.append(_decode_link(value))
        elif number == 1 and isinstance(value, bytes) and data is None:
            data = value
        else:
            raise InvalidInput("a field that dag-pb does not have, or has once only.")
        previous = number
    if data is None or blocks_of_links != 1 or not 0 < len(links) <= WIDTH:
        raise InvalidInput(f"an inner node has data and between 1 and {WIDTH} links, side by side.")
    sizes = _decode_data(data)
    if len(sizes) != len(links):
        raise InvalidInput("a size for every link is needed.")
    return Node(tuple(zip(links, sizes, strict=True)))


def _decode_link(data: bytes) -> Cid:
    cid: Cid | None = None
    previous = 0
    for number, value in _fields(data):
        if number <= previous:
            raise InvalidInput("a link's fields are out of order.")
        previous = number
        if number == 1 and isinstance(value, bytes):
            cid = Cid.parse(value)
        elif not ((number == 2 and value == b"") or (number == 3 and isinstance(value, int))):
            # Tsize (3) decides nothing here: sizes come from the UnixFS data, which is summed from the root.
            raise InvalidInput("a link of a file has a CID, an empty name and a size.")
    if cid is None or cid.codec not in (RAW, DAG_PB):
        raise InvalidInput("a link of a file names a raw or dag-pb block.")
    return cid


def _decode_data(data: bytes) -> list[int]:
    kind = total = None
    sizes: list[int] = []
    for number, value in _fields(data):
        if not isinstance(value, int):
            raise InvalidInput("inner nodes carry sizes only; content lies in raw leaves.")
        if number == 1 and kind is None:
            kind = value
        elif number == 3 and total is None:
            total = value
        elif number == 4:
            sizes.append(value)
        else:
            raise InvalidInput("UnixFS data with a field that a plain file does not have.")
    if kind != _FILE or total != sum(sizes) or 0 in sizes:
        raise InvalidInput("UnixFS data is not a file whose sizes add up.")
    return sizes


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    offset = 0
    while offset < len(data):
        key, offset = decode_uvarint(data, offset)
        value, offset = decode_uvarint(data, offset)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2 and value <= len(data) - offset:
            yield key >> 3, data[offset : offset + value]
            offset += value
        else:
            raise InvalidInput("a protobuf field that is cut short or of another kind.")
