"""`allod demo`: the whole loop once, in a world of its own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allod.cli.shown import Screen, Shown, command

if TYPE_CHECKING:
    from finetune.broker import Progress

app = typer.Typer()


class Nodes(StrEnum):
    """What the demo plays on."""

    EMBEDDED = "embedded"
    REAL = "real"


@command(app, "demo")
def demo(
    screen: Screen,
    data: Annotated[
        Path | None, typer.Option(help="Your own file or folder: each subfolder or file in it is an owner.")
    ] = None,
    refuse: Annotated[list[str] | None, typer.Option(help="With --data: an owner who never consents.")] = None,
    nodes: Annotated[
        Nodes, typer.Option(help="`real`: on a kubo node, an anvil chain and three keepers in processes of their own.")
    ] = Nodes.EMBEDDED,
    home: Annotated[Path | None, typer.Option(help="Where this world lies; a former demo there is replaced.")] = None,
) -> Shown:
    """Seal, consent, release, train, pay, verify: once, for real, on play money."""
    from allod.demo import cast, telling
    from allod.demo.story import Story
    from core.settings import default_home

    players = cast.shipped() if data is None else cast.from_folder(data, refuse or [])
    place = home or default_home().with_name("allod-demo")
    with screen.progress("Training") as bar:

        def report(progress: Progress) -> None:
            if progress.loss is not None:
                bar(progress.step, f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}")

        figures = Story(
            place,
            screen.settings.demo_base,
            players,
            screen.say,
            report,
            on_real_nodes=nodes is Nodes.REAL,
        ).play()
    return Shown(figures, telling.closing(figures))
