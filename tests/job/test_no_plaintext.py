"""No record is ever on disk: not after a full run, not after a failed one, not after SIGKILL."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.model.tokenizer import load_tokenizer
from tests.job.canaries import forms, plant, search, search_folder

pytestmark = pytest.mark.needs_trainer

ROOT = Path(__file__).parents[2]
WRITTEN = Path(__file__).with_name("written_files.txt")
CANARIES = ("CANARY-ada-003", "CANARY-ada-chat", "CANARY-dario-one")


def run(mode: str, home: Path, base: Path) -> subprocess.CompletedProcess[bytes]:
    """Run one mode with a home and a temporary folder that are searched afterwards."""
    for name in ("user", "tmp"):
        (home / name).mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home / "user"),
        "TMPDIR": str(home / "tmp"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "tests.job.watched", mode, str(home), str(base)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=240, check=False)


def wanted(base: Path) -> dict[str, bytes]:
    tokenizer: Any = load_tokenizer(base)
    found = {}
    for canary in CANARIES:
        ids = tokenizer.encode(canary, control=False).ids
        found |= {f"{canary} {name}": pattern for name, pattern in forms(canary, ids).items()}
    return found


def assert_clean(home: Path, base: Path, result: subprocess.CompletedProcess[bytes]) -> None:
    assert search_folder(home, wanted(base)) == []
    assert list(search(result.stdout + result.stderr, wanted(base))) == []


def plain_name(path: str, home: Path) -> str:
    """A path without what differs from run to run."""
    name = path.replace(str(home), "HOME")
    name = re.sub(r"/jobs/[0-9a-f]{16}", "/jobs/JOB", name)
    name = re.sub(r"\b[0-9a-f]{64}\b", "HASH", name)
    return re.sub(r"/\.([^/]+?)\.[a-z0-9_]{8}$", r"/.\1.TEMPORARY", name)


@dataclass
class Whole:
    """A world with a job that nothing has happened to yet, and a copy of it in which the job came to its end."""

    home: Path
    ended: Path
    result: subprocess.CompletedProcess[bytes]
    written: list[str]  # by whoever founded the world

    @property
    def answer(self) -> dict[str, Any]:
        assert self.result.returncode == 0, self.result.stderr.decode()[-2000:]
        return dict(json.loads(self.result.stdout))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Whole:
    home = tmp_path_factory.mktemp("whole") / "home"
    founding = run("found", home, tiny_base)
    assert founding.returncode == 0, founding.stderr.decode()[-2000:]
    written = [plain_name(path, home) for path in json.loads(founding.stdout)["broker"]]
    ended = Path(shutil.copytree(home, home.with_name("ended")))
    return Whole(home, ended, run("full", ended, tiny_base), written)


def test_a_full_run_leaves_no_plaintext_and_opens_only_the_listed_files(whole: Whole, tiny_base: Path) -> None:
    answer, home = whole.answer, whole.ended
    assert (answer["state"], answer["outcome"], answer["refused"]) == ("done", "settled", 1)
    assert_clean(home, tiny_base, whole.result)
    listed = [line for line in WRITTEN.read_text().splitlines() if not line.startswith("#")]
    written = {plain_name(path, home) for path in answer["broker"]} | set(whole.written)
    written |= {"child: " + path for path in answer["child"]}
    assert sorted(written) == listed


def test_a_run_that_loses_its_trainer_leaves_no_plaintext(tmp_path: Path, tiny_base: Path) -> None:
    home = tmp_path / "home"
    result = run("failed", home, tiny_base)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    answer = json.loads(result.stdout)
    assert answer["state"] == "training"
    assert answer["ended"]
    assert_clean(home, tiny_base, result)


def test_a_killed_run_leaves_no_plaintext_and_goes_on_to_the_very_same_end(
    whole: Whole, tmp_path: Path, tiny_base: Path
) -> None:
    unbroken, home = whole.answer, Path(shutil.copytree(whole.home, tmp_path / "home"))
    result = run("killed", home, tiny_base)
    assert result.returncode == -signal.SIGKILL
    assert_clean(home, tiny_base, result)
    (job,) = (home / "jobs").iterdir()
    assert (job / "checkpoint").stat().st_size > 10_000
    result = run("full", home, tiny_base)
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    answer = json.loads(result.stdout)
    assert (answer["state"], answer["outcome"]) == ("done", "settled")
    assert_clean(home, tiny_base, result)
    assert any(note.startswith("Training goes on from step 4 of ") for note in answer["notes"]), answer["notes"]
    assert not any((job / name).exists() for name in ("checkpoint", "shares.cbor"))
    for name in ("sha256", "uses", "owed", "heldout", "total", "outcome", "refused", "adapter"):
        assert answer[name] == unbroken[name], name
    taken = {step: loss for step, loss in unbroken["losses"].items() if int(step) > 4}
    assert taken
    assert answer["losses"] == taken


FORMS = [
    "utf-8", "utf-16-le", "utf-16-be", "hex", "base64 of any", "zlib", "gzip", "bz2", "xz", "gzip of base64",
    "ids 2 le", "ids 4 le", "ids 4 be", "ids 8 le", "ids cbor", "ids as json",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_what_is_planted(tmp_path: Path, tiny_base: Path, form: str) -> None:
    tokenizer: Any = load_tokenizer(tiny_base)
    canary = CANARIES[0]
    ids = tokenizer.encode(canary, control=False).ids
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file.bin").write_bytes(plant(form, canary, ids))
    assert search_folder(tmp_path, wanted(tiny_base))
