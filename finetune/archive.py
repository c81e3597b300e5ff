"""A bundle as one tar file that has the same bytes whoever packs it: docs/format/72-provenance.md.

Only the names of that page go in, in their order, below one folder, without times or owners of this machine. It is
read as a stream, and read like any bundle (`finetune.bundle`): no link is followed and nothing but plain files opened.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator

from core.errors import Corrupted
from finetune.bundle import LIMITS, MAX_ADAPTER_FILE, Bundle
from finetune.modelsign import PUBLIC_KEY_FILE, SIGNATURE_FILE
from finetune.provenance import ADAPTER, EVIDENCE, STATEMENT

FOR_PEOPLE = ("transactions.json", "losses.json", "refusals.json")
_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_LICENCE = re.compile(r"[0-9a-f]{64}\.cbor")


class Archive:
    """The tar of a bundle; `size` is known before the first byte is read."""

    def __init__(self, bundle: Bundle, folder: str) -> None:
        """`folder` is the name of the one folder that everything lies in."""
        self._bundle = bundle
        self._folder = folder
        self._files = [(name, bundle.size(name, MAX_ADAPTER_FILE)) for name in _names(bundle)]

    @property
    def size(self) -> int:
        """Bytes of the whole tar."""
        return sum(len(self._header(name, size)) + _padded(size) for name, size in self._files) + 2 * _BLOCK

    def chunks(self) -> Iterator[bytes]:
        """The tar, piece by piece; `Corrupted` where a file changes while it is read."""
        for name, size in self._files:
            yield self._header(name, size)
            read = 0
            for chunk in self._bundle.chunks(name, MAX_ADAPTER_FILE, _CHUNK):
                read += len(chunk)
                yield chunk
            if read != size:
                raise Corrupted(f"{name} changed while it was read.")
            yield bytes(_padded(size) - size)
        yield bytes(2 * _BLOCK)

    def _header(self, name: str, size: int) -> bytes:
        info = tarfile.TarInfo(f"{self._folder}/{name}")
        info.size, info.mode, info.mtime = size, 0o644, 0
        return info.tobuf(tarfile.PAX_FORMAT)


def _names(bundle: Bundle) -> list[str]:
    """What of a bundle's page is there, sorted."""
    found = [name for name in (STATEMENT, SIGNATURE_FILE, PUBLIC_KEY_FILE) if bundle.has(name)]
    if bundle.has(ADAPTER):
        found += [f"{ADAPTER}/{name}" for name in bundle.adapter_names()]
    evidence = sorted((LIMITS.keys() - {"licences"}) | set(FOR_PEOPLE))
    found += [f"{EVIDENCE}/{name}" for name in evidence if bundle.has(f"{EVIDENCE}/{name}")]
    found += [f"{EVIDENCE}/licences/{name}" for name in bundle.licence_names() if _LICENCE.fullmatch(name)]
    return sorted(found)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
