"""The commands over a kubo node in place of the embedded block store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from allod.nodes import KuboNode
from tests.cli.conftest import Terminal
from tests.real import running_kubo

pytestmark = pytest.mark.needs_nodes


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    with running_kubo(tmp_path_factory.mktemp("kubo") / "repo") as node:
        yield node


def part(report: list[dict[str, str]], name: str) -> dict[str, str]:
    return next(found for found in report if found["part"] == name)


def test_a_vault_on_kubo_from_its_beginning_to_its_return(allod: Terminal, kubo: KuboNode, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("something to keep\n")
    on = {**allod.settings, "kubo": kubo.api}
    ada = allod.at(allod.home, **on)
    (tmp_path / "words").write_text(ada("vault", "init", "--as", "ada").data["words"])
    assert ada("vault", "add", tmp_path / "notes.txt").code == 0
    assert not (allod.home / "blocks").exists()
    assert allod("vault", "list").code != 0, "without the node there is no vault"

    looked = ada("doctor")
    assert looked.code == 0, looked.out
    parts = looked.data["checks"]
    assert "0.43.0" in part(parts, "kubo")["seen"]
    assert part(parts, "blocks")["state"] == "works"

    other = allod.at(tmp_path / "other", **on)
    assert other("vault", "restore", "--as", "ada", "--words-file", tmp_path / "words").code == 0
    assert other("vault", "get", 1, "--output", tmp_path / "back.txt").code == 0
    assert (tmp_path / "back.txt").read_text() == "something to keep\n"
    assert other("vault", "rm", 1).code == 0


def test_an_absent_node_is_said_with_what_to_do(allod: Terminal, kubo: KuboNode) -> None:
    here = allod.at(allod.home, **allod.settings, kubo=kubo.api)
    assert here("vault", "init", "--as", "ada").code == 0
    away = allod.at(allod.home, **allod.settings, kubo="/ip4/127.0.0.1/tcp/1", patience="0.1")
    said = away("vault", "list")
    assert said.error["type"] == "unavailable"
    assert "ipfs daemon" in said.error["next"]
    assert allod("vault", "list", kubo="localhost:5001").error["type"] == "invalid-input"
