"""A real `allod up` in a home of its own, and commands beside it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from allod.nodes import free_port

PATIENCE = 300.0
READY = "/readyz"
NAMES = {"chain": "chain", "worker": "runner", "serve": "server"}


def until(true: Callable[[], bool]) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Standing:
    """An `allod up` with `more` in its environment; commands beside it read their passphrase from a file."""

    def __init__(self, home: Path, passphrase: Path | None = None, *, port: int | None = None, **more: str) -> None:
        self.home = home
        self.port = port or free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")},
            "ALLOD_HOME": str(home),
            "ALLOD_CONFIG": os.devnull,
        }
        self.passphrase = passphrase or home / "passphrase"
        self.process = self.begin("up", "--port", str(self.port), "--json", **more)
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.rstrip() == "}":
                break
        document = json.loads("".join(lines) or "{}")
        if not document.get("ok"):
            self.end()
        assert document.get("ok"), document
        self.url = document["data"]["url"]
        self.parts: dict[str, int] = {one["part"]: one["pid"] for one in document["data"]["parts"]}

    def end(self, how: int = signal.SIGTERM) -> int:
        """Stop it politely; its exit code."""
        self.process.send_signal(how)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def begin(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """Start a command; `more` is added to its environment."""
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "allod", *words],
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def allod(self, *words: str) -> Any:
        """A command beside it; its data."""
        return self.finish(self.command(*words))

    def command(self, *words: str) -> subprocess.Popen[str]:
        """A command beside it, started."""
        return self.begin(*words, "--json", ALLOD_PASSPHRASE_FILE=str(self.passphrase))

    def finish(self, process: subprocess.Popen[str]) -> Any:
        """The data of a command that was started."""
        said = json.loads(process.communicate(timeout=PATIENCE)[0])
        assert said["ok"], said
        return said["data"]

    def ask(self, path: str) -> int:
        """What the server answers with; 0 if it does not."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}{path}", timeout=30, trust_env=False).status_code
        return 0

    def children(self) -> dict[str, int]:
        """The parts' processes now, by the words that they were started with."""
        found = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ValueError):  # it ended, or is not yet what it will be
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                name = words[words.index("allod") + 1 :]
                if name[0] == "keeper":
                    found[f"keeper {Path(name[2]).name}"] = int(pid)
                elif name[0] in NAMES:
                    found[NAMES[name[0]]] = int(pid)
        return found
