"""Finding an owner's secrets in what a server has: on its disk, in its logs, in its processes' environments."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.job.canaries import search

WINDOW = 3  # neighbouring words of a recovery phrase: fewer are too common, and whoever kept more kept these


def of_text(name: str, text: str) -> dict[str, bytes]:
    """The byte strings by which a text may be found."""
    found = {f"{name}, {code}": text.encode(code) for code in ("utf-16-le", "utf-16-be", "utf-32-le")}
    return found | of_bytes(name, text.encode())


def of_bytes(name: str, raw: bytes) -> dict[str, bytes]:
    """The byte strings by which these bytes may be found."""
    found = {"as it is": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(), "reversed": raw[::-1]}
    found["json"] = ",".join(map(str, raw)).encode()
    found["json, spaced"] = ", ".join(map(str, raw)).encode()
    for offset in range(3):
        # Characters that also depend on the neighbours are cut off, so any surroundings match.
        text = base64.b64encode(bytes(offset) + raw)[(0, 2, 3)[offset] :]
        found[f"base64 +{offset}"] = text[: len(text) - 4]
        found[f"base64url +{offset}"] = found[f"base64 +{offset}"].translate(bytes.maketrans(b"+/", b"-_"))
    return {f"{name}, {form}": pattern for form, pattern in found.items()}


def of_words(words: list[str]) -> dict[str, bytes]:
    """The byte strings by which a recovery phrase, or a good part of it, may be found."""
    found = {}
    for at in range(len(words) - WINDOW + 1):
        part = words[at : at + WINDOW]
        for name, between in (
            ("spaces", " "),
            ("lines", "\n"),
            ("commas", ","),
            ("json", '", "'),
            ("tight json", '","'),
        ):
            found |= of_text(f"words {at + 1}, {name}", between.join(part))
    return found


def in_folder(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Every find below `folder`, as `path: what`; names of files count too, and what is compressed in them."""
    found = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        found += [f"{place}: name: {what}" for what, pattern in wanted.items() if pattern in str(place).encode()]
        if path.is_file() and not path.is_symlink():
            found += [f"{place}: {what}" for what in search(path.read_bytes(), wanted)]
    return found


def in_processes(pids: Iterable[int], wanted: dict[str, bytes]) -> list[str]:
    """Every find in the environments and command lines of these processes."""
    return [f"process {pid}, {part}: {what}" for pid in pids for part, what in _finds(pid, wanted)]


def _finds(pid: int, wanted: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    for part in ("environ", "cmdline"):
        for what in search(Path(f"/proc/{pid}/{part}").read_bytes(), wanted):
            yield part, what
