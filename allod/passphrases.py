"""Where a passphrase comes from: a file, stdin, or a prompt that does not echo. Never an argument or a variable."""

from __future__ import annotations

import sys
from pathlib import Path

from core.errors import InvalidInput

MAX_LENGTH = 1024


def read_passphrase(file: Path | None, *, prompt: str, confirm: bool = False) -> str:
    """The first line of `file` ("-" means stdin), else what is typed; `confirm` asks twice.

    Raises `InvalidInput` when it is empty, too long, or nobody is there to type it.
    """
    if file is not None:
        text = _first_line(file)
    elif sys.stdin.isatty():
        import getpass

        text = getpass.getpass(prompt + ": ")
        if confirm and getpass.getpass("Once more: ") != text:
            raise InvalidInput("The two passphrases differ.", hint="Nothing was made; run the command again.")
    else:
        raise InvalidInput(
            "A passphrase is needed and there is no terminal to ask on.",
            hint="Give --passphrase-file FILE (or - for stdin), or set ALLOD_PASSPHRASE_FILE.",
        )
    if not text:
        raise InvalidInput("The passphrase is empty.", hint="Its first line must hold at least one character.")
    return text


def _first_line(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.readline(MAX_LENGTH).rstrip("\r\n")
    try:
        with file.open(encoding="utf-8") as source:
            return source.readline(MAX_LENGTH).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The passphrase file cannot be read: {type(error).__name__}.", hint=f"Check {file}."
        ) from None


def read_words(file: Path | None) -> str:
    """The 24 recovery words from `file` ("-" means stdin), else as they are typed without an echo."""
    if file is None:
        if not sys.stdin.isatty():
            raise InvalidInput(
                "The 24 words are needed and there is no terminal to ask on.", hint="Give --words-file FILE (or -)."
            )
        import getpass

        return getpass.getpass("The 24 words: ")
    if str(file) == "-":
        return sys.stdin.read(MAX_LENGTH)
    try:
        with file.open(encoding="utf-8") as source:
            return source.read(MAX_LENGTH)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The words' file cannot be read: {type(error).__name__}.", hint=f"Check {file}.") from None
