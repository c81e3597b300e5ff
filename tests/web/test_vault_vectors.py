"""The vectors of pages 10 to 40 of the format hold in Chromium as they do in Python."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from playwright.sync_api import Page

from core.encoding import encode_cbor, encode_uvarint
from tests.web.serving import ROOT
from vault.car import write_car
from vault.cid import DAG_CBOR, RAW, Cid
from vault.unixfs import CHUNK, FileBuilder

pytestmark = pytest.mark.needs_browser

VECTORS = ROOT / "tests" / "vectors"
RUN = "([suite, vectors]) => runVectors(suite, vectors)"


def hold(page: Page, suite: str, vectors: Any, at_least: int) -> None:
    """Every vector of the suite holds; those that do not are told by name."""
    found: list[dict[str, Any]] = page.evaluate(RUN, [suite, vectors])
    assert len(found) >= at_least
    assert len({outcome["name"] for outcome in found}) == len(found)
    assert {outcome["name"]: outcome["error"] for outcome in found if outcome["error"]} == {}


def shown(value: Any) -> Any:
    """Bytes as the vectors spell them."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("suite", "count"),
    [("payload", 20), ("keys", 20), ("merkle", 17), ("shamir", 9), ("hpke", 8), ("manifests", 10), ("uploads", 2)],
)
def test_a_file_of_vectors_holds(vector_page: Page, suite: str, count: int) -> None:
    hold(vector_page, suite, json.loads((VECTORS / f"{suite}.json").read_text("utf-8")), count)


def test_every_payload_vector_releases_what_it_may_and_nothing_else(vector_page: Page) -> None:
    files = []
    for path in sorted((VECTORS / "payload").iterdir()):
        if path.suffix or not path.is_file():
            continue
        header, _, body = path.read_bytes().partition(b"\n\n")
        lines = dict(line.split(": ", 1) for line in header.decode().splitlines())
        opens = {key[8:]: value for key, value in lines.items() if key.startswith("segment ")}
        files.append(
            {
                "name": path.name,
                "expect": lines["expect"],
                "vault_id": "0x" + lines["vault id"],
                "object_id": "0x" + lines["object id"],
                "dek": "0x" + lines["dek"],
                "commit": "0x" + lines["dek commit"],
                "size": int(lines["size"]),
                "opens": opens,
                "body": base64.b64encode(body).decode(),
            }
        )
    hold(vector_page, "payloads", {"files": files}, 80)


def test_files_have_the_cids_of_the_profile(vector_page: Page) -> None:
    vectors = json.loads((VECTORS / "cid.json").read_text("utf-8"))
    for case in vectors["files"]:
        if "utf8" in case:
            case["leaves"] = [[hashlib.sha256(case["utf8"].encode()).digest(), case["size"]]] if case["size"] else []
            case["content"] = case["utf8"]
            continue
        stream = Cipher(
            algorithms.ChaCha20(hashlib.sha256(case["seed"].encode()).digest(), bytes(16)), None
        ).encryptor()
        case["leaves"], left = [], case["size"]
        while left:
            size = min(CHUNK, left)
            case["leaves"].append([hashlib.sha256(stream.update(bytes(size))).digest(), size])
            left -= size
    hold(vector_page, "cid", shown(vectors), 15)


