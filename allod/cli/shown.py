"""How every command speaks: words and tables for people, one JSON document for programs.

A command is a function whose first argument is a `Screen` and that returns a `Shown`: the same facts once as
data, once as something rich can print. With `--json` stdout carries exactly one document
`{"allod": 1, "command": …, "ok": …, "data" | "error": …}` and nothing else; progress and warnings go to stderr.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import AllodError

if TYPE_CHECKING:
    from rich.console import Console

    from core.settings import Settings

DOCUMENT_VERSION = 1
INTERRUPTED = 130
BUG = 70

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
AsName = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who acts (or ALLOD_AS).", show_default=False)]


@dataclass(frozen=True)
class Shown:
    """What a command found or did: `data` for `--json`, `lines` (strings or rich renderables) for people."""

    data: dict[str, Any]
    lines: Sequence[Any] = field(default_factory=list)


class Screen:
    """Where a command speaks: settings, who acts, and a console on stdout (people) or stderr (`--json`)."""

    def __init__(self, *, as_json: bool, actor: str | None) -> None:
        self.as_json = as_json
        self._actor = actor

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings from the environment, with `--as` on top."""
        from core.settings import Settings

        settings = Settings()
        return settings.model_copy(update={"actor": self._actor}) if self._actor else settings

    @functools.cached_property
    def console(self) -> Console:
        """For people: stdout; beside a JSON document: stderr."""
        from rich.console import Console

        return Console(stderr=self.as_json, highlight=False, soft_wrap=True)

    def say(self, *lines: Any) -> None:
        """Print at once, for people; beside a JSON document nothing is said."""
        if not self.as_json:
            for line in lines:
                self.console.print(line)

    def warn(self, text: str) -> None:
        """Say something on stderr that must be seen, JSON or not."""
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[yellow]{text}[/yellow]")

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[[int, str], None]]:
        """A bar on stderr for work that may take over a second; call it with (done so far, note)."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(label, total=total, note="")

            def advance(done: int, note: str = "") -> None:
                bar.update(task, completed=done, note=note)

            yield advance


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = ()) -> Any:
    """A rich table; `numbers` are the columns that align to the right."""
    from rich import box
    from rich.table import Table

    out = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        out.add_column(column, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        out.add_row(*(str(cell) for cell in row))
    return out


def command(app: typer.Typer, name: str, **options: Any) -> Callable[[Callable[..., Shown]], Callable[..., Shown]]:
    """Register a `Screen -> Shown` function as a command, with `--json`, `--as` and errors done once for all."""

    def register(function: Callable[..., Shown]) -> Callable[..., Shown]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        shared = [
            inspect.Parameter("json_", inspect.Parameter.KEYWORD_ONLY, annotation=JsonFlag, default=False),
            inspect.Parameter("as_", inspect.Parameter.KEYWORD_ONLY, annotation=AsName, default=None),
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        def run(*, json_: bool, as_: str | None, **arguments: Any) -> None:
            path = f"{app.info.name} {name}" if isinstance(app.info.name, str) else name
            screen = Screen(as_json=json_, actor=as_)
            raise typer.Exit(_perform(screen, path, functools.partial(function, screen, **arguments)))

        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
        app.command(name, **options)(run)
        return function

    return register


def _perform(screen: Screen, path: str, action: Callable[[], Shown]) -> int:
    """Run one command and print its outcome; the exit code."""
    try:
        shown = action()
    except AllodError as error:
        return fail(error.document(), error.exit_code, path=path, as_json=screen.as_json)
    except KeyboardInterrupt:
        document = {
            "type": "interrupted",
            "status": 499,
            "title": "Interrupted.",
            "next": "Run the same command again.",
        }
        return fail(document, INTERRUPTED, path=path, as_json=screen.as_json)
    except Exception as error:
        traceback.print_exc()  # frames and lines of code only, never the values of variables
        what = f"Something went wrong that should not have: {type(error).__name__}."
        document = {"type": "bug", "status": 500, "title": what, "next": "Please report it with the lines above."}
        return fail(document, BUG, path=path, as_json=screen.as_json)
    if screen.as_json:
        _write({"allod": DOCUMENT_VERSION, "command": path, "ok": True, "data": shown.data})
    else:
        for line in shown.lines:
            screen.console.print(line)
    return 0


def fail(document: dict[str, Any], exit_code: int, *, path: str, as_json: bool) -> int:
    """Print an error document the way that was asked for; returns the exit code."""
    if as_json:
        _write({"allod": DOCUMENT_VERSION, "command": path, "ok": False, "error": document})
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[red]✗[/red] {escape(document['title'])}")
        if document["next"]:
            console.print(f"  {escape(document['next'])}")
    return exit_code


def _write(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()
