"""What happened to a job, in order: one JSON line an event, in the job's folder, for whoever watches.

Whoever works on the job (it holds the folder's lock) writes; anybody reads at the same time, from another process and
across restarts. Promises: events are numbered from 1 without a gap in the order they were written; a line that a crash
tore is cut off by the next writer and never shown; the file stays below `MAX_BYTES`. What goes first when it is full
is progress, then the oldest of the rest, and a reader is told how many it missed. Nothing is in it but states, counts,
losses and sentences that were made for people.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.files import write_atomic

NAME = "events.jsonl"
MAX_BYTES = 1 << 20
PROGRESS_SECONDS = 1.0  # the least time between two steps that are written down
_MAX_LINE = 4096
_PASSING = ("step", "phase", "stage")  # not worth the disk's time: a power cut may take the last of them


class EventLog:
    """The writer's side of a job's events."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / NAME
        self._clock = clock
        self._last_step = float("-inf")
        whole, known = _whole(self._path)
        if known is not None and known > whole:
            with open(self._path, "r+b") as file:
                file.truncate(whole)
        self.known = _read(self._path)
        """What was there already."""
        self._number = self.known[-1]["n"] if self.known else 0

    def add(self, kind: str, **fields: Any) -> None:
        """Write an event; texts are cut at a few hundred characters."""
        event: dict[str, Any] = {"n": self._number + 1, "at": round(self._clock(), 3), "kind": kind}
        event |= {name: value[:500] if isinstance(value, str) else value for name, value in fields.items()}
        line = json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        if len(line) > _MAX_LINE:
            raise ValueError("an event is one short line")
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line)
            full = os.fstat(fd).st_size > MAX_BYTES
            if kind not in _PASSING:
                os.fsync(fd)
        finally:
            os.close(fd)
        self._number += 1
        if full:
            self._make_room()

    def step(self, **fields: Any) -> None:
        """A step of training: written at most once in `PROGRESS_SECONDS`, and always for the last one."""
        now = time.monotonic()
        if now - self._last_step >= PROGRESS_SECONDS or fields.get("step") == fields.get("steps"):
            self._last_step = now
            self.add("step", **fields)

    def _make_room(self) -> None:
        """Half of the room stays free: steps go first, and of each kind the oldest."""
        kept: list[tuple[int, bytes]] = []
        size = 0
        for event in sorted(_read(self._path), key=lambda event: (event["kind"] == "step", -event["n"])):
            line = json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
            size += len(line)
            if size > MAX_BYTES // 2:
                break
            kept.append((event["n"], line))
        write_atomic(self._path, b"".join(line for _, line in sorted(kept)))


class Reader:
    """Reads a job's events from a place on, again and again."""

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        """`after` is the number of the last event that is known already."""
        self._path = folder / NAME
        self._after = after
        self._offset = 0
        self._inode: int | None = None

    def new(self) -> Iterator[dict[str, Any]]:
        """The events since the last call, oldest first; one of the kind `missed` stands for those that are gone."""
        for event in self._lines():
            number = event["n"]
            if number <= self._after:
                continue
            if number > self._after + 1:
                yield {"n": number - 1, "kind": "missed", "count": number - self._after - 1}
            self._after = number
            yield event

    def _lines(self) -> list[dict[str, Any]]:
        try:
            with open(self._path, "rb") as file:
                about = os.fstat(file.fileno())
                if about.st_ino != self._inode or about.st_size < self._offset:
                    self._inode, self._offset = about.st_ino, 0
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        return _decode(data[:whole])

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """The new events; if there are none, those that came within `seconds`."""
        found = list(self.new())
        if not found and seconds > 0:
            time.sleep(seconds)
            found = list(self.new())
        return found


def _whole(path: Path) -> tuple[int, int | None]:
    """The bytes of whole lines, and the file's size; None if there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, None
    return data.rfind(b"\n") + 1, len(data)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return _decode(data[: data.rfind(b"\n") + 1])


def _decode(data: bytes) -> list[dict[str, Any]]:
    out = []
    for line in data.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # damaged: the others still tell what they tell
        if isinstance(event, dict) and type(event.get("n")) is int and isinstance(event.get("kind"), str):
            out.append(event)
    return out
