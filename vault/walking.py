"""Which files of a folder are added to a vault, in which order, and which are not and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import NotFound


@dataclass(frozen=True, slots=True)
class Addable:
    """A file to seal; `name` is its path from the added folder on, with forward slashes. `size` in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """What stays out, and the sentence that says why."""

    name: str
    reason: str


def walk(path: Path) -> Iterator[Addable | Skipped]:
    """A file itself, or the files below a folder, sorted by name. Hidden ones, links and special files are skipped."""
    try:
        status = path.stat()
    except OSError as error:
        raise NotFound(f"{path} cannot be opened: {_reason(error)}", hint="Check the path.") from None
    name = _shown(path.name or path.resolve().name)
    if stat.S_ISDIR(status.st_mode):
        yield from _below(path, name)
    elif stat.S_ISREG(status.st_mode):
        yield Addable(path, name, status.st_size)
    else:
        yield Skipped(name, "It is neither a file nor a folder.")


def _below(folder: Path, prefix: str) -> Iterator[Addable | Skipped]:
    open_folders = [_listed(folder, prefix)]  # a stack of our own: folders may lie deeper than Python's
    while open_folders:
        item = next(open_folders[-1], None)
        if item is None:
            open_folders.pop()
        elif isinstance(item, _Folder):
            open_folders.append(_listed(item.path, item.name))
        else:
            yield item


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    name: str


def _listed(folder: Path, prefix: str) -> Iterator[Addable | Skipped | _Folder]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(prefix, _reason(error))
        return
    for entry in entries:
        name = f"{prefix}/{_shown(entry.name)}"
        try:
            yield _entry(entry, name)
        except OSError as error:
            yield Skipped(name, _reason(error))


def _entry(entry: os.DirEntry[str], name: str) -> Addable | Skipped | _Folder:
    if entry.name.startswith("."):
        return Skipped(name, "It is hidden.")
    if entry.is_symlink():
        # Inside the folder its target is added under its own name; outside it was not asked for.
        return Skipped(name, "It is a link; what it points to is added only under its own name.")
    if entry.is_dir():
        return _Folder(Path(entry.path), name)
    if entry.is_file():
        return Addable(Path(entry.path), name, entry.stat().st_size)
    return Skipped(name, "It is neither a file nor a folder.")


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _reason(error: OSError) -> str:
    return f"{error.strerror or 'It cannot be read'}."
