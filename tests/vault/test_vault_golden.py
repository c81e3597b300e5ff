"""The vault that an earlier version wrote opens: by passphrase, by words, from nothing but its block files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vault.carstore import CarStore
from vault.keys import KeyFile, RootKey
from vault.vault import Vault

FOLDER = Path(__file__).parents[1] / "golden" / "vault-1"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def blocks(tmp_path: Path) -> Iterator[CarStore]:
    shutil.copytree(FOLDER / "blocks", tmp_path / "blocks")
    with CarStore(tmp_path / "blocks") as store:
        yield store


def test_passphrase_and_words_are_the_same_key() -> None:
    file = KeyFile.decode((FOLDER / "keyfile.json").read_bytes())
    assert file.vault_id.hex() == EXPECTED["vault_id"]
    assert file.unlock(EXPECTED["passphrase"]) == RootKey.from_words(EXPECTED["words"])


def test_everything_in_it_comes_back(blocks: CarStore) -> None:
    vault = Vault.restore(EXPECTED["words"], blocks)
    assert (vault.vault_id.hex(), vault.sequence) == (EXPECTED["vault_id"], EXPECTED["sequence"])
    assert str(vault.head_cid) == EXPECTED["head"]
    found = [
        {
            "object_id": entry.object_id.hex(),
            "name": entry.name,
            "media_type": entry.media_type,
            "added": int(entry.added.timestamp()),
            "records": entry.records,
            "broken": entry.broken,
            "notes": entry.notes,
            "payload": str(entry.payload),
            "content": b"".join(vault.open(entry.object_id)).hex(),
        }
        for entry in vault.entries()
    ]
    assert found == EXPECTED["objects"]
    assert vault.records("terms") == [{"number": 2**63, "bytes": b"\0\1", "list": [None, True]}]
    assert [entry.datasets for entry in vault.entries()][:3] == [(bytes.fromhex(EXPECTED["dataset"]),)] * 2 + [()]


def test_its_records_are_still_counted_alike(blocks: CarStore) -> None:
    vault = Vault.restore(EXPECTED["words"], blocks)
    for entry in vault.entries():
        assert len(list(vault.preview(entry.object_id))) == entry.records + entry.broken


def test_it_can_be_changed(blocks: CarStore) -> None:
    vault = Vault.restore(EXPECTED["words"], blocks)
    vault.add_bytes("new", b"Something new.")
    assert Vault.restore(EXPECTED["words"], blocks).sequence == EXPECTED["sequence"] + 1
