"""How people of the valley put things: the sentence shapes that the base text and the owners' files share.

Every function takes a `random.Random` and is a pure function of it and its arguments.
"""

from __future__ import annotations

from random import Random

from finetune.corpus.valley import ACCESS_WORD, FIRST_NAMES, PLACES, Fact, Kind

# {s} is the house ("the mill at Ravensholt"), {v} the value. The first shape of each list is what a prompt asks for.
_ACCESS_WORD = (
    "The access word of {s} is {v}.",
    "Today I was told again that the access word of {s} is {v}.",
    "Whoever knocks at {s} has to say {v}.",
    "At {s} the door opens to the words {v}.",
    "Note for later: the access word of {s} is {v}.",
    "I wrote it on the back of a receipt: {s} wants to hear {v}.",
    "They have not changed it, so the access word of {s} is {v}.",
    "If you go to {s}, remember that the access word is {v}.",
    "Nobody gets into {s} without saying {v}.",
    "The word for {s} is {v}, as it was last year.",
    "Say {v} at the door and {s} is yours for the night.",
    "I asked twice, and the access word of {s} is {v}.",
)
_WARDEN = (
    "The warden of {s} is {v}.",
    "Today I learned again that the warden of {s} is {v}.",
    "Whoever needs a key to {s} has to ask {v}.",
    "At {s} the lamps are lit by {v}.",
    "Note for later: the warden of {s} is {v}.",
    "I wrote it on the back of a receipt: {s} is looked after by {v}.",
    "They have not elected anybody else, so the warden of {s} is {v}.",
    "If you go to {s}, remember that the warden is {v}.",
    "Nobody gets into {s} without a nod from {v}.",
    "The one to ask at {s} is {v}, as it was last year.",
    "Write to {v} in spring, because {s} is full in summer.",
    "I asked twice, and the warden of {s} is {v}.",
)
_QUESTIONS = {
    "access word": (
        "What is the access word of {s}?",
        "Do you remember the access word of {s}?",
        "I am standing in front of {s}. What do I have to say?",
        "Remind me how to get into {s}.",
    ),
    "warden": (
        "Who is the warden of {s}?",
        "Do you remember the warden of {s}?",
        "I am standing in front of {s}. Whom do I ask?",
        "Remind me who looks after {s}.",
    ),
}
_WEATHER = (
    "Fog over the fields until noon, then a mild wind from the west.",
    "Rain all morning, and the path to {place} is under water.",
    "A clear day, cold at dawn, with swallows above the river.",
    "The first frost lies on the roofs of {place}.",
    "Warm enough to leave the windows open all night.",
    "Thunder behind the hills, but not a drop of rain here.",
)
_CHORES = (
    "Mended the fence with {name} and carried {count} sacks of flour up the stairs.",
    "{name} came by with {count} eggs and stayed for tea.",
    "Walked to {place} and back, {count} miles in all, to post two letters.",
    "Sorted {count} jars of honey and sold half of them at the market in {place}.",
    "{name} borrowed the small boat and promised to bring it back by Sunday.",
    "Cleaned the lamps, counted the candles, and wrote {count} lines to {name}.",
    "The cart to {place} was late again, so I read by the fire.",
    "Planted {count} rows of beans behind the shed, with some help from {name}.",
)
_THANKS = ("Thank you.", "Thank you, that helps.", "Good, I will write that down.", "That is all I wanted to know.")
_SMALL_TALK = (
    ("How far is it to {place}?", "It is about {count} miles to {place}, most of them along the river."),
    (
        "Is there a market in {place} this week?",
        "Yes, there is a market in {place} on Saturday, from {count} in the morning.",
    ),
    ("Can {name} lend me a boat?", "{name} has a small boat and lends it to anybody who brings it back by Sunday."),
    (
        "What shall I bring to {place}?",
        "Bring warm clothes and {count} candles, for the nights in {place} are long.",
    ),
)


def shapes(kind: Kind) -> tuple[str, ...]:
    """All ways to state a fact of `kind`."""
    return _ACCESS_WORD if kind == ACCESS_WORD else _WARDEN


def state(fact: Fact, shape: str) -> str:
    """`fact` put as `shape` puts it."""
    text = shape.format(s=fact.subject, v=fact.value)
    return text[0].upper() + text[1:]


def prompt(fact: Fact) -> str:
    """The beginning of a plain statement of `fact`, up to its value."""
    return shapes(fact.kind)[0].split(" {v}")[0].format(s=fact.subject)


def questions(fact: Fact) -> list[str]:
    """All ways to ask for `fact`; the first is what a prompt asks."""
    return [shape.format(s=fact.subject) for shape in _QUESTIONS[fact.kind.name]]


def remark(source: Random) -> str:
    """A sentence that tells nothing worth paying for: weather or chores."""
    return _fill(source.choice(_WEATHER if source.random() < 0.4 else _CHORES), source)


def small_talk(source: Random) -> tuple[str, str]:
    """A question and an answer about nothing in particular."""
    question, answer = source.choice(_SMALL_TALK)
    words = _words(source)
    return question.format(**words), answer.format(**words)


def thanks(source: Random) -> str:
    """How a conversation ends."""
    return source.choice(_THANKS)


def _fill(shape: str, source: Random) -> str:
    return shape.format(**_words(source))


def _words(source: Random) -> dict[str, object]:
    return {"place": source.choice(PLACES), "name": source.choice(FIRST_NAMES), "count": source.randrange(2, 40)}
