"""The README's second half is a walk that works: every command in it runs, in order, in separate processes."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> str:
    text = (ROOT / "README.md").read_text("utf-8")
    _, _, walk = text.partition("## By hand")
    return "\n".join(BLOCK.findall(walk))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.needs_trainer
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_walk_of_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    script = "set -euo pipefail\n" + commands().replace("18545", str(free_port()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")}
    environment = {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "verify ✓" in ran.stdout
    assert "verify ✗" not in ran.stdout


def test_every_document_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / target).exists(), target
