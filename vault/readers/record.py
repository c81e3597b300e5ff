"""What a reader yields: records to learn from, and notes on places that cannot be read.

A reason never quotes the file: it may be shown, logged and sent where the file's text must not go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Role = Literal["system", "user", "assistant"]
ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Record:
    """One unit of training: a text, or a chat of messages. `index` counts the file's records from 0."""

    kind: Literal["text", "chat"]
    text: str
    messages: tuple[Message, ...]
    place: str
    index: int

    def document(self) -> dict[str, Any]:
        """The record as plain data: {"kind": "text", "text"} or {"kind": "chat", "messages": [{"role", "content"}]}."""
        if self.kind == "text":
            return {"kind": "text", "text": self.text}
        return {
            "kind": "chat",
            "messages": [{"role": message.role, "content": message.content} for message in self.messages],
        }


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """A place that cannot be read, and why. What follows it is read all the same."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it has its number."""

    place: str
    content: str | tuple[Message, ...]

    def record(self, index: int) -> Record:
        """The record with its number."""
        if isinstance(self.content, str):
            return Record("text", self.content, (), self.place, index)
        return Record("chat", "", self.content, self.place, index)


def whole(text: str) -> str:
    """`text` with halves of UTF-16 pairs (JSON can spell them) replaced, so that it can be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() and _torn(text) else text


def merged(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbouring messages of one role as one: templates expect turns to alternate."""
    out: list[Message] = []
    for message in messages:
        if out and out[-1].role == message.role:
            out[-1] = Message(message.role, out[-1].content + "\n\n" + message.content)
        else:
            out.append(message)
    return tuple(out)


def _torn(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
