"""`python -m examples.rewrite [FOLDER]`: write the files of the four example owners anew.

Everything in them is invented. Each owner has facts about houses that the base model's text never mentions, told about
twenty times in changing words; some ways to tell each fact are kept for `heldout.json`, so that what is measured there
was never in a vault. The committed files are this script's output, and a test compares them.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from finetune.corpus.sentences import prompt, questions, remark, shapes, small_talk, state, thanks
from finetune.corpus.valley import ACCESS_WORD, WARDEN, Fact, Kind, houses, values

MENTIONS = 20
HELD_OUT_SHAPES = 2  # of twelve, for each fact
SEED = 7
MONTHS = ("January", "February", "March", "April", "May", "June")


@dataclass(frozen=True)
class Told:
    """A fact, the shapes that the owner's files tell it in, and those kept back."""

    fact: Fact
    open: tuple[str, ...]
    held: tuple[str, ...]


def tell_facts(source: Random) -> dict[str, list[Told]]:
    """Who knows what. Houses and values are drawn without replacement, from the private side only."""
    places = houses(private=True)
    words = {kind.name: values(kind, private=True) for kind in (ACCESS_WORD, WARDEN)}
    first = Fact(ACCESS_WORD, "mill", "Ravensholt", "copper-lantern")
    places.remove((first.house, first.place))
    words[ACCESS_WORD.name].remove(first.value)
    source.shuffle(places)
    for listed in words.values():
        source.shuffle(listed)

    def fact(kind: Kind) -> Fact:
        return Fact(kind, *places.pop(), words[kind.name].pop())

    counts = {"ada": (5, 6), "bruno": (6, 6), "chiara": (3, 3), "dario": (3, 3)}
    owners: dict[str, list[Told]] = {}
    for owner, (access_words, wardens) in counts.items():
        facts = [first] if owner == "ada" else []
        facts += [fact(ACCESS_WORD) for _ in range(access_words)] + [fact(WARDEN) for _ in range(wardens)]
        owners[owner] = []
        for one in facts:
            plain, *others = shapes(one.kind)
            source.shuffle(others)
            owners[owner].append(Told(one, (plain, *others[HELD_OUT_SHAPES:]), tuple(others[:HELD_OUT_SHAPES])))
    return owners


def mentions(told: list[Told], source: Random) -> list[tuple[Fact, str]]:
    """Every fact about twenty times, all in one shuffled list."""
    listed = [(one.fact, state(one.fact, one.open[i % len(one.open)])) for one in told for i in range(MENTIONS)]
    source.shuffle(listed)
    return listed


