"""`allod up` stands: whatever is killed comes back, the command line works beside it, and it ends without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from allod.nodes import free_port
from allod.services import keeper_services

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(1200)]

PATIENCE = 300.0
READY = "/readyz"
NAMES = {"chain": "chain", "worker": "runner", "serve": "server"}
PARTS = {"chain", "keeper 1", "keeper 2", "keeper 3", "runner", "server"}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Standing:
    """An `allod up` in a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")},
            "ALLOD_HOME": str(home),
            "ALLOD_CONFIG": os.devnull,
            "ALLOD_PASSPHRASE_FILE": str(home / "passphrase"),
        }
        self.process = self.begin("up", "--port", str(self.port), "--json")
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

    def end(self) -> int:
        """Stop it politely; its exit code."""
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "allod", *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def allod(self, *words: str) -> Any:
        """A command beside it; its data."""
        process = self.begin(*words, "--json")
        said = json.loads(process.communicate(timeout=PATIENCE)[0])
        assert said["ok"], said
        return said["data"]

    def ask(self, path: str) -> int:
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


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    home = tmp_path_factory.mktemp("world")
    (home / "passphrase").write_text("four words or more please\n")
    standing = Standing(home)
    try:
        yield standing
    finally:
        standing.end()


def test_whichever_part_is_killed_comes_back_and_the_others_are_left_alone(up: Standing) -> None:
    for part in sorted(PARTS):
        before = up.children()
        os.kill(before[part], signal.SIGKILL)
        until(lambda: up.children().keys() == PARTS and up.children()[part] != before[part])  # noqa: B023 - called now
        after = up.children()
        assert {name for name in PARTS if after[name] != before[name]} == {part}
    until(lambda: up.ask(READY) == 200)


def test_no_part_opens_what_belongs_to_another(up: Standing) -> None:
    until(lambda: up.ask(READY) == 200)
    for part, pid in up.children().items():
        opened = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        folders = {Path(name).relative_to(up.home / "keepers").parts[0] for name in opened if "/keepers/" in name}
        assert folders <= ({part.removeprefix("keeper ")} if part.startswith("keeper") else set()), part
        assert (part == "chain") == any("/chain/" in name for name in opened), part


def test_the_command_line_works_beside_it(up: Standing) -> None:
    until(lambda: up.ask(READY) == 200)
    up.allod("vault", "init", "--as", "ada")
    up.allod("vault", "add", str(Path("examples/ada").resolve()), "--as", "ada")
    published = up.allod("dataset", "publish", "all", "--title", "Notes", "--as", "ada")
    found = httpx.get(f"{up.url}/v1/datasets/{published['asset']}", timeout=30, trust_env=False)
    assert found.status_code in (200, 404)
    checks = {one["part"]: one["state"] for one in up.allod("doctor")["checks"]}
    assert {checks[f"keeper {index}"] for index in (1, 2, 3)} == {"works"}


def test_a_second_one_in_the_same_home_is_told_of_the_first(up: Standing) -> None:
    other = up.begin("up", "--port", str(free_port()), "--json")
    said = json.loads(other.communicate(timeout=PATIENCE)[0])
    assert not said["ok"]
    assert said["error"]["type"] == "busy"
    assert str(up.process.pid) in said["error"]["title"]


def test_a_supervisor_that_is_killed_leaves_nothing_and_starts_again_and_a_polite_stop_ends_every_part(
    tmp_path: Path,
) -> None:
    one = Standing(tmp_path)
    parts = one.children()
    assert set(keeper_services(tmp_path)) == {1, 2, 3}
    if sys.platform == "linux":  # the kernel tells a child of its parent's death
        one.process.kill()
        one.process.communicate()
        until(lambda: not any(lives(pid) for pid in parts.values()))
        one = Standing(tmp_path)
        until(lambda: one.ask(READY) == 200)
        parts = one.children()
    assert one.end() == 0
    assert not any(lives(pid) for pid in parts.values())
    assert keeper_services(tmp_path) == {}
