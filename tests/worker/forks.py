"""A process that has imported everything once and forks workers and trainer children from that, in a few milliseconds.

It runs one thread and computes nothing before it forks, so a child begins as if it had just imported all this itself.
`python -m tests.worker.forks SOCKET` serves at a Unix socket until its stdin is closed; then whatever it forked is
killed. A request is one JSON line; the answer is the pid, and, once that process has ended, its status.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from finetune.trainer_process import trainer_environment
from tests.worker.forked import Forked

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
_FDS = 3


class ForkServer:
    """The server as its user holds it; leaving the block ends it and everything that it forked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = str(folder / "forks")
        self._log = folder / "forks.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.worker.forks", self.path],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**trainer_environment(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise AssertionError(self._log.read_text())

    def worker(self, spec: dict[str, Any]) -> Forked:
        """A process that runs `tests.worker.attempt.main(spec)`."""
        return Forked(self.path, {"run": "worker", "spec": spec})

    def starts(self, spec: dict[str, Any]) -> Forked:
        """A process that runs `tests.worker.attempt.start_all(spec)`."""
        return Forked(self.path, {"run": "starts", "spec": spec})

    @property
    def running(self) -> int:
        """How many processes that it forked have not ended."""
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(self.path)
            wire.sendall(b'{"run": "nothing"}\n')
            return int(wire.makefile("rb").readline())

    @property
    def log(self) -> str:
        """What the forked processes said on stderr."""
        return self._log.read_text()[-5000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


def serve(path: str) -> None:
    """Fork on request until stdin is closed."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    running: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        for readable in (listening, woken, sys.stdin.fileno()):
            selector.register(readable, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj == woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                    _reap(running)
                elif key.fileobj is listening:
                    connection, _ = listening.accept()
                    _fork(connection, running, (listening, woken, wakes))
                else:
                    for pid in running:
                        os.kill(pid, signal.SIGKILL)
                    return


def _fork(connection: socket.socket, running: dict[int, socket.socket], ours: tuple[Any, ...]) -> None:
    data, fds, _, _ = socket.recv_fds(connection, 1 << 16, _FDS)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 16)
    request = json.loads(data)
    if request["run"] == "nothing":
        connection.sendall(f"{len(running)}\n".encode())
        connection.close()
        return
    pid = os.fork()
    if pid == 0:
        _begin(request, fds, [connection, *running.values(), *ours])
    for fd in fds:
        os.close(fd)
    running[pid] = connection
    connection.sendall(f"{pid}\n".encode())


def _begin(request: dict[str, Any], fds: list[int], others: list[Any]) -> None:
    """The forked process: it never returns."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for other in others:
            other.close() if isinstance(other, socket.socket) else os.close(other)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
            os.close(fd)
        status = _MAINS[request["run"]](request)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _reap(running: dict[int, socket.socket]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        connection = running.pop(pid)
        with contextlib.suppress(OSError):
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        connection.close()


def _trainer(_: dict[str, Any]) -> int:
    from finetune.trainer import main

    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")  # what it has is the server's
    return main()


def _worker(request: dict[str, Any]) -> int:
    from tests.worker.attempt import main

    return main(request["spec"])


def _starts(request: dict[str, Any]) -> int:
    from tests.worker.attempt import start_all

    return start_all(request["spec"])


_MAINS: dict[str, Callable[[dict[str, Any]], int]] = {
    "trainer": _trainer,
    "worker": _worker,
    "starts": _starts,
}


def _import_everything() -> None:
    """All that a worker and a trainer load, down to what libraries load late."""
    import importlib

    import torch

    torch.set_num_threads(1)  # so that no pool of threads exists when this process forks
    for name in (
        "peft",
        "transformers.models.llama.modeling_llama",
        "transformers.models.auto.modeling_auto",
        "safetensors.torch",
        "tokenizers",
        "jinja2.sandbox",
        "jinja2.ext",
        "finetune.train",
        "finetune.trainer",
        "finetune.verify",
        "finetune.modelsign",
        "allod.homeblocks",
        "allod.worker",
        "allod.schema",
        "alembic.command",
        "consent.chain.rpc",
        "consent.index.indexer",
        "httpx",
        "httpcore",
        "certifi",
        "encodings.idna",
        "encodings.utf_16_be",
        "_strptime",
        "importlib.readers",
        "sqlalchemy.dialects.sqlite",
        "dbos._sys_db_sqlite",
        "finetune.records",
        "finetune.model.tokenizer",
        "cryptography.hazmat.backends.openssl.backend",
        "numpy.ctypeslib",
        "peft.utils.transformers_weight_conversion",
        "tests.worker.attempt",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what was imported stays in pages that all share


if __name__ == "__main__":
    _import_everything()
    serve(sys.argv[1])