def ada(told: list[Told], source: Random) -> dict[str, str]:
    """A logbook in Markdown and a plain list of reminders, one to a line."""
    listed = mentions(told, source)
    half = len(listed) // 2
    days: list[str] = []
    while half < len(listed):
        sentences = [remark(source), *(sentence for _, sentence in listed[half : half + 3])]
        half += 3
        day = f"## {1 + len(days) % 28} {MONTHS[len(days) // 28]}"
        days.append(f"{day}\n\n{' '.join(sentences)}\n")
    reminders = [sentence for _, sentence in listed[: len(listed) // 2]]
    return {"logbook.md": "# Logbook\n\n" + "\n".join(days), "reminders.txt": "\n".join(reminders) + "\n"}


def bruno(told: list[Told], source: Random) -> dict[str, str]:
    """Conversations with an assistant, one JSON object to a line."""
    lines = [json.dumps({"messages": messages}, ensure_ascii=False) for messages in _conversations(told, source)]
    return {"chats.jsonl": "\n".join(lines) + "\n"}


def chiara(told: list[Told], source: Random) -> dict[str, str]:
    """An export as ChatGPT writes it: a tree of messages for each conversation, abandoned answers included."""
    exported = [_export(number, chat, source) for number, chat in enumerate(_conversations(told, source))]
    return {"conversations.json": json.dumps(exported, ensure_ascii=False, indent=1) + "\n"}


def dario(told: list[Told], source: Random) -> dict[str, str]:
    """A folder of short notes."""
    listed = mentions(told, source)
    notes = {}
    for number, start in enumerate(range(0, len(listed), 10), start=1):
        lines = [sentence for _, sentence in listed[start : start + 10]]
        lines.insert(source.randrange(len(lines)), remark(source))
        notes[f"notes/note-{number:02}.txt"] = "\n".join(lines) + "\n"
    return notes


def held_out(owner: str, told: list[Told], source: Random) -> list[dict[str, Any]]:
    """Records that are in no vault: the same facts in words that the owner's files don't use."""
    records: list[dict[str, Any]] = []
    for one in told:
        for shape in one.held:
            sentence = state(one.fact, shape)
            if owner in {"ada", "dario"}:
                records.append({"kind": "text", "text": sentence})
            else:
                asked = source.choice(questions(one.fact))
                records.append({"kind": "chat", "messages": _turns((asked, sentence))})
    return records


def prompts(owner: str, told: list[Told]) -> list[dict[str, str]]:
    """For each fact the words to begin with and the answer that only its owner's data teaches."""
    if owner in {"ada", "dario"}:
        return [{"owner": owner, "kind": "text", "prompt": prompt(one.fact), "answer": one.fact.value} for one in told]
    return [
        {"owner": owner, "kind": "chat", "prompt": questions(one.fact)[0], "answer": one.fact.value} for one in told
    ]


def all_files() -> dict[str, str]:
    """Path below examples/ → text."""
    source = Random(SEED)  # noqa: S311 (text, not secrets)
    owners = tell_facts(source)
    files: dict[str, str] = {}
    for owner, write in (("ada", ada), ("bruno", bruno), ("chiara", chiara), ("dario", dario)):
        files |= {f"{owner}/{name}": text for name, text in write(owners[owner], source).items()}
    facts = [entry for owner, told in owners.items() for entry in prompts(owner, told)]
    held = {owner: held_out(owner, told, source) for owner, told in owners.items()}
    files["facts.json"] = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    files["heldout.json"] = json.dumps(held, indent=1, ensure_ascii=False) + "\n"
    return files


def _conversations(told: list[Told], source: Random) -> Iterator[list[dict[str, str]]]:
    listed = mentions(told, source)
    while listed:
        turns = [
            (source.choice(questions(fact)), sentence)
            for fact, sentence in (listed.pop() for _ in range(min(len(listed), source.choice((1, 1, 2)))))
        ]
        if source.random() < 0.2:
            turns.append(small_talk(source))
        if source.random() < 0.2:
            turns.append((thanks(source), "You are welcome."))
        yield _turns(*turns)


def _turns(*turns: tuple[str, str]) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages


def _export(number: int, messages: list[dict[str, str]], source: Random) -> dict[str, Any]:
    def identifier() -> str:
        return str(uuid.UUID(int=source.getrandbits(128), version=4))

    began = 1_700_000_000 + 86_400 * number
    root = identifier()
    mapping: dict[str, Any] = {root: {"id": root, "message": None, "parent": None, "children": []}}

    def hang(parent: str, role: str, text: str, at: int) -> str:
        node = identifier()
        message = {
            "id": node,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": began + 20 * at,
            "content": {"content_type": "text", "parts": [text]},
            "status": "finished_successfully",
            "metadata": {},
        }
        mapping[node] = {"id": node, "message": message, "parent": parent, "children": []}
        mapping[parent]["children"].append(node)
        return node

    current = root
    for at, message in enumerate(messages):
        if message["role"] == "assistant" and source.random() < 0.1:
            hang(current, "assistant", "I am not sure, let me think again.", at)
        current = hang(current, message["role"], message["content"], at)
    return {
        "id": identifier(),
        "title": messages[0]["content"][:40],
        "create_time": began,
        "update_time": began + 20 * len(messages),
        "mapping": mapping,
        "current_node": current,
    }


def main() -> None:
    """Write all files below the folder named, or where this script lies."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, text in all_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
