"""Anyone verifies: a new process with an empty home, without the trainer's extra, over RPC, in bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consent.chain.rpc import serving
from core.encoding import to_hex
from finetune.provenance import ADAPTER
from tests.prove.proofs import FORGER, Proof, edit_statement, embedded_of
from vault.carstore import CarStore

pytestmark = pytest.mark.needs_trainer
PROGRAM = """
import json, resource, sys
from pathlib import Path

class Absent:
    names = {"torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "accelerate", "huggingface_hub"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

from consent.chain.client import Chain
from finetune.verify import Trust, verify
from vault.carstore import CarStore

bundle, url, trust, blocks = sys.argv[1:]
with Chain.http(url) as chain, CarStore(Path(blocks), read_only=True) as store:
    report = verify(Path(bundle), chain, Trust.decode(Path(trust).read_bytes()), store)
print(json.dumps({"job": report.job, "holds": report.holds, "vouched": report.vouched, "broken": report.broken}))
"""


@pytest.fixture(scope="module")
def stored(whole: Proof, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The world's blocks on disk."""
    folder = tmp_path_factory.mktemp("stored") / "blocks"
    with CarStore(folder) as store:
        store.put_many((cid, whole.world.blocks.get(cid)) for cid in whole.world.blocks.cids())
    return folder


def verified(whole: Proof, bundle: Path, blocks: Path, home: Path) -> dict[str, Any]:
    """What a new process says, with nothing but these four things."""
    home.mkdir()
    (home / "trust.json").write_bytes(whole.trust.encode())
    environment = {"HOME": str(home), "ALLOD_HOME": str(home / "none"), "PATH": os.environ["PATH"]}
    with serving(embedded_of(whole.world.chain)) as url:
        words = [sys.executable, "-c", PROGRAM, str(bundle), url, str(home / "trust.json"), str(blocks)]
        ended = subprocess.run(
            words, env=environment, cwd=Path(__file__).parents[2], capture_output=True, check=False, timeout=120
        )
    assert ended.returncode == 0, ended.stderr.decode()
    assert {path.name for path in home.iterdir()} == {"trust.json"}, "verification leaves nothing behind"
    return dict(json.loads(ended.stdout))


def test_a_new_process_verifies_over_rpc(whole: Proof, stored: Path, tmp_path: Path) -> None:
    said = verified(whole, whole.bundle, stored, tmp_path / "home")
    assert said == {"job": to_hex(whole.order.job_id), "holds": True, "vouched": True, "broken": []}


def test_a_new_process_refuses_a_forgery_and_hashes_a_huge_adapter_in_bounded_memory(
    whole: Proof, stored: Path, tmp_path: Path
) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    edit_statement(bundle, lambda document: document["predicate"]["owners"][0].update(amount="1"), FORGER)
    with (bundle / ADAPTER / "adapter_model.safetensors").open("wb") as file:
        file.truncate(3 << 29)  # half as much again as the process may have
    said = verified(whole, bundle, stored, tmp_path / "home")
    assert said["broken"] == ["statement", "payees", "adapter"]
    assert not said["holds"]
    assert not said["vouched"]


def test_sealed_objects_that_are_gone_are_missed(whole: Proof, stored: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    CarStore(empty).close()
    assert verified(whole, whole.bundle, empty, tmp_path / "home")["broken"] == ["blocks"]
