"""What is committed is what the sources give, and what stands on a chain is recognised."""

from __future__ import annotations

from pathlib import Path

import pytest

from consent.contracts import NAMES, load
from consent.contracts.build import FOLDER, build, main
from consent.typed import keccak
from core.errors import NotFound


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_artifact_is_rebuilt_byte_for_byte(name: str) -> None:
    assert build(name) == (FOLDER / "artifacts" / f"{name}.json").read_bytes()


def test_an_artifact_loads_whole(world) -> None:
    artifact = load("JobEscrow")
    code = world.chain.code(world.escrow.address)
    assert artifact.matches(code)
    assert not artifact.matches(code[:-1])
    assert not artifact.matches(bytes([code[0] ^ 1]) + code[1:])
    assert not load("ConsentToken").matches(code)
    assert artifact.bytecode.find(artifact.runtime) > 0
    signature = "reclaim(uint96,uint256[3])"
    assert artifact.method_ids[signature] == "0x" + keccak(signature.encode())[:4].hex().lstrip("0")


def test_an_unknown_contract_is_not_found() -> None:
    with pytest.raises(NotFound):
        load("../JobEscrow")


def test_a_changed_artifact_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "artifacts").mkdir()
    for source in FOLDER.glob("*.vy"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr("consent.contracts.build.FOLDER", tmp_path)
    monkeypatch.setattr("consent.contracts.build.NAMES", ("DataRegistry",))
    assert main([]) == 0
    assert main(["--check"]) == 0
    path = tmp_path / "DataRegistry.vy"
    path.write_text(path.read_text().replace("bad signature", "sad signature"))
    assert main(["--check"]) == 1
