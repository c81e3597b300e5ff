"""The command line in this process, and homes that are copied from one that was prepared once."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from allod.cli import main

PASSPHRASE = "three small boats"
ALLOD = [sys.executable, "-m", "allod"]
REPOSITORY = Path(__file__).parents[2]
CANARY = "The key hangs behind the blue CANARY-7319 barrel."


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one document on stdout; fails where there is anything else."""
        value = json.loads(self.out)
        assert value["allod"] == 1
        assert value["ok"] is (self.code == 0)
        return value

    @property
    def data(self) -> Any:
        """What a command that succeeded says."""
        assert self.code == 0, self.out + self.err
        return self.document["data"]

    @property
    def error(self) -> dict[str, Any]:
        """What a command that failed says."""
        assert self.code != 0, self.out
        error: dict[str, Any] = self.document["error"]
        assert {"type", "status", "title", "next"} <= error.keys()
        return error


def _hear_ctrl_c() -> None:
    """Whoever runs the tests in the background has SIGINT ignored, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Terminal:
    """A person at a home. Calling it runs a command in this process; `alone` in a process of its own."""

    home: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    settings: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: object, stdin: str | bytes | None = None, json: bool = True, **settings: str) -> Said:
        with self.patch.context() as patch:
            for name in [name for name in os.environ if name.startswith("ALLOD_") and name != "ALLOD_NO_SKIP"]:
                patch.delenv(name)
            for name, value in self._environment(settings).items():
                patch.setenv(name, value)
            given = stdin.encode() if isinstance(stdin, str) else (stdin or b"")
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
            patch.setattr(sys, "argv", ["allod", *map(str, words), *(["--json"] if json else [])])
            self.capture.readouterr()
            with pytest.raises(SystemExit) as exit_:
                main()
            said = self.capture.readouterr()
        code = exit_.value.code
        assert isinstance(code, int)
        assert "Traceback" not in said.out + said.err
        return Said(code, said.out, said.err)

    def alone(self, *words: object, stdin: str | None = None, json: bool = True, **settings: str) -> Said:
        """The same in a process of its own."""
        done = subprocess.run(
            [*ALLOD, *map(str, words), *(["--json"] if json else [])],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(**settings),
            cwd=self.home.parent,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def begin(self, *words: object, json: bool = True, **more: Any) -> subprocess.Popen[str]:
        """A process that the test talks to or ends."""
        return subprocess.Popen(
            [*ALLOD, *map(str, words), *(["--json"] if json else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(),
            cwd=self.home.parent,
            **{"preexec_fn": _hear_ctrl_c, **more},
        )

    def at(self, home: Path, **settings: str) -> Terminal:
        """The same person at another home."""
        return Terminal(home, self.patch, self.capture, settings)

    def environment(self, **settings: str) -> dict[str, str]:
        """All that a process of its own gets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")}
        return {**kept, "PYTHONPATH": str(REPOSITORY), **self._environment(settings)}

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        own = {f"ALLOD_{name.upper()}": value for name, value in {**self.settings, **settings}.items()}
        return {"ALLOD_HOME": str(self.home), "HOME": str(self.home.parent), **own}


@pytest.fixture
def allod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A person at an empty home, whose passphrase file is beside it."""
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    monkeypatch.chdir(tmp_path)
    settings = {"passphrase_file": str(tmp_path / "passphrase")}
    return Terminal(tmp_path / "home", monkeypatch, capsys, settings)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a finished job: see `make_home`."""
    from tests.cli.prepared import make_home

    home = tmp_path_factory.mktemp("prepared") / "home"
    make_home(home)
    return home


@pytest.fixture
def lived_in(allod: Terminal, template: Path) -> Terminal:
    """A person at a copy of the prepared home."""
    shutil.copytree(template, allod.home)
    return allod


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool], subprocess.Popen[str]], None]:
    """Look at something again and again until it is so; a process that ends before is a failure."""
    import threading

    def wait(seen: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        pause = threading.Event()
        for _ in range(6000):
            if seen():
                return
            assert process.poll() is None, "the process ended first"
            pause.wait(0.01)
        raise AssertionError("it never came to be")

    return wait
