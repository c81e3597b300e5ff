"""Chats and texts out of JSON: training lines (`messages`, `prompt`/`completion`, `text`), ChatGPT conversations.

A chat is worth training on if an assistant answers in it. Of a ChatGPT conversation, a tree of edits and
regenerations, only the branch that the owner ended on is read: from `current_node` up to the root.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from vault.readers.jsonvalues import MAX_DEPTH, MAX_OBJECT, depth, objects
from vault.readers.record import ROLES, BrokenRecord, Draft, Message, merged, whole
from vault.readers.source import lines

MAX_LINE: Final = 16 << 20
MAX_TEXT: Final = 1 << 20  # UTF-8 bytes of one record: more is no example to learn from, but a library
MAX_MESSAGES: Final = 2000
# What a parser builds of a bracket or a comma takes up to a hundred times its place.
_MAX_BRACKETS: Final = 1 << 18
_MAX_COMMAS: Final = 1 << 20

_NOT_JSON = "It is not valid JSON."
_NOT_KNOWN = "It has none of messages, prompt and completion, text, or a conversation's mapping."
_NO_ANSWER = "The assistant says nothing in it, so there is nothing to learn."


class _Unreadable(Exception):
    """Why one value is no record; the text goes into a `BrokenRecord`."""


def read_lines(stream: Iterator[bytes]) -> Iterator[Draft | BrokenRecord]:
    """JSON Lines: one record a line, blank lines aside."""
    skipping = 0
    for number, line, whole_line in lines(stream, MAX_LINE):
        if number == skipping:
            continue
        place = f"line {number}"
        if not whole_line:
            skipping = number
            yield BrokenRecord(place, f"The line is longer than {MAX_LINE >> 20} MiB.")
        elif line.strip():
            yield _draft(line, place)


def read_values(stream: Iterator[bytes]) -> Iterator[Draft | BrokenRecord]:
    """A JSON array of conversations or chats (ChatGPT's `conversations.json`), or a single one."""
    for number, value in enumerate(objects(stream), 1):
        place = f"conversation {number}"
        if value is None:
            yield BrokenRecord(place, f"It is cut short, nested too deep, or longer than {MAX_OBJECT >> 20} MiB.")
        else:
            yield _draft(value, place, was_followed=True)


def _draft(data: bytes, place: str, *, was_followed: bool = False) -> Draft | BrokenRecord:
    """The record of one JSON text; `was_followed` where `objects` kept to the depth already."""
    brackets = data.count(b"{") + data.count(b"[")
    if brackets > _MAX_BRACKETS or data.count(b",") > _MAX_COMMAS:
        return BrokenRecord(place, "It holds more values than a conversation has.")
    try:
        value = _parsed(data)
    except (ValueError, RecursionError):
        return BrokenRecord(place, _NOT_JSON)
    # How deep Python itself can follow depends on its caller: a limit of our own makes all readers agree.
    if not was_followed and brackets > MAX_DEPTH and depth(data) > MAX_DEPTH:
        return BrokenRecord(place, _NOT_JSON)
    try:
        return Draft(place, _content(value))
    except _Unreadable as error:
        return BrokenRecord(place, str(error))


def _parsed(data: bytes) -> Any:
    """RFC 8259 to the letter: UTF-8 and no other encoding, no NaN, numbers of any length (none of them is read)."""
    return json.loads(data.decode("utf-8"), parse_int=float, parse_constant=_refuse)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _content(value: Any) -> str | tuple[Message, ...]:
    if not isinstance(value, dict):
        raise _Unreadable("It is not a JSON object.")
    if "mapping" in value:
        return _answered(merged(_branch(value)))
    if "messages" in value:
        return _answered(_messages(value["messages"]))
    if "prompt" in value and "completion" in value:
        prompt, completion = _text(value["prompt"]), _text(value["completion"])
        return _answered((Message("user", prompt), Message("assistant", completion)))
    if "text" in value:
        text = _text(value["text"])
        if not text.strip():
            raise _Unreadable("Its text is empty.")
        _check_length(text)
        return text
    raise _Unreadable(_NOT_KNOWN)


def _answered(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    if len(messages) > MAX_MESSAGES:
        raise _Unreadable(f"It has more than {MAX_MESSAGES} messages.")
    _check_length(*(message.content for message in messages))
    if not any(message.role == "assistant" and message.content.strip() for message in messages):
        raise _Unreadable(_NO_ANSWER)
    return messages


def _check_length(*texts: str) -> None:
    if sum(len(text) if text.isascii() else len(text.encode("utf-8")) for text in texts) > MAX_TEXT:
        raise _Unreadable(f"It is longer than {MAX_TEXT >> 20} MiB of text.")


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise _Unreadable("Its messages are not a list.")
    messages = []
    for number, item in enumerate(value, 1):
        role = item.get("role") if isinstance(item, dict) else None
        if role not in ROLES:
            raise _Unreadable(f"Message {number} has a role other than {', '.join(ROLES)}.")
        messages.append(Message(role, _text(item.get("content"))))
    return tuple(messages)


def _text(value: Any) -> str:
    """A text, or the texts of a list of typed parts; anything else cannot be learned as it stands."""
    if isinstance(value, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        value = "".join(part["text"] if isinstance(part.get("text"), str) else "" for part in value)
    if not isinstance(value, str):
        raise _Unreadable("A message's content is not text.")
    return whole(value)


def _branch(conversation: dict[str, Any]) -> list[Message]:
    """The messages from the root to `current_node`."""
    mapping = conversation["mapping"]
    if not isinstance(mapping, dict) or not mapping:
        raise _Unreadable("Its mapping is empty.")
    messages = []
    node_id, seen = _end(conversation, mapping), set()
    while node_id is not None:
        node = mapping.get(node_id) if isinstance(node_id, str) else None
        if not isinstance(node, dict) or node_id in seen:
            raise _Unreadable("Its tree of messages has a hole or a loop.")
        seen.add(node_id)
        message = _spoken(node.get("message"))
        if message is not None:
            messages.append(message)
        node_id = node.get("parent")
    return messages[::-1]


def _end(conversation: dict[str, Any], mapping: dict[str, Any]) -> Any:
    current = conversation.get("current_node")
    if current is not None:
        return current
    named = [node.get("parent") for node in mapping.values() if isinstance(node, dict)]
    parents = {parent for parent in named if isinstance(parent, str)}
    leaves = [node_id for node_id in mapping if node_id not in parents]
    if len(leaves) != 1:
        raise _Unreadable("It does not say which of its branches is the current one.")
    return leaves[0]


def _spoken(message: Any) -> Message | None:
    """What was said in the open; None for tools, hidden system notes, images and empty turns."""
    if not isinstance(message, dict):
        return None
    author, content, metadata = (message.get(name) for name in ("author", "content", "metadata"))
    role = author.get("role") if isinstance(author, dict) else None
    hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation") is True
    addressed = message.get("recipient", "all") in ("all", None)
    if role not in ROLES or hidden or not addressed or not isinstance(content, dict):
        return None
    if content.get("content_type") not in ("text", "multimodal_text"):
        return None
    parts = content.get("parts")
    spoken = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
    text = whole("\n".join(spoken))
    return Message(role, text) if text.strip() else None
