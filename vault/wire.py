"""Bodies on their way to kubo and back: a form that is sent without copying, and chunks with the word behind them.

Whatever ends early or is malformed is `Away`, so that it is asked for again; what kubo reports is `KuboError`.
"""

from __future__ import annotations

import http.client
import io
import re
import secrets
from collections.abc import Iterator, Sequence

from vault.blocks import Data

_READ = 64 << 10
_CHUNK = 4 << 20  # bytes; above what anybody sends as one chunk
_LINE = 1 << 10
_CHUNK_HEAD = re.compile(rb"[0-9a-fA-F]{1,15}(;.*)?")


class Away(Exception):
    """The node does not answer now; it may later."""


class KuboError(Exception):
    """The node answered that it cannot do it, in its own words."""

    @property
    def means_absent(self) -> bool:
        """Whether a block, or a pin, is not there."""
        return re.search(r"not found|could not find|not pinned", str(self)) is not None


class Upload:
    """One file in a multipart form, of known length, sent piece by piece without copying."""

    def __init__(self, pieces: Sequence[Data]) -> None:
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="blocks.car"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        self._pieces: tuple[Data, ...] = (head.encode(), *pieces, f"\r\n--{boundary}--\r\n".encode())
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(sum(memoryview(piece).nbytes for piece in self._pieces)),
        }

    def __iter__(self) -> Iterator[Data]:
        return iter(self._pieces)


class Stream(io.RawIOBase):
    """Pieces as a stream to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(into), len(self._rest))
        into[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def read_chunks(reply: http.client.HTTPResponse) -> Iterator[bytes]:
    """A chunked body (RFC 9112 § 7.1), several chunks at once. kubo's are of 4 KiB, each of which the standard library
    reads by itself; and it throws away the trailer, in which kubo says that what came before is not all."""
    file: io.BufferedReader = reply.fp
    buffer = b""
    while True:
        whole: list[bytes] = []
        at, size, end = 0, -1, buffer.find(b"\r\n", 0, _LINE)
        while end >= 0:
            size = 4096 if buffer[at:end] == b"1000" else _size(buffer[at:end])
            stop = end + 2 + size
            if size == 0 or stop + 2 > len(buffer):
                break
            if buffer[stop : stop + 2] != b"\r\n":
                raise Away("The reply is malformed.")
            whole.append(buffer[end + 2 : stop])
            at, size, end = stop + 2, -1, buffer.find(b"\r\n", stop + 2, stop + 2 + _LINE)
        if whole:
            yield b"".join(whole)
        if size == 0:
            break
        buffer = buffer[at:]
        if end < 0 and len(buffer) > _LINE:
            raise Away("The reply is malformed.")
        buffer += _some(file)
    trailer = buffer[end + 2 :]
    while not trailer.startswith(b"\r\n") and b"\r\n\r\n" not in trailer:
        if len(trailer) > 16 * _LINE:
            raise Away("The reply is malformed.")
        trailer += _some(file)
    for line in trailer.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"x-stream-error" and value.strip():
            raise KuboError(printable(value.decode("utf-8", "replace")))


def _size(head: bytes) -> int:
    """A chunk's length by the line in front of it."""
    if not _CHUNK_HEAD.fullmatch(head) or (size := int(head.partition(b";")[0], 16)) > _CHUNK:
        raise Away("The reply is malformed.")
    return size


def _some(file: io.BufferedReader) -> bytes:
    got = file.read1(_READ)
    if not got:
        raise Away("The reply was cut.")
    return got


def printable(text: str) -> str:
    """At most 300 characters of what a node says, fit to be shown."""
    return "".join(char for char in text.strip()[:300] if char.isprintable())
