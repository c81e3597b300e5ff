"""Block lists: what a kubo node pins so that it keeps our blocks, and by which we know which blocks those are.

kubo files blocks by hash alone: it knows neither whose they are nor their codecs, and one pin for each would make it
slow. A list is a dag-cbor node with up to `FULL` of our CIDs, by codec; its links name them all as raw, so that pinning
a list keeps exactly these blocks and looks behind none of them. An announcement names blocks that are on their way: it
is pinned before they are sent, so that no garbage collection takes them before a list does, and nobody counts them yet.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable

from core.encoding import encode_cbor
from core.errors import InvalidInput
from vault.cid import CODECS, DAG_CBOR, RAW, Cid
from vault.documents import read_document

FULL = 1024  # entries above which a new list is begun
KIND = "block-list"
COMING = "blocks-coming"
_NONCE = 16  # bytes, by which no two announcements are the same


def raw(cid: Cid) -> Cid:
    """The CID under which kubo stores a block's bytes without looking into them."""
    return Cid(RAW, cid.digest)


def encode_list(cids: Iterable[Cid]) -> tuple[Cid, bytes]:
    """The list of these blocks, in any order, and its CID."""
    digests: dict[int, list[bytes]] = {codec: [] for codec in CODECS}
    for cid in set(cids):
        digests[cid.codec].append(cid.digest)
    members = {CODECS[codec]: [Cid(RAW, digest).link for digest in sorted(found)] for codec, found in digests.items()}
    data = encode_cbor({"v": 1, "kind": KIND, **members})
    return Cid.of(DAG_CBOR, data), data


def decode_list(data: bytes) -> frozenset[Cid]:
    """The blocks that a list names; `InvalidInput` if the bytes are no list."""
    members = read_document(data, KIND, CODECS.values())
    found: set[Cid] = set()
    for codec, name in CODECS.items():
        named = members.cids(name)
        if any(cid.codec != RAW for cid in named) or list(named) != sorted(set(named)):
            raise InvalidInput("A block list names blocks as raw, in order, each once.")
        found.update(Cid(codec, cid.digest) for cid in named)
    return frozenset(found)


def encode_announcement(cids: Iterable[Cid]) -> tuple[Cid, bytes]:
    """A new announcement of these blocks, made now, and its CID, which no other one has."""
    blocks = [Cid(RAW, digest).link for digest in sorted({cid.digest for cid in cids})]
    members = {"time": int(time.time()), "nonce": secrets.token_bytes(_NONCE), "blocks": blocks}
    data = encode_cbor({"v": 1, "kind": COMING, **members})
    return Cid.of(DAG_CBOR, data), data


def decode_announcement(data: bytes) -> int:
    """When an announcement was made, in seconds since 1970; `InvalidInput` if the bytes are none."""
    members = read_document(data, COMING, ("time", "nonce", "blocks"))
    members.octets("nonce", _NONCE)
    if any(cid.codec != RAW for cid in members.cids("blocks")):
        raise InvalidInput("An announcement names blocks as raw.")
    return members.number("time")