def test_what_python_encodes_and_refuses_the_page_does_too(vector_page: Page) -> None:
    link = Cid.of(DAG_CBOR, b"x").link
    values = {
        "integers": [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**64 - 1],
        "negative": [-1, -24, -25, -256, -257, -(2**32), -(2**53) - 5, -(2**64)],
        "texts": ["", "a", "käse", "\U0001f9c0" * 30, "\ufeffmark", "\x00"],
        "bytes": [b"", bytes(23), bytes(24), bytes(70000)],
        "map": {"bb": 1, "a": 2, "c": 3, "__proto__": 4, "constructor": {"toString": None}, "ä": True, "": False},
        "links": {"one": link, "more": [link, link]},
        "nothing": None,
        "deep": _nested(32),
    }
    spoilt = {
        "a long integer": b"\x18\x17",
        "a longer integer": b"\x19\x00\xff",
        "the longest integer": b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
        "a long length": b"\x58\x01\x00",
        "a float": cbor2.dumps(1.5),
        "half a float": b"\xf9\x3c\x00",
        "undefined": b"\xf7",
        "another simple value": b"\xf8\xff",
        "open length": b"\x5f\x41\x00\xff",
        "an open list": b"\x9f\xff",
        "keys out of order": b"\xa2\x61b\x00\x61a\x00",
        "a longer key first": b"\xa2\x62aa\x00\x61b\x00",
        "a key twice": b"\xa2\x61a\x00\x61a\x00",
        "a key that is no text": b"\xa1\x01\x00",
        "bytes as a key": b"\xa1\x41a\x00",
        "another tag": b"\xc1\x00",
        "a link without its zero": b"\xd8\x2a\x41\x01",
        "an empty link": b"\xd8\x2a\x40",
        "a link to a text": b"\xd8\x2a\x61\x00",
        "a tag in two bytes": b"\xd9\x00\x2a\x41\x00",
        "two values": b"\x00\x00",
        "nothing at all": b"",
        "cut in a text": b"\x62a",
        "cut in a list": b"\x82\x00",
        "cut in a map": b"\xa1\x61a",
        "a list of 2^60": b"\x9b" + (2**60).to_bytes(8, "big"),
        "a map of 2^63": b"\xbb" + (2**63).to_bytes(8, "big"),
        "a text of 2^64 - 1": b"\x7b" + b"\xff" * 8,
        "no UTF-8": b"\x61\xff",
        "half a character": b"\x63\xed\xa0\x80",
        "too deep": b"\x81" * 33 + b"\x00",
        "far too deep": b"\x81" * 100000 + b"\x00",
    }
    blocks = [(Cid.of(RAW, data), data) for data in (b"", b"hello world", bytes(1 << 16))]
    whole = _car(blocks)
    header = encode_cbor({"roots": [], "version": 1})
    frame = encode_uvarint(36 + 5)
    wrong = {
        "cut in a block": whole[:-1],
        "cut in a length": whole + b"\x80",
        "another byte": whole[:-1] + b"\x01",
        "no header": b"",
        "a header of 0": b"\x00",
        "version 2": _lengthed(encode_cbor({"roots": [], "version": 2})),
        "a member too many": _lengthed(encode_cbor({"roots": [], "version": 1, "x": 1})),
        "no roots": _lengthed(encode_cbor({"version": 1})),
        "roots that are none": _lengthed(encode_cbor({"roots": [b""], "version": 1})),
        "version true": _lengthed(encode_cbor({"roots": [], "version": True})),
        "a block without a CID": _lengthed(header) + b"\x01\x00",
        "a block of 2 MiB and a byte": _car([(Cid.of(RAW, b""), b"")]) + encode_uvarint(36 + (2 << 20) + 1),
        "another hash": _lengthed(header) + frame + Cid.of(RAW, b"hello").bytes + b"HELLO",
        "another kind of CID": _lengthed(header) + frame + b"\x01\x55\x13\x20" + bytes(32) + b"hello",
        "a length with a zero": _lengthed(header) + b"\xa9\x00" + Cid.of(RAW, b"hello").bytes + b"hello",
        "a length of 5 bytes": _lengthed(header) + b"\xff\xff\xff\xff\x01",
    }
    made: list[bytes] = []
    builder = FileBuilder(lambda _cid, block: made.append(block))
    leaves = [(Cid.of(RAW, bytes((i,)) * size), size) for i, size in enumerate((CHUNK, CHUNK, 7))]
    for cid, size in leaves:
        builder.add(cid, size)
    builder.finish()
    (node,) = made
    data = _data([size for _, size in leaves])
    assert node.endswith(data)
    links = node.removesuffix(data)
    nodes = {
        "as written": (node, True),
        "data first": (data + links, True),
        "cut": (node[:-1], False),
        "empty": (b"", False),
        "data twice": (node + data, False),
        "links apart": (links[: len(links) // 3] + data + links[len(links) // 3 :], False),
        "a field too many": (node + b"\x18\x01", False),
        "a size that does not add up": (node[:-1] + b"\x08", False),
        "a size too few": (links + _data([CHUNK, CHUNK + 7]), False),
        "a size of 0": (links + _data([CHUNK, CHUNK + 7, 0]), False),
        "a link to a document": (_linked(Cid.of(DAG_CBOR, b"")) + _data([7]), False),
        "a link with a name": (_linked(leaves[2][0], b"x") + _data([7]), False),
        "a link without a name": (_linked(leaves[2][0]) + _data([7]), [leaves[2]]),
        "only data": (data, False),
    }
    terms = Cid.of(RAW, b"terms")
    publications = {
        "as written": (
            _published(header=link, terms=terms.link, shares=link),
            [str(Cid.from_link(link)), str(terms), str(Cid.from_link(link))],
        ),
        "terms that are a document": (_published(header=link, terms=link, shares=link), None),
        "a header that is raw": (_published(header=terms.link, terms=terms.link, shares=link), None),
        "a member too many": (_published(header=link, terms=terms.link, shares=link, more=1), None),
    }
    cases = {
        "cbor": [{"name": name, "data": encode_cbor(value)} for name, value in values.items()],
        "not_cbor": [{"name": name, "data": data} for name, data in spoilt.items()],
        "cars": [
            {"name": "of three", "data": whole, "blocks": [[str(cid), data] for cid, data in blocks]},
            {"name": "of none", "data": _car([]), "blocks": []},
            *({"name": name, "data": data, "blocks": None} for name, data in wrong.items()),
        ],
        "nodes": [
            {"name": name, "data": data, "children": _children(leaves if good is True else good)}
            for name, (data, good) in nodes.items()
        ],
        "publications": [{"name": name, "data": data, "links": links} for name, (data, links) in publications.items()],
    }
    hold(vector_page, "encodings", shown(cases), 60)


def _nested(levels: int) -> Any:
    return [_nested(levels - 1)] if levels else 0


def _car(blocks: list[tuple[Cid, bytes]]) -> bytes:
    sink = io.BytesIO()
    write_car(sink, (), blocks)
    return sink.getvalue()


def _lengthed(data: bytes) -> bytes:
    return encode_uvarint(len(data)) + data


def _data(sizes: list[int]) -> bytes:
    """The second part of a file's node: its UnixFS data, with field and length in front."""
    total = b"\x08\x02\x18" + encode_uvarint(sum(sizes))
    return b"\x0a" + _lengthed(total + b"".join(b"\x20" + encode_uvarint(size) for size in sizes))


def _linked(cid: Cid, name: bytes | None = None) -> bytes:
    named = b"" if name is None else b"\x12" + _lengthed(name)
    return b"\x12" + _lengthed(b"\x0a" + _lengthed(cid.bytes) + named)


def _children(leaves: list[tuple[Cid, int]] | bool) -> list[list[Any]] | None:
    return [[str(cid), size] for cid, size in leaves] if isinstance(leaves, list) else None


def _published(**links: Any) -> bytes:
    return encode_cbor({"v": 1, "kind": "publication", **links})
