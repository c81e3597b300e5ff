"""Files that survive a crash: atomic writes, and a lock that names its holder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
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


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o600) -> None:
    """Write `data`, or a stream of it, so that `path` holds either its former content or all of the new, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.writelines((data,) if isinstance(data, bytes) else data)
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

    Raises `Conflict` if `path` exists, unless `overwrite`, which replaces nothing but files and links. If `pieces`
    fails, no file is left; where the file system has nameless files (O_TMPFILE), a kill leaves none either.
    """
    _check_replaceable(path, overwrite)
    size = 0
    fd, name = _unfinished(path.parent)
    try:
        try:
            for piece in pieces:
                size += _write_all(fd, piece)
            os.fsync(fd)
            if name is None and overwrite:
                name = str(path.parent / f"{_UNFINISHED}{secrets.token_hex(8)}")
                _link_nameless(fd, name)
            elif name is None:
                _take_name(path, lambda: _link_nameless(fd, str(path)))
        finally:
            os.close(fd)
        if name is not None and overwrite:
            os.replace(name, path)
        elif name is not None:
            source = name
            _take_name(path, lambda: os.link(source, path))
    finally:
        if name is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    sync_directory(path.parent)
    return size


def shred(path: Path) -> None:
    """Overwrite a file with zeros and remove it, durably; one that is not there is no error."""
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            for start in range(0, size, _ZEROS):
                os.pwrite(fd, bytes(min(_ZEROS, size - start)), start)
            os.fsync(fd)
        finally:
            os.close(fd)
        path.unlink()
        sync_directory(path.parent)


_ZEROS = 1 << 20
_LOCK_LOOK = 0.02  # seconds between two tries to take a lock
_UNFINISHED = ".allod-new-"
_OWN_DESCRIPTORS = "/proc/self/fd"


def _unfinished(folder: Path) -> tuple[int, str | None]:
    """A new file in `folder` of mode 0600: without a name, so that it ends with its descriptor, or else with one."""
    if os.access(_OWN_DESCRIPTORS, os.R_OK | os.X_OK):  # a process that may not be dumped may be kept out
        with contextlib.suppress(OSError):  # not every file system has nameless files
            fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            os.fchmod(fd, 0o600)
            return fd, None
    return tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)  # mkstemp makes it 0600


def _link_nameless(fd: int, name: str) -> None:
    # With a directory given, Python calls linkat and follows the link that the descriptor's entry is.
    descriptors = os.open(_OWN_DESCRIPTORS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), name, src_dir_fd=descriptors)
    finally:
        os.close(descriptors)


def _take_name(path: Path, link: Callable[[], None]) -> None:
    try:
        link()  # fails where a rename would overwrite
    except FileExistsError:
        raise _exists(path) from None


def _write_all(fd: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


def _check_replaceable(path: Path, overwrite: bool) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not overwrite:
        raise _exists(path)
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise Conflict(f"{path} is not a file, so it is not replaced.", hint="Choose another name.")


def _exists(path: Path) -> Conflict:
    return Conflict(f"{path} exists already.", hint="Choose another name, or say that it may be replaced.")


class Lock:
    """An exclusive advisory lock (flock) on `path`; the kernel frees it when the holder dies.

    `patience` is for how many seconds it is waited for, where each holder needs it for a moment only.
    """

    def __init__(self, path: Path, *, what: str, patience: float = 0.0) -> None:
        self._path = path
        self._what = what
        self._patience = patience
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise `Busy`, which names the process that holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self._patience
        while not self._take(fd):
            if time.monotonic() < deadline:
                time.sleep(_LOCK_LOOK)
                continue
            holder = os.pread(fd, 4096, 0).decode("utf-8", "replace")
            os.close(fd)
            raise Busy(
                f"{self._what} is in use by {_describe(holder)}.",
                hint="Wait until it has finished, or stop that process.",
                path=str(self._path),
            )
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])
        note = json.dumps({"pid": os.getpid(), "command": command}).encode()
        os.ftruncate(fd, 0)
        os.pwrite(fd, note, 0)
        self._fd = fd

    @staticmethod
    def _take(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

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


def is_locked(path: Path) -> bool:
    """Whether somebody holds the `Lock` on `path` now. Who asks has it for a moment, so who takes it is patient."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _describe(holder: str) -> str:
    try:
        note = json.loads(holder)
        return f"process {int(note['pid'])} ({note['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
