"""The demo's base model on disk: made once, kept for the next run, never seen half-written."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.errors import Unavailable
from core.files import Lock, sync_directory, write_atomic
from finetune.corpus import base_text, sentences, valley
from finetune.model import muon, pretrain
from finetune.model.load import base_model_hash, locate_base
from finetune.trainer_process import trainer_environment

_MARK = "made-by.json"

Progress = Callable[[int, int, float], None]


def ensure_base(folder: Path, progress: Progress | None = None, *, steps: int = pretrain.STEPS) -> Path:
    """The demo's base model in `folder`, made there if it is missing, damaged, or of other ingredients.

    Making it takes under a minute on two cores; `progress` hears of (steps done, steps in all, loss). It is made in
    a folder beside and renamed, so whoever sees `folder` sees a whole model. Two processes at once: `Busy`.
    """
    wanted = f"{ingredients()} {steps}"
    if _stands(folder, wanted):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Lock(folder.parent / f".{folder.name}.lock", what="The demo's base model"):
        if _stands(folder, wanted):
            return folder
        for abandoned in folder.parent.glob(f".{folder.name}.making-*"):
            shutil.rmtree(abandoned)
        making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.making-", dir=folder.parent))
        try:
            _pretrain(making, progress, steps)
            mark = {"ingredients": wanted, "hash": base_model_hash(making).hex()}
            write_atomic(making / _MARK, json.dumps(mark).encode(), mode=0o644)
            if folder.exists():
                shutil.rmtree(folder)
            making.rename(folder)
            sync_directory(folder.parent)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


def ingredients() -> str:
    """sha256 over the source of all that makes the model: when any of it changes, the model is made anew."""
    digest = hashlib.sha256()
    for module in (valley, sentences, base_text, muon, pretrain):
        digest.update(hashlib.sha256(Path(str(module.__file__)).read_bytes()).digest())
    return digest.hexdigest()


def _stands(folder: Path, wanted: str) -> bool:
    try:
        mark = json.loads((folder / _MARK).read_bytes())
        whole = bool(mark == {"ingredients": wanted, "hash": base_model_hash(folder).hex()})
    except Exception:
        return False
    if whole:
        locate_base(str(folder))
    return whole


def _pretrain(folder: Path, progress: Progress | None, steps: int) -> None:
    command = [sys.executable, "-P", "-s", "-m", "finetune.model.pretrain", str(folder.resolve()), str(steps)]
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(  # noqa: S603 (our own interpreter, no shell)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=trainer_environment()
        ) as child:
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    told = json.loads(line)
                    if progress:
                        progress(told["step"], told["steps"], told["loss"])
            except BaseException:
                child.kill()
                raise
        if child.returncode != 0:
            complaints.seek(0)
            last = complaints.read()[-500:].decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Unavailable(
                f"The demo's base model could not be made: {' '.join(last) or f'exit status {child.returncode}'}.",
                hint="It needs the trainer's extra (pip install 'allod[trainer]'), 10 MB of disk and 1 GB of memory.",
            )
