"""The trainer child, `python -m finetune.trainer`: frames in, numbers and an adapter out, and nothing else.

It starts importing before the first frame arrives. It cannot be traced or dumped, and it says nothing in words of the
library that failed, because such words may quote what they failed on: its errors are ours, or a bare exception name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Any

from core.errors import AllodError, Corrupted, InvalidInput
from finetune.frames import FILE_CHUNK, MICRO, read_frame, row_from_wire, write_frame
from finetune.recipe_settings import TrainSettings

if TYPE_CHECKING:
    from finetune.train import Measured, Training

MAX_NEW = 4096
_PR_SET_DUMPABLE = 4
_CAP_IPC_LOCK = 14
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Stdin and stdout as frame pipes of our own; what a library prints goes to stderr."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return source, sink


def refuse_temporary_files() -> None:
    """A library that wants a temporary file or a cache shall fail, not write one.

    In /proc nobody makes files, not even root; and it exists, which torch asks of its cache when it is imported.
    """
    tempfile.tempdir = os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/proc"


def harden() -> None:
    """No core file, no debugger (PR_SET_DUMPABLE 0), and locked memory where the machine's limits allow it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if _may_lock_memory():
        libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


def _may_lock_memory() -> bool:
    """Whether locking has no limit here. Under a limit it would succeed now and fail torch's memory later."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        held = next((line.split()[1] for line in status if line.startswith("CapEff:")), "0")
    return bool(int(held, 16) >> _CAP_IPC_LOCK & 1)


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer frames until `finish` or the end of the pipe."""
    from finetune.training_state import load_state, save_state

    first = read_frame(source)
    if first is None:
        return
    _expect(first, "settings", "settings", "adapter")
    training = _build(first)
    write_frame(sink, {"kind": "ready", **_describe(training)})
    while (frame := read_frame(source)) is not None:
        match frame["kind"]:
            case "step":
                _expect(frame, "step", "step", "rows")
                measured = training.step(_whole(frame["step"]), [row_from_wire(row) for row in _list(frame["rows"])])
                write_frame(sink, {"kind": "stepped", "step": frame["step"], **_numbers(measured)})
            case "evaluate":
                _expect(frame, "evaluate", "rows", "base")
                rows = [row_from_wire(row) for row in _list(frame["rows"])]
                write_frame(sink, {"kind": "evaluated", **_numbers(training.evaluate(rows, base=bool(frame["base"])))})
            case "generate":
                _expect(frame, "generate", "prompts", "max_new", "stops", "base")
                prompts = [[_whole(token) for token in _list(prompt)] for prompt in _list(frame["prompts"])]
                most = min(_whole(frame["max_new"]), MAX_NEW)
                outputs = training.generate(prompts, most, _list(frame["stops"]), base=bool(frame["base"]))
                write_frame(sink, {"kind": "generated", "outputs": outputs})
            case "save":
                _expect(frame, "save")
                _hand_over_state(save_state(training), sink)
            case "restore":
                _expect(frame, "restore", "size")
                load_state(training, _take_state(_whole(frame["size"]), source))
                write_frame(sink, {"kind": "restored"})
            case "finish":
                _hand_over(training.adapter_files(), sink)
                return
            case _:
                raise Corrupted("The trainer knows no frame of this kind.")


def _build(first: dict[str, Any]) -> Training:
    from finetune.train import Training

    adapter = first["adapter"]
    if adapter is not None and not (isinstance(adapter, dict) and all(isinstance(b, bytes) for b in adapter.values())):
        raise Corrupted("The adapter to go on from is not a map of names to bytes.")
    return Training(TrainSettings.parse(first["settings"]), adapter)


def _describe(training: Training) -> dict[str, int]:
    return {
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "trainable": sum(p.numel() for p in training.trained),
        "bits": 16 if training.half else 32,
    }


def _hand_over(files: dict[str, bytes], sink: IO[bytes]) -> None:
    write_frame(sink, {"kind": "adapter", "files": [{"name": n, "size": len(d)} for n, d in sorted(files.items())]})
    for name, data in sorted(files.items()):
        for start in range(0, len(data), FILE_CHUNK):
            write_frame(sink, {"kind": "file", "name": name, "data": data[start : start + FILE_CHUNK]})
    write_frame(sink, {"kind": "done"})


def _hand_over_state(state: bytes, sink: IO[bytes]) -> None:
    write_frame(sink, {"kind": "state", "size": len(state)})
    for start in range(0, len(state), FILE_CHUNK):
        write_frame(sink, {"kind": "piece", "data": state[start : start + FILE_CHUNK]})
    write_frame(sink, {"kind": "done"})


def _take_state(size: int, source: IO[bytes]) -> bytes:
    state = bytearray()
    while len(state) < size:
        frame = read_frame(source)
        if frame is None or frame["kind"] != "piece" or not isinstance(frame.get("data"), bytes) or not frame["data"]:
            raise Corrupted("The pieces of a state do not follow one another.")
        state += frame["data"]
    if len(state) > size:
        raise Corrupted("A state is longer than was announced.")
    return bytes(state)


def _numbers(measured: Measured) -> dict[str, int]:
    return {"loss_micro": round(measured.loss * MICRO), "tokens": measured.tokens}


def _expect(frame: dict[str, Any], kind: str, *names: str) -> None:
    if frame["kind"] != kind or set(frame) != {"kind", *names}:
        raise Corrupted("A frame does not hold exactly what its kind asks for.")


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise InvalidInput("A number in a frame is negative, too large, or no number.")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput("A frame holds something else where a list belongs.")
    return value


def main() -> int:
    """Run the child; 0 after `finish` or a closed pipe, 1 after an error that was reported."""
    source, sink = take_pipes()
    refuse_temporary_files()
    try:
        harden()
        import peft  # noqa: F401
        import torch  # noqa: F401

        import finetune.train  # noqa: F401

        serve(source, sink)
    except BrokenPipeError:
        return 1
    except AllodError as error:
        _report(sink, error.slug, error.message, error.hint)
        return 1
    except Exception as error:
        where = _where(error)
        _report(sink, "unavailable", f"The trainer failed with {type(error).__name__}{where}.", "")
        return 1
    return 0


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    spot = ""
    while trace is not None:
        spot = f" at {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    return spot


def _report(sink: IO[bytes], slug: str, message: str, hint: str) -> None:
    with contextlib.suppress(OSError):
        write_frame(sink, {"kind": "error", "slug": slug, "message": message, "hint": hint})


if __name__ == "__main__":
    sys.exit(main())
