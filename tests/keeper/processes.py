"""Keepers as processes of their own, which a test may kill, stall and start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consent.keeper.remote import HttpPort

ROOT = Path(__file__).parents[2]
PATIENT = 120


class KeeperProcess:
    """`allod keeper serve` on `folder`, on a free port unless `listen` says another; its log goes to `folder`.log."""

    def __init__(self, folder: Path, rpc: str, committee: Path, deployment: Path, listen: str = "127.0.0.1:0") -> None:
        self.folder = folder
        self._words = [
            sys.executable, "-m", "allod", "keeper", "serve", str(folder), "--rpc", rpc, "--committee", str(committee),
            "--deployment", str(deployment), "--listen", listen, "--json",
        ]  # fmt: skip
        self._child: subprocess.Popen[bytes] | None = None
        self._port: HttpPort | None = None
        self.told: dict[str, Any] = {}

    def launch(self) -> None:
        """Start it and wait for nothing."""
        assert self._child is None
        if self._port is not None:
            self._port.close()
            self._port = None
        with self.folder.with_suffix(".log").open("ab") as log:
            self._child = subprocess.Popen(self._words, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)

    def ready(self) -> None:
        """Wait until it serves."""
        assert self._child is not None
        assert self._child.stdout is not None
        text = b""
        while line := self._child.stdout.readline():
            text += line
            if line == b"}\n":
                break
        told = json.loads(text or b'{"ok": false}')
        assert told["ok"], (told, self.folder.with_suffix(".log").read_text())
        self.told = told["data"]

    @property
    def port(self) -> HttpPort:
        if self._port is None:
            self._port = HttpPort(self.told["url"], timeout=PATIENT)
        return self._port

    def end(self, how: signal.Signals) -> int:
        """Signal it, wait for its end, and give its exit status."""
        child, self._child = self._child, None
        if self._port is not None:
            self._port.close()
            self._port = None
        if child is None:
            return 0
        child.send_signal(how)
        child.send_signal(signal.SIGCONT)
        status = child.wait(PATIENT)
        assert child.stdout is not None
        child.stdout.close()
        return status

    def kill(self) -> None:
        """SIGKILL. Its port stays, and leads nowhere."""
        port, self._port = self._port or self.port, None
        self.end(signal.SIGKILL)
        self._port = port

    def restart(self) -> None:
        self.launch()
        self.ready()

    def stall(self) -> None:
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._child is not None
        os.kill(self._child.pid, signal.SIGCONT)


@contextmanager
def running(keepers: list[KeeperProcess]) -> Iterator[list[KeeperProcess]]:
    """All of them started, and ended afterwards whatever became of them."""
    try:
        for keeper in keepers:
            keeper.launch()
        for keeper in keepers:
            keeper.ready()
        yield keepers
    finally:
        for keeper in keepers:
            keeper.end(signal.SIGKILL)
