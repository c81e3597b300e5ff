"""The broker's side of the trainer child: start it early, feed it rows, take numbers and an adapter back.

The child is a process without our environment, keys, sockets or terminal; it learns token numbers and nothing about
whose they are. Whatever it answers is checked here: known kinds, bounded numbers, bounded adapter. One thread drives
a `TrainerProcess`; `kill` alone may come from any. A child that dies, or is silent beyond patience, is `TrainerLost`:
another child can go on from a saved state.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.errors import AllodError, Corrupted, InvalidInput, Unavailable
from finetune.frames import FILE_CHUNK, MAX_STATE, MICRO, Torn, read_frame, row_to_wire, write_frame
from finetune.packing import Row
from finetune.recipe_settings import TrainSettings

MAX_ADAPTER = 512 << 20
ADAPTER_FILES = frozenset({"adapter_config.json", "adapter_model.safetensors"})
MAX_ANSWER = 16 << 20
KEPT_STDERR = 16 << 10
PATIENCE = 1800.0  # seconds for one answer: a step of a large model on a slow machine takes minutes
_PASSED_ON = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
_ERRORS: dict[str, type[AllodError]] = {
    "corrupted": Corrupted,
    "invalid-input": InvalidInput,
    "unavailable": Unavailable,
}


class TrainerLost(Unavailable):
    """The child died without a word, or gave no answer in time: not the work is at fault, so another may go on."""


@dataclass(frozen=True)
class Measured:
    """Mean loss over `tokens` loss-bearing tokens, in millionths of a nat."""

    loss_micro: int
    tokens: int


@dataclass(frozen=True)
class Ready:
    """The child's model: all parameters, those that train, and the bits of its arithmetic (32 or 16)."""

    parameters: int
    trainable: int
    bits: int


def trainer_command() -> list[str]:
    """How the child is started; a sandbox puts its own words in front."""
    return [sys.executable, "-P", "-s", "-m", "finetune.trainer"]


