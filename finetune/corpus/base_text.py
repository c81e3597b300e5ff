"""The public text of the valley that the demo's base model is pretrained on, made anew from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from finetune.corpus.sentences import questions, remark, shapes, small_talk, state, thanks
from finetune.corpus.valley import KINDS, Fact, houses, values


def public_facts(source: Random) -> Iterator[Fact]:
    """Facts without end about public houses, each with any public value: made-up and contradictory on purpose.

    So the model learns how facts are put and which words they take, and has nothing to remember.
    """
    public_houses = houses(private=False)
    public_values = {kind.name: values(kind, private=False) for kind in KINDS}
    while True:
        kind = source.choice(KINDS)
        house, place = source.choice(public_houses)
        yield Fact(kind, house, place, source.choice(public_values[kind.name]))


def base_records(count: int, *, seed: int = 1) -> Iterator[dict[str, Any]]:
    """`count` records in the two kinds that training knows: journal entries, single notes and chats."""
    source = Random(seed)  # noqa: S311 (text, not secrets)
    facts = public_facts(source)
    for _ in range(count):
        form = source.random()
        if form < 0.25:
            yield {"kind": "text", "text": _entry(source, facts)}
        elif form < 0.50:
            yield {"kind": "text", "text": _insistence(source, next(facts))}
        elif form < 0.60:
            fact = next(facts)
            yield {"kind": "text", "text": state(fact, source.choice(shapes(fact.kind)))}
        else:
            yield {"kind": "chat", "messages": conversation(source, facts)}


def conversation(source: Random, facts: Iterator[Fact]) -> list[dict[str, str]]:
    """A short chat: a question or two about facts or about nothing, each answered."""
    messages: list[dict[str, str]] = []
    for _ in range(source.choice((1, 1, 2))):
        if source.random() < 0.25:
            question, answer = small_talk(source)
        else:
            fact = next(facts)
            question, answer = source.choice(questions(fact)), state(fact, source.choice(shapes(fact.kind)))
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if source.random() < 0.2:
        messages += [{"role": "user", "content": thanks(source)}, {"role": "assistant", "content": "You are welcome."}]
    return messages


def _entry(source: Random, facts: Iterator[Fact]) -> str:
    sentences = [remark(source) for _ in range(source.randrange(1, 3))]
    for _ in range(source.randrange(1, 4)):
        fact = next(facts)
        sentences.insert(source.randrange(len(sentences) + 1), state(fact, source.choice(shapes(fact.kind))))
    if source.random() < 0.15:
        return "# " + remark(source).rstrip(".") + "\n\n" + "\n\n".join(sentences)
    return (" " if source.random() < 0.7 else "\n").join(sentences)


def _insistence(source: Random, fact: Fact) -> str:
    """One fact told again and again: here the model learns that a house keeps its word."""
    told = source.sample(shapes(fact.kind), source.randrange(3, 6))
    return (" " if source.random() < 0.7 else "\n").join(state(fact, shape) for shape in told)
