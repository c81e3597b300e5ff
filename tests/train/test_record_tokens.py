"""From records to tokens and labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from finetune.model.pretrain import make_tokenizer
from finetune.model.tokenizer import (
    RecordTokenizer,
    decode_tokens,
    encode_prompt,
    encode_record,
    load_tokenizer,
)

pytestmark = [pytest.mark.needs_trainer]

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Who is the warden?"},
    {"role": "assistant", "content": "Marta Vell."},
    {"role": "user", "content": "Thank you.\nAnd now?"},
    {"role": "assistant", "content": "Now we rest, naïvely: 你好 🐟"},
]

# Templates of the three common manners, written after the models' public descriptions.
MANNERS = {
    "chatml": (
        "{% for m in messages %}{{ '<|user|>' + m.role + '\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|user|>assistant\n' }}{% endif %}"
    ),
    "inst": (
        "{%- for m in messages %}\n  {%- if m['role'] == 'assistant' %}{{ m['content'] | trim }}{{ eos_token }}"
        "{%- else %}[INST] {{ m['content'] }} [/INST] {%- endif %}\n{%- endfor %}"
    ),
    "marked": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}"
        "{% endgeneration %}{% else %}{{ '<|user|>' ~ m.content }}{% endif %}{% endfor %}"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(made)
    return made


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> RecordTokenizer:
    return load_tokenizer(folder)


def with_template(folder: Path, to: Path, template: str) -> Path:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (to / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (to / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    return to


def answers(tokenizer: RecordTokenizer, ids: list[int], labels: list[int]) -> list[str]:
    """The runs of tokens that bear loss, as text with special tokens."""
    runs, run = [], list[int]()
    for token, label in [*zip(ids, labels, strict=True), (0, -100)]:
        if label != -100:
            assert label == token
            run.append(token)
        elif run:
            runs.append(tokenizer.backend.decode(run, skip_special_tokens=False))
            run = []
    return runs


def test_plain_text_bears_loss_throughout_and_ends_with_eos(tokenizer: RecordTokenizer) -> None:
    ids, labels = encode_record(tokenizer, {"kind": "text", "text": "The warden of the mill is Marta Vell."})
    assert labels == ids
    assert ids[-1] == tokenizer.eos_id
    assert decode_tokens(tokenizer, ids) == "The warden of the mill is Marta Vell."


@pytest.mark.parametrize("text", ["", "naïve 你好 🐟\x00\x7f", "\t\n  double  spaces ", "Ⅷ ﷽ \u202e"])
def test_any_text_is_spelt_and_comes_back(tokenizer: RecordTokenizer, text: str) -> None:
    assert decode_tokens(tokenizer, encode_record(tokenizer, {"kind": "text", "text": text})[0]) == text


def test_an_owners_text_cannot_forge_a_control_token(tokenizer: RecordTokenizer) -> None:
    ids, _ = encode_record(tokenizer, {"kind": "text", "text": "one<|end|>two<|assistant|>three"})
    assert ids.count(tokenizer.eos_id) == 1
    assert tokenizer.backend.token_to_id("<|assistant|>") not in ids


def test_only_answers_bear_loss_and_each_ends_with_eos(tokenizer: RecordTokenizer) -> None:
    ids, labels = encode_record(tokenizer, {"kind": "chat", "messages": CHAT})
    assert answers(tokenizer, ids, labels) == ["Marta Vell.<|end|>", "Now we rest, naïvely: 你好 🐟<|end|>"]


def test_a_chat_without_an_answer_bears_no_loss(tokenizer: RecordTokenizer) -> None:
    _, labels = encode_record(tokenizer, {"kind": "chat", "messages": CHAT[:2]})
    assert set(labels) == {-100}


@pytest.mark.parametrize("manner", MANNERS)
def test_other_models_templates_give_the_same_answers(folder: Path, tmp_path: Path, manner: str) -> None:
    tokenizer = load_tokenizer(with_template(folder, tmp_path, MANNERS[manner]))
    ids, labels = encode_record(tokenizer, {"kind": "chat", "messages": CHAT})
    found = [run.removesuffix("<|end|>").removeprefix("<|user|>assistant\n") for run in answers(tokenizer, ids, labels)]
    assert found == ["Marta Vell.", "Now we rest, naïvely: 你好 🐟"]
    assert labels[max(i for i, label in enumerate(labels) if label != -100)] == tokenizer.eos_id


@pytest.mark.parametrize("manner", [None, *MANNERS])
def test_rendering_equals_that_of_transformers(folder: Path, tmp_path: Path, manner: str | None) -> None:
    from transformers import AutoTokenizer

    where = folder if manner is None else with_template(folder, tmp_path, MANNERS[manner])
    ours, stock = load_tokenizer(where), AutoTokenizer.from_pretrained(str(where))
    for ask in (False, True):
        messages = CHAT[:4] if ask else CHAT
        rendered = stock.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask)
        assert ours.render(messages, ask=ask) == rendered
        assert ours.encode(rendered, control=True).ids == stock(rendered, add_special_tokens=False)["input_ids"]


def test_a_model_without_template_or_named_eos_still_works(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "config.json").write_text('{"eos_token_id": [1, 4]}')
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.eos_id, tokenizer.stops) == (1, (1, 4))
    ids, labels = encode_record(tokenizer, {"kind": "chat", "messages": CHAT})
    assert answers(tokenizer, ids, labels) == [" Marta Vell.<|end|>", " Now we rest, naïvely: 你好 🐟<|end|>"]


def test_a_tokenizer_that_cannot_stop_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(InvalidInput, match="end-of-sequence"):
        load_tokenizer(tmp_path)
    with pytest.raises(InvalidInput, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path / "missing")


def test_a_template_that_rewrites_earlier_turns_is_refused(folder: Path, tmp_path: Path) -> None:
    forgetful = "{% for m in messages %}{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    tokenizer = load_tokenizer(with_template(folder, tmp_path, forgetful))
    with pytest.raises(InvalidInput, match="rewrites earlier turns"):
        encode_record(tokenizer, {"kind": "chat", "messages": CHAT})


def test_a_template_cannot_reach_python(folder: Path, tmp_path: Path) -> None:
    reaching = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    tokenizer = load_tokenizer(with_template(folder, tmp_path, reaching))
    with pytest.raises(InvalidInput, match="SecurityError"):
        encode_record(tokenizer, {"kind": "chat", "messages": CHAT})


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": "image", "text": "x"},
        {"kind": "text"},
        {"kind": "text", "text": b"x"},
        {"kind": "chat", "messages": []},
        {"kind": "chat", "messages": [{"role": "tool", "content": "x"}]},
        {"kind": "chat", "messages": [{"role": "user", "content": None}]},
    ],
)
def test_what_is_no_record_is_refused(tokenizer: RecordTokenizer, record: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        encode_record(tokenizer, record)


def test_a_chat_prompt_ends_where_the_answer_begins(tokenizer: RecordTokenizer) -> None:
    ids = encode_prompt(tokenizer, "Who?", chat=True)
    assert tokenizer.backend.decode(ids, skip_special_tokens=False) == "<|user|>Who?<|assistant|>"
    assert tokenizer.eos_id not in encode_prompt(tokenizer, "The warden is")
    with pytest.raises(InvalidInput):
        encode_prompt(tokenizer, "")


def test_the_broker_tokenises_without_torch_or_transformers(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from finetune.model.tokenizer import load_tokenizer, encode_record\n"
        "import finetune.trainer_process, finetune.model.load, finetune.model.base, finetune.packing\n"
        f"encode_record(load_tokenizer(Path({str(folder)!r})), {{'kind': 'chat', 'messages': {CHAT!r}}})\n"
        "print({'torch', 'transformers', 'peft', 'numpy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout == "set()\n"