def trainer_environment() -> dict[str, str]:
    """All that the child inherits: where the code lies, and that it is offline and writes no caches."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed | {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        # Threads that wait must sleep: spinning ones make training many times slower wherever a core is shared.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


class TrainerProcess:
    """One trainer child. `start` returns at once, while the child spends seconds on imports.

    Order of calls: `start`, `configure`, any of `step`, `evaluate`, `generate`, `save` and `restore`, then `finish`,
    then `close`. As a context manager it starts on entry and leaves no process behind. Every failure of the child is
    an `AllodError`; after one the child is gone. No call waits longer than `patience` seconds for the child's next
    frame.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._patience = patience
        self._stalled = False
        self._deadline: float | None = None
        self._over = threading.Event()
        self._command = list(command or trainer_command())
        self._environment = dict(environment or trainer_environment())
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = bytearray()
        self._drain: threading.Thread | None = None

    def start(self) -> Self:
        """Start the child and come back at once."""
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, no shell, fixed words)
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            cwd="/",
            start_new_session=True,
        )
        self._drain = threading.Thread(target=self._keep_stderr, name="trainer-stderr", daemon=True)
        self._drain.start()
        threading.Thread(target=self._watch, name="trainer-watch", daemon=True).start()
        return self

    def begin(self, settings: TrainSettings, adapter: Mapping[str, bytes] | None = None) -> None:
        """Send the settings, with `adapter` to go on from one; `ready` waits for the model."""
        document = settings.document() | {"base": str(Path(settings.base).resolve())}
        self._send({"kind": "settings", "settings": document, "adapter": dict(adapter) if adapter else None})

    def ready(self) -> Ready:
        """Wait until the model stands."""
        answer = self._receive("ready", "parameters", "trainable", "bits")
        return Ready(answer["parameters"], answer["trainable"], answer["bits"])

    def configure(self, settings: TrainSettings, adapter: Mapping[str, bytes] | None = None) -> Ready:
        """`begin` and `ready` in one."""
        self.begin(settings, adapter)
        return self.ready()

    def begin_step(self, step: int, rows: Sequence[Row]) -> None:
        """Hand over the rows of optimizer step `step` and come back while the child computes."""
        self._send({"kind": "step", "step": step, "rows": [row_to_wire(row) for row in rows]})

    def end_step(self, step: int) -> Measured:
        """Wait until step `step` is done: only now do its records count as used."""
        answer = self._receive("stepped", "step", "loss_micro", "tokens")
        if answer["step"] != step:
            raise self._failed(Corrupted("The trainer answered for another step than the one it was given."))
        return Measured(answer["loss_micro"], answer["tokens"])

    def step(self, step: int, rows: Sequence[Row]) -> Measured:
        """One optimizer step. No rows: nothing is sent, and the learning rate of later steps stays what it was."""
        if not rows:
            return Measured(0, 0)
        self.begin_step(step, rows)
        return self.end_step(step)

    def evaluate(self, rows: Sequence[Row], *, base: bool = False) -> Measured:
        """Loss on `rows` as the adapter stands now, or of the base model alone."""
        self._send({"kind": "evaluate", "rows": [row_to_wire(row) for row in rows], "base": base})
        answer = self._receive("evaluated", "loss_micro", "tokens")
        return Measured(answer["loss_micro"], answer["tokens"])

    def generate(
        self, prompts: Sequence[Sequence[int]], max_new: int, stops: Sequence[int], *, base: bool = False
    ) -> list[list[int]]:
        """Greedy continuations, each ended in front of the first of `stops` or after `max_new` tokens."""
        request = {"prompts": [list(p) for p in prompts], "max_new": max_new, "stops": list(stops), "base": base}
        self._send({"kind": "generate", **request})
        outputs = self._receive("generated", lists="outputs")["outputs"]
        if len(outputs) != len(prompts) or any(len(tokens) > max_new for tokens in outputs):
            raise self._failed(Corrupted("The trainer answered with other outputs than it was asked for."))
        result: list[list[int]] = outputs
        return result

    def save(self, *, most: int = MAX_STATE) -> tuple[int, Iterator[bytes]]:
        """The size of the run's state, at most `most`, and its bytes as they come; they are to be read to their end."""
        self._send({"kind": "save"})
        size = self._receive("state", "size")["size"]
        if size > most:
            raise self._failed(Corrupted("The trainer announced a larger state than is allowed."))
        return size, self._pieces(size)

    def _pieces(self, size: int) -> Iterator[bytes]:
        while (answer := self._answer("piece", "done"))["kind"] == "piece":
            data = answer.get("data")
            if not isinstance(data, bytes) or not 0 < len(data) <= min(FILE_CHUNK, size):
                raise self._failed(Corrupted("The trainer sent more of its state than it had announced."))
            size -= len(data)
            yield data
        if size:
            raise self._failed(Corrupted("The trainer sent less of its state than it had announced."))

    def restore(self, size: int, pieces: Iterable[bytes]) -> None:
        """Put the child where `save` found another one of the same settings; `Corrupted` if it does not fit."""
        self._send({"kind": "restore", "size": size})
        for piece in pieces:
            self._send({"kind": "piece", "data": piece})
        self._receive("restored")

    def finish(self, *, most: int = MAX_ADAPTER) -> dict[str, bytes]:
        """The adapter's files by name, at most `most` bytes in all; the child then ends."""
        self._send({"kind": "finish"})
        listing = self._answer("adapter").get("files")
        sizes: dict[str, int] = {}
        for entry in listing if isinstance(listing, list) else []:
            name, size = (entry.get("name"), entry.get("size")) if isinstance(entry, dict) else (None, None)
            if isinstance(name, str) and type(size) is int and size >= 0:
                sizes[name] = size
        if set(sizes) != ADAPTER_FILES or sum(sizes.values()) > most:
            raise self._failed(Corrupted("The trainer announced other files than an adapter of the allowed size."))
        files = {name: bytearray() for name in sizes}
        while (answer := self._answer("file", "done"))["kind"] == "file":
            name, data = answer.get("name"), answer.get("data")
            if name not in files or not isinstance(data, bytes) or not 0 < len(data) <= FILE_CHUNK:
                raise self._failed(Corrupted("The trainer sent a piece of a file that it had not announced."))
            files[name] += data
            if len(files[name]) > sizes[name]:
                raise self._failed(Corrupted("The trainer sent more bytes than it had announced."))
        if any(len(files[name]) != sizes[name] for name in files):
            raise self._failed(Corrupted("The trainer sent fewer bytes than it had announced."))
        self.close()
        return {name: bytes(data) for name, data in files.items()}

    @property
    def stderr(self) -> str:
        """The last KiB that the child wrote to its stderr: for whoever debugs a trainer, never for a log."""
        return self._stderr.decode("utf-8", "replace")

    @property
    def pid(self) -> int | None:
        """The child's process id, None before `start`."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Close the pipe, which ends an idle child, and reap it; one that does not end is killed."""
        if self._process is None:
            return
        self._over.set()
        with contextlib.suppress(OSError):
            self._input().close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._drain:
            self._drain.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def kill(self) -> None:
        """End the child now, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        self.close()

    def _input(self) -> Any:
        if self._process is None or self._process.stdin is None:
            raise Unavailable("The trainer was not started.")
        return self._process.stdin

    def _send(self, frame: dict[str, Any]) -> None:
        try:
            with self._waiting():
                write_frame(self._input(), frame)
        except (BrokenPipeError, ValueError):
            self._answer("ready")  # whatever the child said last tells why; it cannot be an answer
            raise self._failed(TrainerLost("The trainer stopped reading.")) from None

    def _receive(self, kind: str, *numbers: str, lists: str | None = None) -> dict[str, Any]:
        answer = self._answer(kind)
        good = set(answer) == {"kind", *numbers, *([lists] if lists else [])}
        good = good and all(type(answer[name]) is int and 0 <= answer[name] < 1 << 53 for name in numbers)
        if good and lists:
            good = isinstance(answer[lists], list) and all(
                isinstance(entry, list) and all(type(token) is int and 0 <= token < 1 << 31 for token in entry)
                for entry in answer[lists]
            )
        if not good:
            raise self._failed(Corrupted("The trainer's answer is not of the agreed form."))
        return answer

    def _answer(self, *kinds: str) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdout is None:
            raise Unavailable("The trainer was not started.")
        try:
            with self._waiting():
                answer = read_frame(process.stdout, limit=MAX_ANSWER)
        except (Torn, ValueError):
            answer = None
        except Corrupted as error:
            raise self._failed(error) from None
        if answer is None:
            self.kill()
            if self._stalled:
                raise TrainerLost(f"The trainer gave no answer for {self._patience:g} seconds and was ended.")
            raise TrainerLost(
                f"The trainer ended by itself (exit status {process.returncode}).",
                hint="Status −9 is mostly a machine out of memory: try fewer rows_at_once or a smaller model.",
                exit_status=process.returncode,
            )
        if answer["kind"] == "error":
            message, hint = (str(answer.get(name, ""))[:500] for name in ("message", "hint"))
            raise self._failed(_ERRORS.get(str(answer.get("slug")), Unavailable)(message, hint=hint))
        if answer["kind"] not in kinds:
            raise self._failed(Corrupted("The trainer answered something that it was not asked."))
        return answer

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Within it the child has `patience` seconds; then it is killed, which ends any read or write of its pipes."""
        self._deadline = time.monotonic() + self._patience
        try:
            yield
        finally:
            self._deadline = None

    def _watch(self) -> None:
        """One thread for all waits: a timer for each would cost more than a small step's frames."""
        while not self._over.wait(min(1.0, self._patience / 4)):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                self._end_stalled()
                return

    def _end_stalled(self) -> None:
        self._stalled = True
        if self._process is not None:
            self._process.kill()

    def _failed(self, error: AllodError) -> AllodError:
        self.kill()
        return error

    def _keep_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while chunk := self._process.stderr.read1(4096):  # type: ignore[attr-defined]
            self._stderr += chunk
            del self._stderr[:-KEPT_STDERR]


def loss_of(measured: Measured) -> float:
    """The loss in nats, for people."""
    return measured.loss_micro / MICRO
