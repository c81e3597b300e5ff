"""How fast training through Allod is, as a ratio to the plainest fast peft script.

    python -m bench.training [--json] [--rounds 16]

Both train the same LoRA on the same packed rows in the same precision. The script has its rows packed before it starts
and no pipe. Ours does for each step what a job does: open the step's records from the sealed scratch, pack them, send
them to the child, and write the completed step into the durable ledger. The two processes stand side by side and take
turns of the same few steps, so that other work on the machine meets both alike; each side's best counts.
Rows are {name, value, unit, goal, ok}; goal and ok are null where nothing is promised.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.figures import Figure, figure, tell
from core.ids import ConsentId, JobId
from finetune.ledger import Ledger, Use
from finetune.model.base import ensure_base
from finetune.model.tokenizer import encode_record, load_tokenizer
from finetune.packing import Document, Row, pack, plan_steps
from finetune.recipe_settings import TrainSettings
from finetune.scratch import Scratch
from finetune.trainer_process import TrainerProcess, trainer_environment
from vault.readers import Record, read_records

ROOT = Path(__file__).parents[1]
GOAL = 0.95
TURN = 3  # steps
SEQUENCE, ROWS_PER_STEP = 256, 8
CONSENTS = (ConsentId(bytes([1]) * 32), ConsentId(bytes([2]) * 32))


def plain_files() -> list[tuple[int, Mapping[str, Any]]]:
    """The records of two example owners, from their plain files."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for owner, name in enumerate(("ada", "bruno")):
        for path in sorted((ROOT / "examples" / name).rglob("*.*")):
            with path.open("rb") as file:
                records = read_records(path.name, None, file)
                found += [(owner, record.document()) for record in records if isinstance(record, Record)]
    return found


def _name(number: int) -> bytes:
    return number.to_bytes(8, "big")


class Ours:
    """A job's steps as the broker takes them: sealed scratch, isolated packing, child, ledger."""

    def __init__(
        self, child: TrainerProcess, scratch: Scratch, ledger: Ledger, owners: list[int], plan: list[range]
    ) -> None:
        self._child, self._scratch, self._ledger, self._owners = child, scratch, ledger, owners
        self._plan = cycle(plan)
        self._step = 0

    def _next(self) -> tuple[list[Row], dict[ConsentId, Use]]:
        numbers = next(self._plan)
        rows = pack((Document(_name(i), self._owners[i], *self._scratch.read(i)) for i in numbers), SEQUENCE)
        uses: dict[ConsentId, Use] = {}
        for row in rows:
            for part in row.parts:
                uses[CONSENTS[part.owner]] = uses.get(CONSENTS[part.owner], Use()) + Use(1, part.loss_tokens)
        return rows, uses

    def turn(self, count: int) -> float:
        """Seconds that `count` steps take; the next step's rows are made while the child computes."""
        began = time.perf_counter()
        rows, uses = self._next()
        for left in reversed(range(count)):
            self._child.begin_step(self._step, rows)
            following = self._next() if left else None
            self._child.end_step(self._step)
            self._ledger.commit(self._step, uses)
            self._step += 1
            if following is not None:
                rows, uses = following
        return time.perf_counter() - began


class Plain:
    """bench/plain_peft.py in its process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def turn(self, count: int) -> float:
        """Seconds that `count` steps take, by the script's own clock."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


@contextmanager
def _plain(folder: Path, settings: TrainSettings, steps: list[list[Row]]) -> Iterator[Plain]:
    (folder / "settings.json").write_text(json.dumps(settings.document()))
    names = ("input_ids", "labels", "position_ids")
    (folder / "rows.json").write_text(json.dumps([[{n: getattr(r, n) for n in names} for r in rows] for rows in steps]))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.plain_peft", str(folder / "settings.json"), str(folder / "rows.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=trainer_environment() | {"HF_HOME": str(folder)},
        cwd=ROOT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield Plain(process)
        process.stdin.close()


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Rows of figures for the example owners' records."""
    source = plain_files()
    base = ensure_base(folder / "base", steps=1)  # speed does not depend on what the weights know
    tokenizer = load_tokenizer(base)
    owners = [owner for owner, _ in source]
    documents = [Document(_name(i), owner, *encode_record(tokenizer, r)) for i, (owner, r) in enumerate(source)]
    plan = plan_steps([len(d.ids) for d in documents], SEQUENCE, ROWS_PER_STEP)
    steps = [pack(documents[s.start : s.stop], SEQUENCE) for s in plan]
    settings = TrainSettings(
        base=str(base),
        total_steps=10**6,
        sequence=SEQUENCE,
        rows_at_once=ROWS_PER_STEP,
        threads=len(os.sched_getaffinity(0)),
    )
    began = time.perf_counter()
    job = JobId(bytes(32))
    with TrainerProcess() as child, Scratch(folder) as scratch, Ledger(folder / "ledger", job) as ledger:
        child.configure(settings)
        started = time.perf_counter() - began
        for number, document in enumerate(documents):
            if number == 0 or owners[number] != owners[number - 1]:
                scratch.begin(CONSENTS[owners[number]])
            scratch.add(document.ids, document.labels)
        ledger.start(bytes(32))
        ours = Ours(child, scratch, ledger, owners, plan)
        with _plain(folder, settings, steps) as plain:
            ours.turn(2)
            plain.turn(2)
            turns = [(ours.turn(TURN), plain.turn(TURN)) for _ in range(rounds)]
    sizes = [sum(len(row.input_ids) for row in rows) for rows in steps]
    taken = [sum(sizes[(2 + TURN * turn + i) % len(sizes)] for i in range(TURN)) for turn in range(rounds)]
    rate = [max(t / seconds for t, seconds in zip(taken, side, strict=True)) for side in zip(*turns, strict=True)]
    ratio = rate[0] / rate[1]
    return [
        figure("training through Allod", rate[0], "tokens/s"),
        figure("training by a plain peft script", rate[1], "tokens/s"),
        figure("training through Allod against plain peft", ratio, "×", f"≥ {GOAL}", ratio >= GOAL),
        figure("trainer child until its model stands", started, "s"),
    ]


def main() -> int:
    """Measure and print; the exit code is 0 whether or not the goal was met, for a noisy machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description="Training against a plain script.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--rounds", type=int, default=16, help="turns of each side")
    options = parser.parse_args()
    (ROOT / "bench" / "out").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "bench" / "out", prefix="training-") as folder:
        rows = measure(Path(folder), options.rounds)
    tell("training", rows, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
