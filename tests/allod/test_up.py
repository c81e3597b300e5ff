"""`allod up` stands: whatever is killed comes back, the command line works beside it, and it ends without a trace."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from allod.nodes import free_port
from allod.services import keeper_services
from tests.allod.standing import PATIENCE, READY, Standing, lives, until

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(1200)]

PARTS = {"chain", "keeper 1", "keeper 2", "keeper 3", "runner", "server"}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    home = tmp_path_factory.mktemp("world")
    (home / "passphrase").write_text("four words or more please\n")
    standing = Standing(home)
    try:
        yield standing
    finally:
        code = standing.end()
    assert code == 0


def test_whichever_part_is_killed_comes_back_and_the_others_are_left_alone(up: Standing) -> None:
    for part in sorted(PARTS):
        before = up.children()
        os.kill(before[part], signal.SIGKILL)
        until(lambda: (now := up.children()).keys() == PARTS and now[part] != before[part])  # noqa: B023 - called now
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


@pytest.fixture
def ends_at_hang_up() -> Iterator[None]:
    """What is started here ends when its terminal is closed, also where these tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("ends_at_hang_up")
def test_a_supervisor_that_is_killed_leaves_nothing_and_starts_again_and_a_polite_stop_ends_every_part(
    tmp_path: Path,
) -> None:
    one = Standing(tmp_path)
    parts = one.children()
    assert set(keeper_services(tmp_path)) == {1, 2, 3}
    if sys.platform == "linux":  # the kernel tells a child of its parent's death
        one.process.kill()
        one.process.communicate()
        assert keeper_services(tmp_path) == {}  # whoever asks now opens them, for nobody answers there
        one = Standing(tmp_path, port=one.port)  # at once: what is left of the first is waited for
        until(lambda: not any(lives(pid) for pid in parts.values()))
        until(lambda: one.ask(READY) == 200)
        parts = one.children()
    assert one.end(signal.SIGHUP) == 0
    assert not any(lives(pid) for pid in parts.values())
    assert keeper_services(tmp_path) == {}
