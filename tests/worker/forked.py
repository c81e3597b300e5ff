"""A forked process as its user holds it, and a trainer child that is one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from typing import Any, Self

from finetune.trainer_process import TrainerProcess


class Forked:
    """A forked process, with as much of `subprocess.Popen` as `TrainerProcess` uses."""

    def __init__(self, server: str, request: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(server)
        socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], list(fds))
        self._answers = self._socket.makefile("rb")
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None
        self._guard = threading.Lock()
        self.stdin: Any = None
        self.stdout: Any = None
        self.stderr: Any = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a signal."""
        with self._guard:
            if self.returncode is None:
                self._socket.settimeout(timeout)
                try:
                    line = self._answers.readline()
                except TimeoutError:
                    raise subprocess.TimeoutExpired(["forked"], timeout or 0) from None
                self.returncode = int(line) if line else -signal.SIGKILL
                self._answers.close()
                self._socket.close()
            return self.returncode

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; a zombie does not."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] != b"Z"
        except FileNotFoundError:
            return False

    def send(self, number: int) -> None:
        """A signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, unless it was seen to have ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class ForkedTrainer(TrainerProcess):
    """A `TrainerProcess` whose child is forked instead of started."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = server
        self._forked: Forked | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the child runs."""
        return self._forked is not None and self._forked.is_alive

    def start(self) -> Self:
        """Have the child forked and come back at once."""
        to_child, from_us = os.pipe()
        from_child, to_us = os.pipe()
        errors, said = os.pipe()
        process = Forked(self._server, {"run": "trainer"}, (to_child, to_us, said))
        for fd in (to_child, to_us, said):
            os.close(fd)
        process.stdin, process.stdout, process.stderr = (
            os.fdopen(fd, mode) for fd, mode in ((from_us, "wb"), (from_child, "rb"), (errors, "rb"))
        )
        self._process = process  # type: ignore[assignment]
        self._forked = process
        self._drain = threading.Thread(target=self._keep_stderr, name="trainer-stderr", daemon=True)
        self._drain.start()
        return self
