"""Hatch's hook: a wheel without the built page is no wheel; an editable install needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Fails the wheel build where `allod/static` is missing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files are collected; `version` is "editable" for development installs."""
        if version != "editable" and not (Path(self.root) / "allod" / "static" / "index.html").is_file():
            raise RuntimeError("allod/static is missing: build the page first (`make web`), then the wheel.")
