"""Base models: finding, hashing, refusing, and the demo's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from core.encoding import encode_json
from core.errors import Busy, InvalidInput, NotFound, Unavailable
from core.files import Lock
from finetune.model import base as base_module
from finetune.model.base import ensure_base
from finetune.model.load import base_model_hash, load_base, load_model, locate_base

pytestmark = [pytest.mark.needs_trainer]

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "base-model.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_the_hash_of_a_model_follows_its_vectors(vector: dict[str, object], tmp_path: Path) -> None:
    files = vector["files"]
    assert isinstance(files, dict)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert base_model_hash(tmp_path).hex() == vector["hash"]


def test_the_hash_is_over_a_canonical_list_of_names_and_hashes(tiny_base: Path) -> None:
    names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    listing = [[name, hashlib.sha256((tiny_base / name).read_bytes()).hexdigest()] for name in names]
    assert base_model_hash(tiny_base) == hashlib.sha256(encode_json(listing)).digest()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_one_changed_byte_is_another_model_and_a_readme_is_not(tiny_base: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base, copy)
    (copy / "README.md").write_text("hello")
    assert base_model_hash(copy) == base_model_hash(tiny_base)
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(data)
    assert base_model_hash(copy) != base_model_hash(tiny_base)


def test_a_folder_without_safetensors_or_tokenizer_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_base, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(InvalidInput, match="safetensors"):
        locate_base(str(pickled))
    bare = tmp_path / "bare"
    shutil.copytree(tiny_base, bare)
    (bare / "tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match=r"tokenizer\.json"):
        locate_base(str(bare))


def test_a_model_that_brings_code_is_not_run(tiny_base: Path, tmp_path: Path) -> None:
    folder, ran = tmp_path / "coded", tmp_path / "ran"
    shutil.copytree(tiny_base, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "odd", "auto_map": {"AutoConfig": "odd.C", "AutoModelForCausalLM": "odd.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "odd.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(InvalidInput):
        load_model(folder)
    assert not ran.exists()


def test_names_that_lead_nowhere_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        locate_base(str(tmp_path / "missing"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable) as caught:
        locate_base("nobody/no-such-model")
    assert "network" in caught.value.hint
    with pytest.raises(InvalidInput):
        locate_base("not a model's id")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's base after two steps instead of all."""
    return ensure_base(tmp_path_factory.mktemp("models") / "base", steps=2)


def test_the_demo_base_loads_as_any_model_and_is_small(made: Path) -> None:
    model, tokenizer = load_base(str(locate_base(str(made))))
    assert 500_000 < sum(p.numel() for p in model.parameters()) < 2_000_000
    assert tokenizer.decode(tokenizer("Allod, 你好").input_ids) == "Allod, 你好"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_a_second_run_keeps_it_and_whoever_breaks_it_gets_a_new_one(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(made, folder)
    made_again: list[Path] = []

    def pretrain(making: Path, progress: object, steps: int) -> None:
        made_again.append(making)
        for file in made.iterdir():
            shutil.copy(file, making)

    monkeypatch.setattr(base_module, "_pretrain", pretrain)
    ensure_base(folder, steps=2)
    assert made_again == []
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    ensure_base(folder, steps=2)
    ensure_base(folder, steps=3)
    assert len(made_again) == 2
    assert base_model_hash(folder) == base_model_hash(made)


def test_a_failed_making_leaves_neither_model_nor_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(making: Path, progress: object, steps: int) -> None:
        (making / "config.json").write_text("{}")
        raise Unavailable("out of memory")

    monkeypatch.setattr(base_module, "_pretrain", broken)
    with pytest.raises(Unavailable):
        ensure_base(tmp_path / "base")
    assert [entry.name for entry in tmp_path.iterdir()] == [".base.lock"]


def test_what_a_killed_making_left_is_cleared_and_a_running_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path
) -> None:
    abandoned = tmp_path / ".base.making-old"
    abandoned.mkdir()
    monkeypatch.setattr(base_module, "_pretrain", lambda making, *_: [shutil.copy(f, making) for f in made.iterdir()])
    with Lock(tmp_path / ".base.lock", what="The demo's base model"), pytest.raises(Busy):
        ensure_base(tmp_path / "base")
    assert abandoned.exists()
    ensure_base(tmp_path / "base")
    assert not abandoned.exists()
