"""Real nodes as children of this process, each in a folder of its own: kubo (offline), anvil, keepers.

For the demo on real nodes and for tests. The programs come from the tools folder (`ALLOD_TOOLS`, by default `tools` in
the cache directory), where `make tools` puts them, else from PATH. Nodes listen on loopback only, keep their state in
their folder, and survive `kill` and `start` with what they had acknowledged to have on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from consent.chain.embedded import CHAIN_ID
from core.errors import NotFound, Unavailable
from core.settings import default_cache

PATTERNS = {"ipfs": "kubo-*/ipfs", "anvil": "anvil-*/node_modules/@foundry-rs/anvil-*/bin/anvil"}
PATIENCE = 60.0  # seconds that a node may take to start or to stop


def find_program(name: str) -> str:
    """The path of `ipfs` or `anvil`; `NotFound`, which says how to get it, where there is none."""
    tools = Path(os.environ.get("ALLOD_TOOLS") or default_cache() / "tools")
    found = sorted(tools.glob(PATTERNS[name]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise NotFound(f"The program {name} is not installed.", hint="`make tools` gets it; it needs Node and Go.")
    return path


class _Node(ABC):
    """A child process with a log file in its folder; `start` after `stop` or `kill` goes on with the same state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Start the node and wait until it answers; `Unavailable` with its log's end if it does not."""

    def _spawn(self, words: list[str], environment: dict[str, str] | None = None) -> None:
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - a program of the tools folder and our own words, no shell
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    def _failed(self, what: str) -> Unavailable:
        with contextlib.suppress(OSError):
            what = f"{what}: {(self.folder / 'log').read_bytes()[-500:].decode(errors='replace').strip()}"
        return Unavailable(f"{what}.", hint=f"Its log is {self.folder / 'log'}.")

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running node."""
        assert self._child is not None
        return self._child.pid

    def stop(self) -> None:
        """End it politely, or by force where it does not end; harmless if it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it gets no chance to write anything."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(how)
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def __enter__(self) -> Self:
        if not self.is_running:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class KuboNode(_Node):
    """An offline kubo node whose repository is `folder`; it knows no peers and listens on a free loopback port."""

    api = ""
    """The RPC's multiaddress once it runs, `/ip4/127.0.0.1/tcp/PORT`; the same again after a restart."""

    def start(self) -> None:
        program, place = find_program("ipfs"), {"IPFS_PATH": str(self.folder), "IPFS_TELEMETRY": "off"}
        if not (self.folder / "config").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            words = [program, "init", "--profile=test,unixfs-v1-2025"]
            made = subprocess.run(words, env={**os.environ, **place}, capture_output=True, check=False)  # noqa: S603
            if made.returncode:
                raise Unavailable(f"kubo could not make its repository: {made.stderr.decode(errors='replace')}")
        elif self.api:
            self._keep_address()
        note = self.folder / "api"
        note.unlink(missing_ok=True)  # of a process that was killed
        (self.folder / "repo.lock").unlink(missing_ok=True)
        self._spawn([program, "daemon", "--offline"], place)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.api = note.read_text().strip()
                request = urllib.request.Request(f"{self.url}/api/v0/id", method="POST")  # noqa: S310 - loopback
                with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                    return
            if not self.is_running:
                raise self._failed("kubo ended while it started")
            time.sleep(0.05)
        raise self._failed("kubo does not answer")

    @property
    def gateway(self) -> str:
        """The URL of its gateway once it runs."""
        return (self.folder / "gateway").read_text().strip()

    def _keep_address(self) -> None:
        """Let the node listen where it did before it was stopped."""
        config = self.folder / "config"
        document = json.loads(config.read_text())
        document["Addresses"]["API"] = self.api
        config.write_text(json.dumps(document))

    @property
    def url(self) -> str:
        """The RPC as an HTTP URL."""
        return f"http://127.0.0.1:{self.api.rpartition('/')[2]}"


class AnvilNode(_Node):
    """An anvil chain with state in `folder`: Prague rules, the id of development chains, one block per transaction.

    `options` are further words of its command line.
    """

    def __init__(self, folder: Path, *options: str, chain_id: int = CHAIN_ID) -> None:
        super().__init__(folder)
        self._options = options
        self._chain_id = chain_id

    url = ""
    """Its JSON-RPC endpoint once it runs; the same again after a restart."""

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        port = self.url.rpartition(":")[2] or "0"
        log = self.folder / "log"
        seen = log.stat().st_size if log.exists() else 0
        state = str(self.folder / "state.json")
        self._spawn(
            [
                find_program("anvil"), "--host", "127.0.0.1", "--port", port, "--chain-id", str(self._chain_id),
                "--hardfork", "prague", "--accounts", "0", "--state", state, "--state-interval", "1",
                "--preserve-historical-states", "--color", "never", *self._options,
            ]
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            text = log.read_bytes()[seen:].decode(errors="replace")
            if "Listening on " in text:
                self.url = "http://" + text.partition("Listening on ")[2].split()[0]
                return
            if not self.is_running:
                raise self._failed("anvil ended while it started")
            time.sleep(0.05)
        raise self._failed("anvil does not start")

    def fund(self, address: bytes, wei: int) -> None:
        """Give an account native money, as only a development chain can."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": ["0x" + address.hex(), hex(wei)]}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:  # noqa: S310
            if "error" in json.load(reply):
                raise Unavailable("anvil does not fund the account.")


class KeeperNode(_Node):
    """`allod keeper serve` on a loopback port: a keeper whose keys and records lie in `folder`."""

    def __init__(self, folder: Path, committee: Path, rpc_url: str, deployment: Path, port: int) -> None:
        super().__init__(folder)
        self._words = ["--committee", str(committee), "--rpc", rpc_url, "--deployment", str(deployment)]
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        place = self.url.removeprefix("http://")
        program = [sys.executable, "-m", "allod", "keeper", "serve", str(self.folder)]
        kept = {name: "" for name in os.environ if name.startswith("ALLOD_")}  # its operator's settings are not ours
        self._spawn([*program, *self._words, "--listen", place], kept)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/livez", timeout=5):  # noqa: S310
                return
            if not self.is_running:
                raise self._failed("The keeper ended while it started")
            time.sleep(0.05)
        raise self._failed("The keeper does not answer")


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
