"""The command line. `main` is what the `allod` script calls."""

from __future__ import annotations

from allod.cli.main import main

__all__ = ["main"]
