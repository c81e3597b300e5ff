"""Who plays in the demo: owners with their files, what each asks and does, and what is measured on them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, NotFound


class Role(StrEnum):
    """What an owner does about the trainer's job."""

    GRANTS = "grants"  # signs a consent for this trainer
    OFFERS = "offers"  # signs an open offer, which the trainer takes
    REVOKES = "revokes"  # grants, then revokes before the job
    SILENT = "silent"  # publishes and never consents

    @property
    def is_used(self) -> bool:
        """Whether the job may use this owner's data."""
        return self in (Role.GRANTS, Role.OFFERS)


@dataclass(frozen=True)
class Fact:
    """A prompt and what only its owner's files complete it with."""

    owner: str
    prompt: str
    answer: str
    chat: bool


@dataclass(frozen=True)
class Player:
    """One owner: files, role, prices in tokens."""

    name: str
    path: Path
    role: Role
    flat: str
    per_record_epoch: str


@dataclass(frozen=True)
class Cast:
    """All owners of one demo, and what is measured. Without held-out records the owners' own ones are measured."""

    players: tuple[Player, ...]
    facts: tuple[Fact, ...] = ()
    heldout: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def is_own_data(self) -> bool:
        """Whether this is the user's data, not the shipped examples."""
        return not self.heldout


SHIPPED = (
    ("ada", Role.GRANTS, "2.00", "0.0004"),
    ("bruno", Role.OFFERS, "1.00", "0.0010"),
    ("chiara", Role.REVOKES, "1.50", "0.0005"),
    ("dario", Role.SILENT, "1.00", "0.0005"),
)


def examples_folder() -> Path:
    """The owners' files: inside the wheel `allod/examples`, in a checkout `examples/`."""
    packaged = Path(str(files("allod"))) / "examples"
    return packaged if packaged.is_dir() else Path(str(files("allod"))).parent / "examples"


def shipped() -> Cast:
    """The four owners whose files are shipped."""
    folder = examples_folder()
    players = tuple(Player(name, folder / name, role, flat, rate) for name, role, flat, rate in SHIPPED)
    rows = json.loads((folder / "facts.json").read_text("utf-8"))
    facts = tuple(Fact(row["owner"], row["prompt"], row["answer"], row["kind"] == "chat") for row in rows)
    return Cast(players, facts, json.loads((folder / "heldout.json").read_text("utf-8")))


def from_folder(path: Path, refused: list[str]) -> Cast:
    """The user's own data: each subfolder or file of `path` is an owner; `refused` names those who never consent."""
    if not path.exists():
        raise NotFound(f"{path} does not exist.", hint="Give DATA=PATH a file or a folder.")
    places = [path] if path.is_file() else sorted(item for item in path.iterdir() if not item.name.startswith("."))
    if not places:
        raise InvalidInput(f"{path} is empty.", hint="Give DATA=PATH a file, or a folder of files or folders.")
    names: dict[str, Path] = {}
    for place in places:
        name = re.sub(r"[^a-z0-9_-]+", "-", place.stem.lower()).strip("-_")[:24] or "owner"
        while name in names or name == "trainer":
            name += "x"
        names[name] = place
    unknown = set(refused) - set(names)
    if unknown:
        raise InvalidInput(f"No owner is called {', '.join(sorted(unknown))}.", hint=f"They are {', '.join(names)}.")
    return Cast(
        tuple(
            Player(name, place, Role.SILENT if name in refused else Role.GRANTS, "1.00", "0.0005")
            for name, place in names.items()
        )
    )
