"""Files that survive a crash: atomic writes, and a lock that names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from core.errors import Busy, Conflict


def sync_directory(path: Path) -> None:
    """Make names created or removed in `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` so that `path` holds either its former content or all of the new one, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)


def write_pieces(path: Path, pieces: Iterable[bytes], *, overwrite: bool = False) -> int:
    """Write a stream to `path` (mode 0600), whole or not at all; its size in bytes.

    Raises `Conflict` if `path` exists, unless `overwrite`. If `pieces` fails, no file is left.
    """
    if not overwrite and os.path.lexists(path):
        raise _exists(path)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=".allod-new-")  # mkstemp makes it 0600
    try:
        size = 0
        with os.fdopen(fd, "wb") as file:
            for piece in pieces:
                size += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(name, path)
        else:
            try:
                os.link(name, path)  # fails where a rename would overwrite
            except FileExistsError:
                raise _exists(path) from None
            os.unlink(name)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_directory(path.parent)
    return size


def _exists(path: Path) -> Conflict:
    return Conflict(f"{path} exists already.", hint="Choose another name, or say that it may be replaced.")


class Lock:
    """An exclusive advisory lock (flock) on `path`; the kernel frees it when the holder dies."""

    def __init__(self, path: Path, *, what: str) -> None:
        self._path = path
        self._what = what
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise `Busy`, which names the process that holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 4096, 0).decode("utf-8", "replace")
            os.close(fd)
            raise Busy(
                f"{self._what} is in use by {_describe(holder)}.",
                hint="Wait until it has finished, or stop that process.",
                path=str(self._path),
            ) from None
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])
        note = json.dumps({"pid": os.getpid(), "command": command}).encode()
        os.ftruncate(fd, 0)
        os.pwrite(fd, note, 0)
        self._fd = fd

    def release(self) -> None:
        """Free the lock; doing it twice is harmless."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _describe(holder: str) -> str:
    try:
        note = json.loads(holder)
        return f"process {int(note['pid'])} ({note['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
