"""Finding a canary on disk in whatever form it got there: as text, encoded, compressed, or as token ids."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_UNPACKERS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    *(
        (head, lambda data: zlib.decompressobj().decompress(data))
        for head in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
    ),
    (b"\x1f\x8b\x08", lambda data: zlib.decompressobj(31).decompress(data)),
    (b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data)),
    (b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor().decompress(data)),
]


def forms(canary: str, ids: Sequence[int]) -> dict[str, bytes]:
    """The byte strings by which a canary with these token ids may be found."""
    raw = canary.encode()
    found = {
        "utf-8": raw,
        "utf-16-le": canary.encode("utf-16-le"),
        "utf-16-be": canary.encode("utf-16-be"),
        "utf-32-le": canary.encode("utf-32-le"),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "reversed": raw[::-1],
        "ids as text": ",".join(map(str, ids)).encode(),
        "ids as json": ", ".join(map(str, ids)).encode(),
        "ids in lines": "\n".join(map(str, ids)).encode(),
    }
    for offset in range(3):
        # Characters that also depend on the neighbours are cut off, so any surroundings match.
        text = base64.b64encode(bytes(offset) + raw)
        text = text[(0, 2, 3)[offset] :]
        found[f"base64 +{offset}"] = text[: len(text) - 4]
        found[f"base64url +{offset}"] = found[f"base64 +{offset}"].translate(bytes.maketrans(b"+/", b"-_"))
    for code in "BHIQ":
        if max(ids) < 1 << 8 * array(code).itemsize:
            words = array(code, ids)
            found[f"ids {words.itemsize} le"] = words.tobytes()
            words.byteswap()
            found[f"ids {words.itemsize} be"] = words.tobytes()
    found["ids cbor"] = b"".join(_cbor(number) for number in ids)
    return found


def _cbor(number: int) -> bytes:
    if number < 24:
        return bytes([number])
    return bytes([0x18, number]) if number < 256 else b"\x19" + number.to_bytes(2, "big")


def search(data: bytes, wanted: dict[str, bytes], *, depth: int = 2) -> Iterator[str]:
    """The names of the forms that stand in `data`, also inside what is compressed in it."""
    yield from (name for name, pattern in wanted.items() if pattern in data)
    if depth == 0:
        return
    for head, unpack in _UNPACKERS:
        at = data.find(head)
        while at >= 0:
            try:
                inner = unpack(data[at : at + (4 << 20)])
            except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
                inner = b""
            yield from (f"compressed {name}" for name in search(inner, wanted, depth=depth - 1) if inner)
            at = data.find(head, at + 1)


def search_folder(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Every find below `folder`, as `path: form`; file names count too."""
    found = []
    for path in sorted(folder.rglob("*")):
        found += [f"{path.relative_to(folder)}: name" for pattern in wanted.values() if pattern in str(path).encode()]
        if path.is_file() and not path.is_symlink():
            found += [f"{path.relative_to(folder)}: {name}" for name in search(path.read_bytes(), wanted)]
    return found


def plant(form: str, canary: str, ids: Sequence[int]) -> bytes:
    """A file's bytes with the canary in this form, for trying the search itself."""
    sentence = f"xx{canary}yy".encode()
    wrapped = {
        "zlib": lambda: zlib.compress(sentence),
        "gzip": lambda: gzip.compress(sentence),
        "bz2": lambda: bz2.compress(sentence),
        "xz": lambda: lzma.compress(sentence),
        "gzip of base64": lambda: gzip.compress(base64.b64encode(sentence)),
        "base64 of any": lambda: base64.b64encode(b"z" * (len(canary) % 3 + 1) + sentence),
    }
    body = wrapped[form]() if form in wrapped else forms(canary, ids)[form]
    return b"some other bytes \0" + body + b"\xff and more"
