"""Where a passphrase comes from: a file, stdin, or a prompt that does not echo. Never an argument or a variable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from core.errors import InvalidInput

MAX_LENGTH = 1024


def read_passphrase(file: Path | None, *, prompt: str, confirm: bool = False) -> str:
    """The first line of `file` ("-" means stdin), else what is typed; `confirm` asks twice.

    Raises `InvalidInput` when it is empty, too long, or nobody is there to type it.
    """
    if file is not None:
        text = _first_line(file)
    elif sys.stdin.isatty():
        text = _typed(prompt + ": ")
        if confirm and _typed("Once more: ") != text:
            raise InvalidInput("The two passphrases differ.", hint="Nothing was made; run the command again.")
    else:
        raise InvalidInput(
            "A passphrase is needed and there is no terminal to ask on.",
            hint="Give --passphrase-file FILE (or - for stdin), or set ALLOD_PASSPHRASE_FILE.",
        )
    if not text:
        raise InvalidInput("The passphrase is empty.", hint="Its first line must hold at least one character.")
    if len(text) > MAX_LENGTH:
        raise InvalidInput(f"The passphrase is longer than {MAX_LENGTH} characters.", hint="Use a shorter one.")
    return text


def _first_line(file: Path) -> str:
    with _source(file, "The passphrase") as source:
        return source.readline(MAX_LENGTH + 2).rstrip("\r\n")


@contextmanager
def _source(file: Path, what: str) -> Iterator[TextIO]:
    """A file to read from; "-" is stdin. What it holds never gets into an error."""
    try:
        if str(file) == "-":
            yield sys.stdin
        else:
            with file.open(encoding="utf-8") as source:
                yield source
    except OSError as error:
        hint = f"Check {file}: its first line is read, or with - the first line of stdin."
        raise InvalidInput(f"{what} cannot be read: {error.strerror or 'the file is closed'}.", hint=hint) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} cannot be read: it is not text in UTF-8.", hint="Write it anew as text.") from None


def _typed(prompt: str) -> str:
    import getpass

    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise InvalidInput("Nothing was typed.", hint="Run the command again.") from None


def read_words(file: Path | None) -> str:
    """The 24 recovery words from `file` ("-" means stdin), else as they are typed without an echo."""
    if file is not None:
        with _source(file, "The 24 words") as source:
            return source.read(MAX_LENGTH)
    if not sys.stdin.isatty():
        raise InvalidInput(
            "The 24 words are needed and there is no terminal to ask on.", hint="Give --words-file FILE (or -)."
        )
    return _typed("The 24 words: ")
