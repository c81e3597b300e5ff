"""A real `allod up` with a tiny base model on its runner, its trainers, and its owners' secrets to look for in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mnemonic import Mnemonic

from allod.world import World
from consent.chain.account import Account
from consent.chain.client import Chain
from core.settings import Settings
from examples import trainer as script
from finetune.model.tokenizer import load_tokenizer
from tests.allod.standing import Standing
from tests.job import canaries
from tests.job.by_hand import write_tiny_base
from tests.web import searching, walking
from tests.web.serving import ROOT
from vault.rootkey import RootKey
from vault.vault import Vault

PURPOSE, EPOCHS = "academic-research", 2
RECIPE = {
    "base": "tiny",
    "purpose": PURPOSE,
    "epochs": EPOCHS,
    "rank": 4,
    "alpha": 8,
    "targets": ["q_proj", "v_proj"],
    "learning_rate_nano": 5_000_000,
    "warmup_steps": 1,
    "batch_rows": 1,
    "sequence": 128,
    "seed": 7,
}


def told(process: subprocess.Popen[str], step: str) -> dict[str, Any]:
    """The script's next line of this step."""
    assert process.stdout is not None
    for line in process.stdout:
        found = json.loads(line)
        if found["step"] == step:
            return dict(found)
        assert found["step"] != "failed", found
    raise AssertionError(f"the script never came to {step!r}")


class Town:
    """A standing `allod up` with a tiny base model on its runner, and the people who come to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        (home / "bases" / "tiny").mkdir(parents=True)
        write_tiny_base(home / "bases" / "tiny")
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text("another one, for the command line\n")
        self.outside = folder / "outside"  # where programs leave what they put nowhere in particular
        self.outside.mkdir()
        self.up = Standing(home, self.passphrase, TMPDIR=str(self.outside), HOME=str(self.outside))

    @property
    def url(self) -> str:
        return self.up.url

    @property
    def rpc(self) -> str:
        """Where the chain answers."""
        return str(json.loads((self.up.home / "chain" / "endpoint.json").read_text())["url"])

    def trainer(self, name: str) -> Path:
        """Somebody with an account, play money and gas, made on the command line; the file with their words."""
        made = self.up.allod("vault", "init", "--as", name)
        self.up.allod("faucet", "100", "--as", name)
        words = self.folder / f"{name}.words"
        words.write_text(made["words"])
        return words

    def script(self, words: Path, find: str, out: Path) -> subprocess.Popen[str]:
        """The trainer's script, started."""
        asked = ["--server", self.url, "--rpc", self.rpc, "--words", str(words), "--find", find, "--purpose", PURPOSE]
        numbers = {name: value for name, value in RECIPE.items() if name not in ("base", "purpose", "epochs")}
        recipe = ["--base", "tiny", "--epochs", str(EPOCHS), "--recipe", json.dumps(numbers), "--fee", "500"]
        command = [sys.executable, "-W", "ignore", str(ROOT / "examples" / "trainer.py"), *asked, *recipe]
        command += ["--message", "May we?", "--out", str(out)]
        return subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )

    @contextmanager
    def by_hand(self, words: Path) -> Iterator[script.Trainer]:
        """The trainer's client in this process, signed in."""
        account = Account(RootKey.from_words(words.read_text()).evm_key())
        with Chain.http(self.rpc) as chain, closing(script.Trainer(self.url, chain, account, lambda _: None)) as made:
            made.sign_in()
            yield made

    def secrets_of(self, words: list[str]) -> dict[str, bytes]:
        """What of this owner nobody but the page may have: root key, what hangs on it, every file's key."""
        root = RootKey.from_words(" ".join(words))
        found = searching.of_words(words)
        found |= searching.of_text("passphrase", walking.PASSPHRASE)
        found |= searching.of_bytes("account's key", root.evm_key())
        found |= searching.of_bytes("signing key", root.signing_key().private_bytes_raw())
        found |= searching.of_bytes("root key", bytes(Mnemonic("english").to_entropy(" ".join(words))))
        with World(Settings(home=self.up.home, rpc_url=self.rpc)) as world:
            vault = Vault.restore(" ".join(words), world.blocks)
            for entry in vault.entries():
                found |= searching.of_bytes(f"key of {entry.name}", vault.dek(entry.object_id))
                found |= searching.of_text(f"name of {entry.name}", entry.name)
        tokenizer: Any = load_tokenizer(self.up.home / "bases" / "tiny")
        for text in ("CANARY-ada-", "CANARY-bee-"):
            ids = tokenizer.encode(text, control=False).ids
            found |= {f"{text}, {name}": pattern for name, pattern in canaries.forms(text, ids).items()}
        return found
