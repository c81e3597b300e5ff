"""How every command speaks: words and tables for people, one JSON document for programs.

A command is a function whose first argument is a `Screen` and that returns a `Shown`: the same facts once as
data, once as something rich can print. With `--json` stdout carries exactly one document
`{"allod": 1, "command": …, "ok": …, "data" | "error": …}` and nothing else; progress and warnings go to stderr.
A command that follows something (`stream`) is the exception: each line of its stdout is a document, one for each thing
it saw, and the last line is the document that every command has.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import AllodError, Unavailable

if TYPE_CHECKING:
    from rich.console import Console

    from core.settings import Settings

DOCUMENT_VERSION = 1
INTERRUPTED = 130
BUG = 70
PIPE_CLOSED = 141
STOPPED = {"type": "interrupted", "status": 499, "title": "Interrupted.", "next": "Run the same command again."}

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
AsName = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who acts (or ALLOD_AS).", show_default=False)]


@dataclass(frozen=True)
class Shown:
    """What a command found or did: `data` for `--json`, `lines` (strings or rich renderables) for people.

    Strings are rich markup: text that somebody else wrote goes through `plain` first. Cells of tables are plain text.
    """

    data: dict[str, Any]
    lines: Sequence[Any] = field(default_factory=list)


class Screen:
    """Where a command speaks: settings, who acts, and a console on stdout (people) or stderr (`--json`)."""

    def __init__(self, *, as_json: bool, actor: str | None, path: str = "", lines: bool = False) -> None:
        self.as_json = as_json
        self.path = path
        self.lines = lines
        self._actor = actor
        self.told = False

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings from the environment, with `--as` on top."""
        from core.settings import Settings

        settings = Settings.load()
        return settings.model_copy(update={"actor": self._actor}) if self._actor else settings

    @functools.cached_property
    def console(self) -> Console:
        """For people: stdout; beside a JSON document: stderr."""
        from rich.console import Console

        return Console(stderr=self.as_json, highlight=False, soft_wrap=True)

    def tell(self, shown: Shown) -> None:
        """Print a command's outcome: once, at its end, or earlier by a command that then goes on."""
        if self.told:
            return
        self.told = True
        if self.as_json:
            _write({"allod": DOCUMENT_VERSION, "command": self.path, "ok": True, "data": shown.data}, lines=self.lines)
        else:
            self.say(*shown.lines)
            sys.stdout.flush()

    def say(self, *lines: Any) -> None:
        """Print at once, for people; beside a JSON document nothing is said."""
        if not self.as_json:
            for line in lines:
                self.console.print(line)

    def stream(self, data: dict[str, Any], line: Any) -> None:
        """Print one of many at once: a line for people, a document of one line for programs."""
        if self.as_json:
            _write({"allod": DOCUMENT_VERSION, "command": self.path, **data}, lines=True)
        else:
            self.console.print(line)

    def note(self, text: str) -> None:
        """Say something at once that is no part of the outcome; beside a JSON document on stderr."""
        self.console.print(text)

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


def plain(text: object) -> str:
    """Somebody else's text, safe to print: no markup, and no character that could steer a terminal or turn the line."""
    from rich.markup import escape

    return escape(_harmless(str(text)))


def _harmless(text: str) -> str:
    return "".join("\ufffd" if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    code = ord(character)
    control = (code < 0x20 and character not in "\n\t") or 0x7F <= code < 0xA0
    return control or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069 or 0xD800 <= code < 0xE000


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[int] = ()) -> Any:
    """A rich table; `numbers` are the columns that align to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out = Table(
        title=Text(title) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, column in enumerate(columns):
        out.add_column(column, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        out.add_row(*(Text(_harmless(str(cell))) for cell in row))
    return out


def command(
    app: typer.Typer, name: str, *, stream: bool = False, **options: Any
) -> Callable[[Callable[..., Shown]], Callable[..., Shown]]:
    """Register a `Screen -> Shown` function as a command, with `--json`, `--as` and errors done once for all.

    `stream` is for one that uses `Screen.stream`: each of its documents is one line.
    """

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
            screen = Screen(as_json=json_, actor=as_, path=path, lines=stream)
            raise typer.Exit(_perform(screen, functools.partial(function, screen, **arguments)))

        run.__name__ = function.__name__
        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
        app.command(name, **options)(run)
        return function

    return register


def _perform(screen: Screen, action: Callable[[], Shown]) -> int:
    """Run one command and print its outcome; the exit code."""
    fails = functools.partial(fail, path=screen.path, as_json=screen.as_json, lines=screen.lines)
    try:
        shown = action()
    except AllodError as error:
        return fails(error.document(), error.exit_code)
    except KeyboardInterrupt:
        return fails(STOPPED, INTERRUPTED)
    except BrokenPipeError:
        return _silenced()
    except Exception as error:
        known = _of_the_system(error)
        if known is not None:
            return fails(known.document(), known.exit_code)
        return fails(_bug(error), BUG)
    try:
        screen.tell(shown)
    except BrokenPipeError:
        return _silenced()
    return 0


def _silenced() -> int:
    """Whoever read our output has gone, like `head`: what is left of it goes nowhere, without a complaint at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED


def _of_the_system(error: Exception) -> AllodError | None:
    """A failure of disk, files or database, in words; None for anything else."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if isinstance(error.filename, str) else ""
        return Unavailable(
            f"The system says: {error.strerror}{where}.",
            hint="Check the path, its permissions and the space on its disk; then run the command again.",
        )
    databases = sys.modules.get("sqlalchemy.exc")
    if databases is not None and isinstance(error, databases.DBAPIError):
        return Unavailable(
            f"The database cannot be used: {str(error.orig).splitlines()[0][:200]}.",
            hint="`allod doctor` looks at it; everything in it can be rebuilt from blocks, words and chain.",
        )
    return None


def _bug(error: Exception) -> dict[str, Any]:
    """What is told of an error that nobody foresaw: its kind and the places in our code, never a value."""
    places = []
    trace, home = error.__traceback__, Path(__file__).parents[2]
    while trace is not None:
        code = trace.tb_frame.f_code
        if Path(code.co_filename).is_relative_to(home):
            places.append(f"{Path(code.co_filename).relative_to(home)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    what = f"Something went wrong that should not have: {type(error).__name__} in {places[-1] if places else '?'}."
    hint = "Please report it, with the command and what `--json` prints."
    return {"type": "bug", "status": 500, "title": what, "next": hint, "detail": {"places": places}}


def fail(document: dict[str, Any], exit_code: int, *, path: str, as_json: bool, lines: bool = False) -> int:
    """Print an error document the way that was asked for; returns the exit code. It always says what to do next."""
    document = {**document, "next": document["next"] or f"`allod {path} --help` shows what it takes."}
    if as_json:
        _write({"allod": DOCUMENT_VERSION, "command": path, "ok": False, "error": document}, lines=lines)
    else:
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[red]✗[/red] {plain(document['title'])}")
        if document["next"]:
            console.print(f"  {plain(document['next'])}")
    return exit_code


def _write(document: dict[str, Any], *, lines: bool = False) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=None if lines else 2) + "\n")
    sys.stdout.flush()
