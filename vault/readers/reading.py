"""The one door of the readers: bytes in, numbered records out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final

from vault.readers.chat import read_lines, read_values
from vault.readers.detection import BINARY, HEAD, JSON, JSON_LINES, MARKDOWN, TEXT, detect
from vault.readers.record import BrokenRecord, Draft, Record
from vault.readers.source import as_utf8, peek, pieces
from vault.readers.text import read_text

_READERS: Final[dict[str, Callable[[Iterator[bytes]], Iterator[Draft | BrokenRecord]]]] = {
    TEXT: read_text,
    MARKDOWN: read_text,
    JSON_LINES: read_lines,
    JSON: read_values,
}


def read_records(
    name: str, media_type: str | None, data: BinaryIO | Iterable[bytes]
) -> Iterator[Record | BrokenRecord]:
    """The records of a file in order, numbered from 0, and what of it is broken.

    `media_type` None lets the content decide, as owners' previews and jobs do; a type given is taken at its word.
    `name` appears in the reason when nothing in the file can be read. Streams: memory does not grow with the file.
    """
    head, stream = peek(pieces(data), HEAD)
    reader = _READERS.get(media_type or detect(head))
    if reader is None:
        what = f"{name} is" if name else "It is"
        yield BrokenRecord("whole file", f"{what} neither text, nor chat lines, nor a list of conversations.")
        return
    index = 0
    for item in reader(as_utf8(stream)):
        if isinstance(item, Draft):
            yield item.record(index)
            index += 1
        else:
            yield item


def media_type_of(name: str, head: bytes) -> str:
    """What to call a file in a list: its detected type, made finer by its name where that changes no reading."""
    import mimetypes

    found = detect(head)
    guessed = mimetypes.guess_type(name, strict=False)[0]
    if found == TEXT and name.lower().endswith((".md", ".markdown")):
        return MARKDOWN
    if found == BINARY and guessed is not None and not guessed.startswith("text/"):
        return guessed
    return found
