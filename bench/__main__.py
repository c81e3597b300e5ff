"""`make bench`: every measurement, as one table, and as JSON in bench/out/bench.json.

    python -m bench [--quick] [--json]

Ratios are taken within one run, both sides beside each other. `--quick` uses smaller files, to see that it works. The
exit code is 0 even where a goal is missed: a benchmark is no test.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from allod.cli.shown import table
from bench.figures import Figure, figure

OUT = Path(__file__).parent / "out"
GAS_MARK = "gas: "


def measured(*words: str) -> list[Figure]:
    """The rows of one benchmark in a process of its own, so that none disturbs another's memory."""
    ran = subprocess.run([sys.executable, "-m", *words, "--json"], stdout=subprocess.PIPE, check=True)
    rows: list[Figure] = json.loads(ran.stdout)["rows"]
    return rows


def gas_rows() -> Iterator[Figure]:
    """The committed gas table, which a test holds against the contracts."""
    document = json.loads((files("consent.contracts") / "gas.json").read_text("utf-8"))
    for name, value in document["gas"].items():
        goal = document["goals"].get(name)
        met = None if goal is None else value <= goal
        yield figure(GAS_MARK + name, value, "gas", goal and f"≤ {goal}", met)


def demo_rows() -> Iterator[Figure]:
    """The demo's seconds: from starting the job to its first step, and all of it with the base model at hand."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "allod", "demo", "--json", "--home", f"{folder}/world"]
        ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds = json.loads(ran.stdout)["data"]["seconds"]
    whole = seconds["all"] - seconds["base model"]
    yield {
        "name": "job run to first step",
        "value": seconds["to the first step"],
        "unit": "s",
        "goal": None,
        "ok": None,
    }
    yield {"name": "demo, base model at hand", "value": whole, "unit": "s", "goal": "≤ 90", "ok": whole <= 90}


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    sizes = ["--mib", "64", "--memory-mib", "256"] if asked.quick else []
    files = ["--mib", "64"] if asked.quick else []
    rounds = ["--rounds", "4"] if asked.quick else []
    consents = ["--consents", "1000", "--embedded", "100"] if asked.quick else []
    upload = ["--gib", "0.25"] if asked.quick else []
    datasets = ["--datasets", "5000", "--rounds", "20"] if asked.quick else []
    rows = [
        *measured("bench.seal", *sizes),
        *measured("bench.upload", *upload),
        *measured("bench.browser", *files),
        *measured("bench.kubo", *files),
        *measured("bench.index", *consents),
        *measured("bench.catalogue", *datasets),
        *measured("bench.training", *rounds),
        *measured("bench.keeper"),
        *demo_rows(),
        *gas_rows(),
    ]
    OUT.mkdir(exist_ok=True)
    (OUT / "bench.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if asked.as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    from rich.console import Console

    marks = {True: "✓", False: "✗", None: ""}
    cells = [[r["name"], _short(r["value"]), r["unit"], r["goal"] or "", marks[r["ok"]]] for r in rows]
    Console().print(table("Bench", ["what", "value", "unit", "goal", ""], cells, numbers=[1]))
    print(f"Written to {OUT / 'bench.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
