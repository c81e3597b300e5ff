"""The server as a process: what it says, what it serves beside the page, how it stops, and what it refuses to do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from allod.server.serving import origins_of, serving
from allod.world import World
from consent.chain.embedded import EmbeddedChain
from consent.chain.joining import open_chain
from consent.chain.rpc import serving as serve_chain
from core.errors import Busy, InvalidInput
from core.settings import Settings
from tests.server.people import account_of, sign_in_message

PATIENT = 60
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with its contracts deployed."""
    with World(Settings(home=tmp_path / "home")) as world:
        world.committee  # noqa: B018 - founded here
        world.deployment  # noqa: B018
    return tmp_path / "home"


class Process:
    """`allod serve --json` in a process of its own."""

    def __init__(self, home: Path, *words: str, **settings: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")}
        own = {f"ALLOD_{name.upper()}": value for name, value in settings.items()}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "allod", "serve", "--json", *words],
            env={**kept, "PYTHONPATH": str(REPOSITORY), "ALLOD_HOME": str(home), "HOME": str(home.parent), **own},
            cwd=home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout is not None
        lines = []
        for line in self.child.stdout:
            lines.append(line)
            if line == "}\n":
                break
        self.said: dict[str, Any] = json.loads("".join(lines))

    def stop(self, number: int = signal.SIGTERM) -> tuple[float, str]:
        """Signal it; the seconds until it was gone, and what it said on stderr."""
        begun = time.monotonic()
        self.child.send_signal(number)
        _, err = self.child.communicate(timeout=PATIENT)
        return time.monotonic() - begun, err

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.communicate()
        for pipe in (self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()


def test_it_says_where_it_answers_and_stops_when_told(home: Path) -> None:
    with Process(home, "--port", "0") as process:
        place = process.said["data"]
        with httpx.Client(base_url=place["url"], timeout=PATIENT, trust_env=False) as client:
            assert client.get("/livez").text == "ok\n"
            world = client.get("/v1/world").json()
            assert world["chain_id"] == 31337
            assert client.get(place["metrics"]).status_code == 200
            with open_chain(home) as chain:  # the process has the chain, and others reach it there
                assert chain.chain_id == 31337
            taken, err = process.stop()
        assert process.child.returncode == 0, err
        lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
        assert {"request"} == {line["event"] for line in lines}
        assert place["url"].removeprefix("http://") not in json.dumps(lines)
        assert taken < 20  # five seconds, on a machine that does nothing else
    with EmbeddedChain(home / "chain"):
        pass  # the chain is free again


def test_it_does_not_wait_for_a_chain_that_hangs(home: Path) -> None:
    """A request is stuck in a question to a chain that took the connection and says nothing more."""
    with ExitStack() as chain:
        url = chain.enter_context(serve_chain(chain.enter_context(EmbeddedChain(home / "chain"))))
        with Process(home, "--port", "0", rpc_url=url) as process, ThreadPoolExecutor(1) as pool:
            place = process.said["data"]["url"]
            nonce = httpx.post(f"{place}/v1/nonces", timeout=PATIENT, trust_env=False).json()["nonce"]
            chain.close()
            with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))) as silent:
                of_a_wallet = {"domain": place.removeprefix("http://"), "uri": place, "address": "0x" + "11" * 20}
                body = sign_in_message(account_of("ada"), nonce, **of_a_wallet)
                asking = pool.submit(httpx.post, f"{place}/v1/sessions", json=body, timeout=PATIENT, trust_env=False)
                asked, _ = silent.accept()
                with asked:
                    taken, err = process.stop()
                assert taken < 20  # the chain has 30 seconds for its answer
                assert process.child.returncode == 0, err
                with pytest.raises(httpx.HTTPError):
                    asking.result(PATIENT).raise_for_status()


def test_a_start_after_a_kill_finds_everything(home: Path) -> None:
    worlds = []
    for number in (signal.SIGKILL, signal.SIGINT):
        with Process(home, "--port", "0") as process:
            url = process.said["data"]["url"]
            worlds.append(httpx.get(f"{url}/v1/world", timeout=PATIENT, trust_env=False).json())
            process.stop(number)
    assert worlds[0] == worlds[1]


def test_under_which_origins_browsers_reach_it() -> None:
    def of(url: str | None, host: str = "127.0.0.1") -> tuple[str, ...]:
        return origins_of(Settings(home=Path("/nowhere"), server_url=url), host, 8600)

    assert of(None) == ("http://127.0.0.1:8600", "http://localhost:8600")
    assert of(None, "::1") == ("http://[::1]:8600", "http://localhost:8600", "http://127.0.0.1:8600")
    assert of("https://allod.example/", "0.0.0.0") == ("https://allod.example",)
    assert of("http://127.0.0.1:9000") == ("http://127.0.0.1:9000",)
    for wrong in (
        "http://allod.example",
        "allod.example",
        "https://",
        "https://me:pw@allod.example",
        "ftp://127.0.0.1",
    ):
        with pytest.raises(InvalidInput, match="ALLOD_SERVER_URL"):
            of(wrong)
    for host in ("0.0.0.0", "192.0.2.1", "::", "allod.example"):
        with pytest.raises(InvalidInput, match="in the clear"):
            of(None, host)


def test_a_taken_port_is_told(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Busy), serving(Settings(home=home), port=other.getsockname()[1]):
            raise AssertionError


def test_the_chain_is_taken_over_where_it_was(home: Path) -> None:
    """Another process has the chain; when that ends, the server serves it on, and its own world notices nothing."""
    with ExitStack() as other:
        chain = other.enter_context(EmbeddedChain(home / "chain"))
        url = other.enter_context(serve_chain(chain))
        with serving(Settings(home=home), port=0) as place:
            assert ready(place.url)["chain"]["ready"]
            other.close()
            pause = threading.Event()
            for _ in range(6000):
                if (home / "chain" / "endpoint.json").exists():
                    break
                pause.wait(0.01)
            note = json.loads((home / "chain" / "endpoint.json").read_text())
            assert note["url"] == url
            assert ready(place.url)["chain"]["ready"]


def ready(url: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = httpx.get(f"{url}/readyz", timeout=PATIENT, trust_env=False).json()["parts"]
    return found
