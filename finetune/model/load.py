"""Finding and loading a base model: a local folder or a Hugging Face id, safetensors only, never remote code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from core.encoding import encode_json
from core.errors import InvalidInput, NotFound, Unavailable

_WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
_PATTERNS = [*_WANTED, "*.safetensors", "*.safetensors.index.json", "chat_template.jinja"]


def locate_base(path_or_id: str) -> Path:
    """The local folder of a base model; a Hugging Face id is taken from the local cache, else downloaded.

    A folder with pickled weights only, or with code of its own, is refused.
    """
    folder = Path(path_or_id).expanduser()
    if not folder.is_dir():
        folder = _from_hub(path_or_id)
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise InvalidInput(
            f"{path_or_id} is not a model that Allod loads: it needs config.json and safetensors weights.",
            hint="Save it with save_pretrained(folder), which writes safetensors.",
        )
    if not (folder / "tokenizer.json").is_file():
        raise InvalidInput(
            f"{path_or_id} has no tokenizer.json.",
            hint="Load its tokenizer once with AutoTokenizer and save_pretrained it into the same folder.",
        )
    return folder.resolve()


def base_model_hash(folder: Path) -> bytes:
    """sha256 over the canonical JSON list of [file name, sha256 in hex] of the files that decide what a model says.

    docs/format/70-model.md: `*.safetensors`, config and tokenizer files, sorted by name. Readme, licence and cache
    files don't count, so a copy of a model has the hash of the model.
    """
    names = {entry.name for pattern in _PATTERNS for entry in folder.glob(pattern) if entry.is_file()}
    if "config.json" not in names:
        raise InvalidInput(f"{folder} holds no model.", hint="Name the folder that has config.json.")
    listing = []
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            listing.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
    return hashlib.sha256(encode_json(listing)).digest()


def load_model(folder: str | Path) -> Any:
    """The causal language model in `folder`, in 32-bit floats on the CPU, with weights that do not train."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise InvalidInput(
            f"The base model in {folder} cannot be loaded ({type(error).__name__}).",
            hint="It must be a causal language model with safetensors weights that needs no code of its own.",
        ) from None
    return model.requires_grad_(False)


def load_base(path_or_id: str) -> tuple[Any, Any]:
    """Model and stock tokenizer of a local folder or Hugging Face id, as transformers gives them."""
    from transformers import AutoTokenizer

    folder = locate_base(path_or_id)
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return load_model(folder), tokenizer


def _from_hub(name: str) -> Path:
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise NotFound(
            f"There is no folder {name}.", hint="Name a model's folder, or a Hugging Face id like owner/model."
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise Unavailable(
            "Base models from Hugging Face need the trainer's parts, which are not installed.",
            hint="Install the extra: pip install 'allod[trainer]'.",
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=_PATTERNS))
    except HFValidationError:
        raise InvalidInput(f"{name} is neither a folder nor a Hugging Face id.") from None
    except LocalEntryNotFoundError:
        raise Unavailable(
            f"{name} is not in this machine's Hugging Face cache, and the hub cannot be reached.",
            hint="Connect to the network once, or name a local folder.",
        ) from None
    except Exception as error:
        raise Unavailable(
            f"The Hugging Face hub did not give {name} ({type(error).__name__}).",
            hint="Check the id and your access to it, or name a local folder.",
        ) from None
