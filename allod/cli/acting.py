"""Options that many commands share, and how a command gets from a name to an unlocked identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allod.cli.shown import Screen

if TYPE_CHECKING:
    from allod.identities import Identity, Unlocked
    from allod.world import World

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="Its first line is the passphrase; - is stdin.", show_default=False
    ),
]


@contextmanager
def world_of(screen: Screen) -> Iterator[World]:
    """This command's home, closed afterwards."""
    from allod.world import World

    with World(screen.settings) as world:
        yield world


def who(screen: Screen, world: World) -> Identity:
    """Who acts, by --as, ALLOD_AS or because there is only one."""
    return world.identities.acting(screen.settings.actor)


def unlock(screen: Screen, world: World, passphrase_file: Path | None) -> Unlocked:
    """Who acts, with the root key in memory."""
    from allod.passphrases import read_passphrase

    identity = who(screen, world)
    file = passphrase_file or screen.settings.passphrase_file
    return identity.unlock(read_passphrase(file, prompt=f"Passphrase of {identity.name}"))
