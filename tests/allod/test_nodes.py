"""Real nodes as children: they answer, keep what they have over a stop and a kill, and say why they cannot start."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from allod.nodes import AnvilNode, find_program
from consent.chain.client import Chain
from consent.chain.embedded import developer
from core.errors import NotFound, Unavailable
from tests.real import running_anvil, running_kubo


def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALLOD_TOOLS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="anvil is not installed"):
        find_program("anvil")


def test_a_node_that_ends_at_once_shows_its_last_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "anvil-0" / "node_modules" / "@foundry-rs" / "anvil-here" / "bin" / "anvil"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho no memory for this\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("ALLOD_TOOLS", str(tmp_path))
    with pytest.raises(Unavailable, match="no memory for this"):
        AnvilNode(tmp_path / "node").start()


@pytest.mark.needs_nodes
def test_anvil_keeps_its_chain_over_a_stop(tmp_path: Path) -> None:
    with running_anvil(tmp_path / "anvil") as node, Chain.http(node.url) as chain:
        head = chain.mine()
        node.stop()
        node.start()
        assert chain.block(head.number).hash == head.hash
        assert chain.balance(developer().address) > 0


@pytest.mark.needs_nodes
def test_kubo_comes_back_after_a_kill(tmp_path: Path) -> None:
    with running_kubo(tmp_path / "kubo") as node:
        node.kill()
        node.start()
        request = urllib.request.Request(f"{node.url}/api/v0/version", method="POST")
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert json.load(reply)["Version"].startswith("0.")
