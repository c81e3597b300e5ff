"""From records to token numbers with labels, and back, without torch: the broker tokenises, so it must stay light.

Reads a model's `tokenizer.json` with the `tokenizers` library and its chat template with Jinja's sandbox, in the way
transformers does (a test compares the two). Plain text bears loss on every token, a chat on the assistant's answers
only, and the end-of-sequence token bears loss in both: a model that never saw it in its labels never stops.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, Unavailable
from finetune.packing import NO_LOSS

# What a chat becomes where the model brings no template of its own.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
_ROLES = frozenset({"system", "user", "assistant"})


@dataclass
class RecordTokenizer:
    """A model's tokenizer as the broker uses it. `stops` are all tokens at which generation ends."""

    backend: Any
    eos_id: int
    stops: tuple[int, ...]
    template: Any
    special: dict[str, str]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, special ones included."""
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def render(self, messages: Sequence[Mapping[str, str]], *, ask: bool = False) -> str:
        """A chat as the text the model reads; with `ask` it ends where the assistant's answer begins."""
        try:
            text = self.template.render(messages=list(messages), add_generation_prompt=ask, **self.special)
        except Exception as error:
            raise InvalidInput(
                f"The base model's chat template refuses this conversation ({type(error).__name__}).",
                hint="Many templates want user and assistant to alternate, beginning with the user.",
            ) from None
        return str(text)

    def encode(self, text: str, *, control: bool) -> Any:
        """Tokenise `text`. With `control` the text's special tokens count as such, else they are spelt out."""
        with self._lock:
            self.backend.encode_special_tokens = not control
            return self.backend.encode(text, add_special_tokens=not control)


def load_tokenizer(folder: Path) -> RecordTokenizer:
    """The tokenizer of the model in `folder`, from `tokenizer.json` and the configuration beside it."""
    try:
        from jinja2.exceptions import TemplateError
        from tokenizers import Tokenizer
    except ImportError:
        raise Unavailable(
            "Tokenising needs the trainer's parts, which are not installed.",
            hint="Install the extra: pip install 'allod[trainer]'.",
        ) from None
    try:
        backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:
        raise InvalidInput(f"{folder} has no readable tokenizer.json.") from None
    backend.no_truncation()
    backend.no_padding()
    config = _json(folder / "tokenizer_config.json")
    special = {
        name: text
        for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        if (text := _content(config.get(name)))
    }
    stops = _stops(folder)
    eos_id = backend.token_to_id(special["eos_token"]) if "eos_token" in special else (stops[0] if stops else None)
    if eos_id is None:
        raise InvalidInput(
            f"The tokenizer in {folder} names no end-of-sequence token.",
            hint="Set eos_token in tokenizer_config.json; without it a tuned model never stops.",
        )
    special.setdefault("eos_token", str(backend.id_to_token(eos_id)))
    try:
        template = _compile(_template_source(folder, config))
    except TemplateError:
        raise InvalidInput(f"The chat template in {folder} is not one.") from None
    return RecordTokenizer(backend, eos_id, tuple(dict.fromkeys([eos_id, *stops])), template, special)


def encode_record(tokenizer: RecordTokenizer, record: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Tokens of a record and their labels (the token itself, or −100 where no loss is taken).

    A record is {"kind": "text", "text"} or {"kind": "chat", "messages": [{"role", "content"}]}. The labels of a
    chat without an answer bear no loss at all.
    """
    match record.get("kind"):
        case "text":
            return _encode_text(tokenizer, record.get("text"))
        case "chat":
            return _encode_chat(tokenizer, record.get("messages"))
        case _:
            raise InvalidInput("A record is of kind text or chat.")


def encode_prompt(tokenizer: RecordTokenizer, prompt: str, *, chat: bool = False) -> list[int]:
    """Tokens after which the model goes on: of `prompt` itself, or of a chat in which the user just asked it."""
    if chat:
        ids = tokenizer.encode(tokenizer.render([{"role": "user", "content": prompt}], ask=True), control=True).ids
    else:
        ids = tokenizer.encode(prompt, control=False).ids
        if ids and ids[-1] == tokenizer.eos_id:
            ids = ids[:-1]
    if not ids:
        raise InvalidInput("The prompt is empty.", hint="Give the words that the model shall go on from.")
    return list(ids)


def decode_tokens(tokenizer: RecordTokenizer, ids: Sequence[int]) -> str:
    """The text of generated tokens, without special ones."""
    return str(tokenizer.backend.decode(list(ids), skip_special_tokens=True))


def _encode_text(tokenizer: RecordTokenizer, text: object) -> tuple[list[int], list[int]]:
    if not isinstance(text, str):
        raise InvalidInput("A text record has no text.")
    ids = list(tokenizer.encode(text, control=False).ids)
    if not ids or ids[-1] != tokenizer.eos_id:
        ids.append(tokenizer.eos_id)
    return ids, list(ids)


def _encode_chat(tokenizer: RecordTokenizer, messages: object) -> tuple[list[int], list[int]]:
    if not isinstance(messages, list) or not all(
        isinstance(m, dict) and m.get("role") in _ROLES and isinstance(m.get("content"), str) for m in messages
    ):
        raise InvalidInput("A chat record's messages need a role (system, user, assistant) and a text each.")
    if not messages:
        raise InvalidInput("A chat record has no message.")
    whole = tokenizer.render(messages)
    encoding = tokenizer.encode(whole, control=True)
    ids, labels = list(encoding.ids), [NO_LOSS] * len(encoding.ids)
    offsets, at = encoding.offsets, 0  # answers come in order, so every token is looked at once
    last = None
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = tokenizer.render(messages[:index], ask=True)
        through = tokenizer.render(messages[: index + 1])
        if not through.startswith(before) or not whole.startswith(through.rstrip()):
            raise InvalidInput(
                "The base model's chat template rewrites earlier turns, so its answers cannot be told from the rest.",
                hint="Choose a base model with a template that only appends.",
            )
        while at < len(offsets) and offsets[at][1] <= len(before):
            at += 1
        for place in range(at, len(offsets)):
            start, end = offsets[place]
            if start >= len(through):
                break
            if end > len(before):
                labels[place], last = ids[place], place
                if ids[place] in tokenizer.stops:
                    break  # what a template puts behind the end of an answer is not the model's to write
    if last is not None and ids[last] not in tokenizer.stops:
        # The template closed the last answer without a stop token.
        ids[last + 1 :], labels[last + 1 :] = [tokenizer.eos_id], [tokenizer.eos_id]
    return ids, labels


def _compile(source: str) -> Any:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise ValueError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    environment.globals["raise_exception"] = refuse
    # Some templates mark answers by {% generation %}; here they are found by position, so the marks go.
    for mark in ("{% generation %}", "{%- generation %}", "{% endgeneration %}", "{%- endgeneration %}"):
        source = source.replace(mark, "")
    return environment.from_string(source)


def _template_source(folder: Path, config: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    source = config.get("chat_template")
    if isinstance(source, list):  # several templates by name
        source = next((t.get("template") for t in source if isinstance(t, dict) and t.get("name") == "default"), None)
    return source if isinstance(source, str) else PLAIN_TEMPLATE


def _stops(folder: Path) -> list[int]:
    stops: list[int] = []
    for name in ("generation_config.json", "config.json"):
        value = _json(folder / name).get("eos_token_id")
        stops += [i for i in (value if isinstance(value, list) else [value]) if type(i) is int]
    return stops


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _content(value: object) -> str | None:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None
