"""Which block store the settings mean, and what the check-up says about a kubo node."""

from __future__ import annotations

from pathlib import Path

import pytest

from allod import checkup
from allod.checkup import Finding, Mark, look_over
from allod.storage import open_blocks
from allod.world import World
from core.errors import InvalidInput
from core.settings import Settings
from tests.vault import standin
from tests.vault.standin import stand_in
from vault.carstore import CarStore
from vault.cid import RAW
from vault.kubostore import KuboStore


def settings(tmp_path: Path, **more: object) -> Settings:
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache", **more)  # type: ignore[arg-type]


def test_blocks_are_embedded_unless_a_node_is_named(tmp_path: Path) -> None:
    with World(settings(tmp_path)) as world:
        assert isinstance(world.store, CarStore)
    with stand_in() as node, World(settings(tmp_path, kubo=node.address)) as world:
        assert isinstance(world.store, KuboStore)
        world.blocks.add(RAW, b"on the node")
        world.blocks.flush()
        assert b"on the node" in node.blocks.values()
        assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_the_authorization_comes_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("Bearer word\nnot this line\n")
    with stand_in() as node:
        seen: list[str] = []
        node.script("version", lambda call: bool(seen.append(call.headers["Authorization"])) or True)
        with World(settings(tmp_path, kubo=node.address, kubo_authorization=secret)) as world:
            assert list(world.blocks.cids()) == []
        assert seen == ["Bearer word"]
        with pytest.raises(InvalidInput, match="ALLOD_KUBO_AUTHORIZATION"):
            open_blocks(settings(tmp_path, kubo=node.address, kubo_authorization=tmp_path / "nowhere"))


def checked(where: Settings) -> dict[str, Finding]:
    where.home.mkdir(exist_ok=True)
    (where.home / "something").touch()
    return {found.part: found for found in look_over(where)}


def test_the_check_up_names_the_node_and_what_is_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "kubo" not in checked(settings(tmp_path))
    with stand_in() as node:
        named = settings(tmp_path, kubo=node.address)
        found = checked(named)
        assert found["kubo"].mark is Mark.WORKS
        assert "0.43.0" in found["kubo"].seen
        assert found["kubo"].advice == ""
        assert found["blocks"].mark is Mark.WORKS
        node.version = "0.30.0"
        assert "upgrade" in checked(named)["kubo"].advice
        node.script("version", standin.says_403)
        assert "ALLOD_KUBO_AUTHORIZATION" in checked(named)["kubo"].advice
    monkeypatch.setattr(checkup, "IMPATIENCE", 0.2)
    gone = checked(named)["kubo"]
    assert gone.is_failure
    assert "ipfs daemon" in gone.advice
