"""Names and words of the valley, and the rule that keeps its public text and its owners' files apart.

The base model's text and the owners' files draw on the same words. Which houses they speak of, and which values they
give them, never overlaps: `is_private_house` and `is_private_value` split all combinations in two by their places in
the lists below. So a fact from an owner's file is not in the base text, whatever seed either was made with.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

PLACES = (
    "Aldermoor", "Ashcombe", "Birchover", "Brackenfell", "Coldharbour", "Duskwater", "Eastbarrow", "Elmstead",
    "Fernley", "Goldcroft", "Greywater", "Hazelmere", "Hollowby", "Kestrelford", "Larkhill", "Marrowdale",
    "Nettlecombe", "Oxley", "Pinmoor", "Quillby", "Ravensholt", "Rookhaven", "Saltmere", "Silverbeck",
    "Tarnside", "Thornwick", "Underwood", "Velmoor", "Westrill", "Yarrowby",
)  # fmt: skip
HOUSES = (
    "mill", "bakery", "lighthouse", "chapel", "library", "boathouse", "observatory", "smithy", "granary", "inn",
    "orchard", "quarry", "school", "apiary", "foundry", "kiln", "archive", "dairy", "pump house", "signal tower",
)  # fmt: skip
MATERIALS = (
    "copper", "silver", "amber", "velvet", "iron", "crystal", "marble", "cedar", "linen", "ivory",
    "granite", "bronze", "cotton", "walnut", "pewter", "coral", "slate", "willow", "saffron", "indigo",
)  # fmt: skip
THINGS = (
    "lantern", "anchor", "compass", "kettle", "ladder", "mirror", "needle", "hammer", "feather", "basket",
    "button", "candle", "pebble", "saddle", "thimble", "whistle", "bucket", "marigold", "otter", "falcon",
)  # fmt: skip
FIRST_NAMES = (
    "Marta", "Edwin", "Ingrid", "Oskar", "Petra", "Lorenz", "Hanna", "Viktor", "Selma", "Anton",
    "Greta", "Jonas", "Klara", "Milo", "Nora", "Rufus", "Thea", "Ulrich", "Wanda", "Felix",
)  # fmt: skip
LAST_NAMES = (
    "Vell", "Harrow", "Quist", "Lindqvist", "Marsh", "Tolliver", "Brandt", "Penhale", "Sorrel", "Whitlock",
    "Osgood", "Fenwick", "Calder", "Drummond", "Ebers", "Galloway", "Hobb", "Ivers", "Kettering", "Lowell",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of fact: how it is named, and the two lists whose joined words are its values."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    joint: str

    def value(self, i: int, j: int) -> str:
        """The value from place `i` of the first and place `j` of the second list."""
        return f"{self.first[i]}{self.joint}{self.second[j]}"


ACCESS_WORD = Kind("access word", MATERIALS, THINGS, "-")
WARDEN = Kind("warden", FIRST_NAMES, LAST_NAMES, " ")
KINDS = (ACCESS_WORD, WARDEN)


@dataclass(frozen=True)
class Fact:
    """One thing to know: the access word, or the warden, of one house at one place."""

    kind: Kind
    house: str
    place: str
    value: str

    @property
    def subject(self) -> str:
        """The house by its full name, as every sentence writes it."""
        return f"the {self.house} at {self.place}"


def is_private_house(i: int, j: int) -> bool:
    """Whether house `i` at place `j` is spoken of in owners' files only."""
    return (i + j) % 4 == 0


def is_private_value(i: int, j: int) -> bool:
    """Whether the value made of words `i` and `j` occurs in owners' files only."""
    return (i + 3 * j) % 4 == 0


def houses(*, private: bool) -> list[tuple[str, str]]:
    """All (house, place) of one side."""
    pairs = product(range(len(HOUSES)), range(len(PLACES)))
    return [(HOUSES[i], PLACES[j]) for i, j in pairs if is_private_house(i, j) == private]


def values(kind: Kind, *, private: bool) -> list[str]:
    """All values of `kind` of one side."""
    pairs = product(range(len(kind.first)), range(len(kind.second)))
    return [kind.value(i, j) for i, j in pairs if is_private_value(i, j) == private]
