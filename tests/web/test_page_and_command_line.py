"""A vault that was made in the page is one for the command line, and the other way round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext

from core.ids import VaultId
from tests.web.home import at_home, content
from tests.web.serving import ROOT
from tests.web.test_browser_vault import do, visit
from vault.carstore import CarStore
from vault.rootkey import RootKey
from vault.segments import FIRST, REST
from vault.vault import Vault

pytestmark = pytest.mark.needs_browser

PASSPHRASE = "three small boats"


def allod(home: Path, *words: str, stdin: str = "") -> Any:
    """What a command of its own process says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")}
    (home.parent / "passphrase").write_text(PASSPHRASE)
    own = {"ALLOD_HOME": str(home), "ALLOD_PASSPHRASE_FILE": str(home.parent / "passphrase")}
    done = subprocess.run(
        [sys.executable, "-m", "allod", *words, "--json"],
        input=stdin,
        capture_output=True,
        text=True,
        env={**kept, **own, "PYTHONPATH": str(ROOT)},
        cwd=home.parent,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["data"]


def test_allod_vault_get_opens_what_the_page_sealed(context: BrowserContext, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    data = content(FIRST + REST + 77, 5)
    with at_home() as there:
        page = visit(context, there)
        made = do(page, "create", f"{there.url}/home", PASSPHRASE)
        place = {"base": f"{there.url}/home", "root": made["root"], "vault": made["vault"]}
        do(page, "add", place, {"name": "from the page.bin", "size": len(data), "seed": 5})
        with CarStore(home / "blocks") as store:
            store.put_many((cid, there.blocks.get(cid)) for cid in there.blocks.cids())
            store.flush()
    back = allod(home, "vault", "restore", "--as", "ada", "--words-file", "-", stdin=made["words"])
    assert (back["objects"], back["vault"], back["unreadable"]) == (1, made["vault"], [])
    allod(home, "vault", "get", "from the page.bin", "-o", "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == data


def test_the_page_opens_what_allod_vault_add_sealed(context: BrowserContext, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    root = RootKey(bytes(range(2, 34)))
    with CarStore(home / "blocks") as store:  # an empty vault of words that the test knows
        Vault(root, vault_id := VaultId(b"\x05" * 32), store).save_record("begun", {})
    allod(home, "vault", "restore", "--as", "ada", "--words-file", "-", stdin=root.words())
    (tmp_path / "notes.txt").write_bytes(data := b"One.\n\nTwo.\n" * 5000)
    allod(home, "vault", "add", "notes.txt")
    with at_home() as there, CarStore(home / "blocks", read_only=True) as store:
        there.blocks.put_many((cid, store.get(cid)) for cid in store.cids())
        there.head = Vault(root, vault_id, there.blocks).head_cid
        page = visit(context, there)
        place = {"base": f"{there.url}/home", "root": "0x" + bytes(range(2, 34)).hex(), "vault": "0x" + vault_id.hex()}
        (entry,) = do(page, "entries", place)
        assert (entry["name"], entry["size"], entry["mediaType"]) == ("notes.txt", len(data), "text/plain")
        assert do(page, "open", place, entry["objectId"])["length"] == len(data)
        assert do(page, "records", place, "begun") == [{}]
